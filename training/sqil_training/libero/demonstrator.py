# SPDX-License-Identifier: Apache-2.0
"""One episode in LIBERO: a disturbed expert or a learner acts, the expert labels every state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sqil_ros.sim.tasks import SceneState
from sqil_ros.types import Action, Array, Observation
from sqil_training.demonstrator import Disturber, Noise
from sqil_training.episodes import Episode, encode_picture
from sqil_training.libero.answer import Answer
from sqil_training.libero.arm import LiberoArm
from sqil_training.libero.expert import expert_action
from sqil_training.libero.suite import LiberoTask, Suite
from sqil_training.libero.tasks import SUITES
from sqil_training.mixture import LONGEST, Mixture

LONGEST_DEMONSTRATION = 100
"""Actions to a demonstration: a disturbed expert may take longer than a judged policy."""
_OUT_OF_VIEW = -1.0


@dataclass(frozen=True)
class Moment:
    """One step of a demonstration.

    Attributes:
        observation: what the policy would have seen.
        places: (P, 3) the suite's ``points`` in the robot's base frame [m], 0 where absent.
        keypoints: (cameras, P + 1, 2) where they and the TCP are in the pictures, in 0..1 in view.
        labels: (T, 7) the expert's answer to every task of the suite, NaN where the scene
            cannot answer it.
        executed: (7,) what was done.
    """

    observation: Observation
    places: Array
    keypoints: Array
    labels: Array
    executed: Array


def demonstrate(arm: LiberoArm, task: LiberoTask, seed: int, noise: Noise) -> Episode:
    """One disturbed demonstration, the same for the same seed.

    It ends when the thing is let go of: LIBERO calls it a success while the fingers still hold it
    in the basket, and a policy should learn to open them.
    """
    disturb = Disturber(noise, np.random.default_rng([seed, 13]))

    def choose(observation: Observation, label: Action) -> Action:
        return disturb(label)

    return _record(arm, task, seed, choose, LONGEST_DEMONSTRATION, 'expert+noise')


def teach(
    arm: LiberoArm, task: LiberoTask, seed: int, learner: Answer, teacher_share: float
) -> Episode:
    """One episode of a learner, labelled by the expert, who acts now and then (DAgger).

    Args:
        arm: of a scene of ``task``.
        task: what is told.
        seed: of the placement.
        learner: acts otherwise.
        teacher_share: of the steps at which the expert acts.
    """
    mixture = Mixture(teacher_share, np.random.default_rng([seed, 17]))

    def choose(observation: Observation, label: Action) -> Action:
        return label if mixture.teacher_acts() else learner(observation)

    return _record(arm, task, seed, choose, LONGEST, 'dagger')


def _record(
    arm: LiberoArm,
    task: LiberoTask,
    seed: int,
    choose: Callable[[Observation, Action], Action],
    longest: int,
    origin: str,
) -> Episode:
    """An episode in which ``choose`` acts, given what is seen and the expert's answer to it."""
    suite = SUITES[task.suite]
    own = suite.tasks.index(task)
    arm.reset(seed)
    moments: list[Moment] = []
    while arm.steps < longest and not _finished(arm):
        observation, state = arm.observe(task.instruction), arm.scene.state()
        labels = expert_labels(arm, suite, task, state)
        label = labels[own]
        action = choose(observation, Action(label[:6], float(label[6])))
        executed = np.append(action.delta, action.gripper)
        moments.append(Moment(observation, *points(arm, suite, state), labels, executed))
        arm.step(action)
    return _episode(moments, task, arm.scene.contract.hash, seed, _finished(arm), origin)


def expert_labels(arm: LiberoArm, suite: Suite, own: LiberoTask, state: SceneState) -> Array:
    """(T, 7) what the expert would do now for each task, NaN where a scene of ``own`` cannot."""
    down = np.array(arm.scene.contract.tool_down)
    labels = np.full((len(suite.tasks), 7), np.nan)
    for i, task in enumerate(suite.tasks):
        seen = suite.as_asked(own, task, state)
        if seen is not None:
            action = expert_action(
                task.item, suite.target, seen, arm.command, arm.gripper_command, down
            )
            labels[i] = np.append(action.delta, action.gripper)
    return labels


def points(arm: LiberoArm, suite: Suite, state: SceneState) -> tuple[Array, Array]:
    """``places`` and ``keypoints`` of a :class:`Moment`."""
    there = np.array([name in state.objects for name in suite.points])
    places = np.zeros((len(there), 3))
    for i in np.flatnonzero(there):
        places[i] = state.objects[suite.points[i]].position
    keypoints = arm.scene.project(np.vstack([places, state.tcp.position]))
    keypoints[:, :-1][:, ~there] = _OUT_OF_VIEW
    return places, keypoints


def _finished(arm: LiberoArm) -> bool:
    return arm.scene.success() and arm.gripper_command > 0.5


def _episode(
    moments: Sequence[Moment],
    task: LiberoTask,
    contract: str,
    seed: int,
    success: bool,
    origin: str,
) -> Episode:
    seen = [moment.observation for moment in moments]
    labels = np.array([moment.labels for moment in moments])
    return Episode(
        task=task.name,
        instruction=task.instruction,
        contract=contract,
        seed=seed,
        success=success,
        origin=origin,
        stamps_ns=np.array([observation.stamp_ns for observation in seen], dtype=np.int64),
        states=np.array([observation.state for observation in seen]),
        commands=np.array([observation.command for observation in seen]),
        actions=labels[:, SUITES[task.suite].tasks.index(task)],
        executed=np.array([moment.executed for moment in moments]),
        pictures=tuple(
            tuple(encode_picture(image) for image in camera)
            for camera in zip(*(observation.images for observation in seen), strict=True)
        ),
        privileged={
            'objects': np.array([moment.places for moment in moments]),
            'keypoints': np.array([moment.keypoints for moment in moments]),
            'labels': labels,
        },
    )
