# SPDX-License-Identifier: Apache-2.0
"""One simulated demonstration: somebody acts, the expert labels every state on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sqil_ros.sim.arm import SimulatedArm
from sqil_ros.sim.expert import expert_action
from sqil_ros.sim.objects import TASK_OBJECTS
from sqil_ros.sim.tasks import MAX_STEPS, TASKS, SuccessJudge, Task
from sqil_ros.sim.toy_sink import CAMERAS
from sqil_ros.types import Action, Array, Observation
from sqil_training.episodes import Episode, encode_picture


@dataclass(frozen=True)
class Noise:
    """Disturbance of the acting expert: bursts of a constant wrong motion, and gripper slips.

    Attributes:
        clean_share: share of the episodes left undisturbed.
        burst_rate: chance per step that a burst begins.
        burst_m: largest translation of a burst per step [m].
        burst_rad: largest turn of a burst per step [rad].
        slip_rate: chance per step that the gripper does the opposite once.
    """

    clean_share: float = 0.2
    burst_rate: float = 0.10
    burst_m: float = 0.035
    burst_rad: float = 0.10
    slip_rate: float = 0.012


class Disturber:
    """Adds :class:`Noise` to the executed action of one episode."""

    def __init__(self, noise: Noise, rng: np.random.Generator) -> None:
        """Draw from ``rng``; the same generator state gives the same disturbance."""
        self._noise, self._rng = noise, rng
        self._active = rng.random() > noise.clean_share
        self._left = 0
        self._push = np.zeros(6)

    def __call__(self, action: Action) -> Action:
        """The action to execute instead of ``action``."""
        if not self._active:
            return action
        rng, noise = self._rng, self._noise
        if self._left == 0 and rng.random() < noise.burst_rate:
            self._left = int(rng.integers(1, 5))
            self._push = np.zeros(6)
            direction = rng.normal(size=3)
            length = rng.uniform(0.2, 1.0) * noise.burst_m
            self._push[:3] = direction / np.linalg.norm(direction) * length
            self._push[5] = rng.uniform(-1.0, 1.0) * noise.burst_rad
        delta = action.delta
        if self._left:
            self._left -= 1
            delta = delta + self._push
        gripper = action.gripper
        if rng.random() < noise.slip_rate:
            gripper = 1.0 - gripper
        return Action(delta, gripper)


class EpisodeRecorder:
    """Collects the steps of one episode, with the expert's label for every task."""

    def __init__(self, arm: SimulatedArm, task: Task, seed: int, origin: str) -> None:
        """Reset ``arm`` to ``seed`` and start recording ``task``."""
        self._arm, self._task, self._seed, self._origin = arm, task, seed, origin
        self._judge = SuccessJudge(task)
        self._rows: dict[str, list] = {
            name: []
            for name in ('stamp', 'state', 'command', 'action', 'executed', 'image0', 'image1')
            + ('objects', 'keypoints', 'labels')
        }
        self._tool_down = np.array(arm.scene.contract.tool_down)
        self.success = False
        arm.reset(seed)

    @property
    def over(self) -> bool:
        """Whether the episode is won or out of steps."""
        return self.success or self.steps >= MAX_STEPS

    @property
    def steps(self) -> int:
        """Actions carried out so far."""
        return len(self._rows['executed'])

    def label(self) -> tuple[Observation, Action]:
        """Look, record what is seen, and return it with the expert's answer."""
        arm, rows = self._arm, self._rows
        observation = arm.observe(self._task.instruction)
        state = arm.scene.state()
        labels = {
            task.name: expert_action(
                task, state, arm.command, arm.gripper_command, self._tool_down
            )
            for task in TASKS
        }
        positions = np.array([state.objects[item.name].position for item in TASK_OBJECTS])
        points = np.vstack([positions + [0.0, 0.0, 0.02], state.tcp.position])
        rows['stamp'].append(observation.stamp_ns)
        rows['state'].append(observation.state)
        rows['command'].append(observation.command)
        rows['action'].append(_as_row(labels[self._task.name]))
        for i in range(2):
            rows[f'image{i}'].append(encode_picture(observation.images[i]))
        rows['objects'].append(positions.ravel())
        rows['keypoints'].append(
            np.concatenate([arm.scene.project(camera, points).ravel() for camera in CAMERAS])
        )
        rows['labels'].append(np.concatenate([_as_row(labels[task.name]) for task in TASKS]))
        return observation, labels[self._task.name]

    def relabel(self, action: Action) -> None:
        """Put another teacher's answer in the place of the expert's last label."""
        self._rows['action'][-1] = _as_row(action)

    def execute(self, action: Action) -> None:
        """Carry out ``action`` and judge the outcome."""
        self._rows['executed'].append(_as_row(action))
        self._arm.step(action)
        self.success = self._judge.update(self._arm.scene.state())

    def episode(self) -> Episode:
        """What was recorded."""
        rows = self._rows
        return Episode(
            task=self._task.name,
            instruction=self._task.instruction,
            contract=self._arm.scene.contract.hash,
            seed=self._seed,
            success=self.success,
            origin=self._origin,
            stamps_ns=np.array(rows['stamp'], dtype=np.int64),
            states=np.array(rows['state']),
            commands=np.array(rows['command']),
            actions=np.array(rows['action']),
            executed=np.array(rows['executed']),
            pictures=(tuple(rows['image0']), tuple(rows['image1'])),
            privileged={name: np.array(rows[name]) for name in ('objects', 'keypoints', 'labels')},
        )


def demonstrate(arm: SimulatedArm, task: Task, seed: int, noise: Noise) -> Episode:
    """One disturbed demonstration by the expert, the same for the same seed."""
    recorder = EpisodeRecorder(arm, task, seed, 'expert+noise')
    disturb = Disturber(noise, np.random.default_rng([seed, 13]))
    while not recorder.over:
        _, action = recorder.label()
        recorder.execute(disturb(action))
    return recorder.episode()


def _as_row(action: Action) -> Array:
    return np.append(action.delta, action.gripper)
