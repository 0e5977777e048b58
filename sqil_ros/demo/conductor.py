# SPDX-License-Identifier: Apache-2.0
"""Performs one episode: sets the scene, arms the robot, watches, and takes it to rest again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from sqil_ros.contract import Contract
from sqil_ros.demo.film import strip
from sqil_ros.demo.outcome import Outcome
from sqil_ros.demo.plan import Episode
from sqil_ros.errors import RobotFault
from sqil_ros.sim.tasks import MAX_STEPS
from sqil_ros.types import Image

_POLL_S = 0.1
_NEW_PICTURES_S = 0.3
# A policy that misses every third tick still gets its steps; one that is silent does not.
_PATIENCE = 1.5


class Scene(Protocol):
    """The side channel of the emulator."""

    def request(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""


class Stage(Protocol):
    """The ROS side of an episode; ``sqil_ros.nodes.stage`` is the real one."""

    latency_ms: list[float]
    films: tuple[list[Image], ...]

    @property
    def fault(self) -> str:
        """What keeps the robot from moving; empty if nothing does."""

    @property
    def complaint(self) -> str:
        """What the policy node complains about; empty if nothing."""

    def order(self, name: str) -> None:
        """Call ``arm``, ``stop``, ``home`` or ``reset_fault`` of the robot."""

    def instruct(self, instruction: str) -> None:
        """Tell the policy what to do; returns when it has understood."""

    def begin(self, episode_id: str, **fields: Any) -> None:
        """Announce an episode (fields as in ``EpisodeEvent``); note its actions and pictures."""

    def end(self, success: bool, message: str) -> None:
        """Announce how the episode ended."""


class Conductor:
    """Performs episodes, one after the other."""

    def __init__(
        self,
        stage: Stage,
        scene: Scene,
        contract: Contract,
        variation: str = 'nominal',
        max_steps: int = MAX_STEPS,
    ) -> None:
        """Conduct ``stage`` and ``scene``; an episode has at most ``max_steps`` actions."""
        self._stage, self._scene, self._contract = stage, scene, contract
        self._variation, self._max_steps = variation, max_steps

    def perform(self, episode: Episode, watch: Callable[[int], None]) -> Outcome:
        """Perform ``episode``.

        Args:
            episode: what to do, from where.
            watch: called ten times a second with the number of actions so far.

        Raises:
            RobotFault: the robot cannot be brought back to where an episode starts.
            RobotUnreachable: the emulator does not answer.
        """
        self._prepare(episode)
        stage, start_s, success, fault = self._stage, time.monotonic(), False, ''
        task = episode.task
        stage.begin(episode.id, task=task.name, instruction=task.instruction, seed=episode.seed)
        try:
            success = self._act(episode, watch)
        except RobotFault as error:
            fault = str(error)
        seconds, latency_ms = time.monotonic() - start_s, tuple(stage.latency_ms)
        stage.end(success, fault)
        stage.order('reset_fault' if stage.fault else 'stop')
        return Outcome(
            task.name,
            episode.seed,
            success,
            len(latency_ms),
            seconds,
            latency_ms,
            fault,
            tuple(strip(frames) for frames in stage.films if frames),
        )

    def _prepare(self, episode: Episode) -> None:
        """The same start as in-process: arm at home, gripper open, objects at their places."""
        try:
            self._stage.order('home')
        except RobotFault:  # a processor that was busy for a moment stops the control program
            self._stage.order('reset_fault')
            self._stage.order('home')
        self._scene.request(
            'reset', seed=episode.seed, task=episode.task.name, variation=self._variation
        )
        self._stage.instruct(episode.task.instruction)
        time.sleep(_NEW_PICTURES_S)
        self._stage.order('arm')

    def _act(self, episode: Episode, watch: Callable[[int], None]) -> bool:
        """Let the policy act until the task is done or its steps are used up."""
        period_s = self._contract.period_s
        overdue_s = time.monotonic() + _PATIENCE * period_s * self._max_steps
        while (steps := len(self._stage.latency_ms)) < self._max_steps:
            watch(steps)
            if self._won():
                return True
            if time.monotonic() > overdue_s:
                raise RobotFault(
                    f'Only {steps} of {self._max_steps} actions came in time; the policy says: '
                    f'{self._stage.complaint or "nothing"}.'
                )
            time.sleep(_POLL_S)
        # The last action, too, is judged about one period after its picture.
        time.sleep(0.5 * period_s)
        return self._won()

    def _won(self) -> bool:
        """Whether the task is done.

        Raises:
            RobotFault: the robot has stopped.
        """
        if self._stage.fault:
            raise RobotFault(self._stage.fault)
        return bool(self._scene.request('success')['success'])
