# SPDX-License-Identifier: Apache-2.0
"""How a student does on frames that it is not trained with, open loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sqil_ros.policy.openvla.action_tokenizer import Tokens, decode
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.types import Array
from sqil_training.finetune.frames import WeightedFrames
from sqil_training.finetune.objective import DISTANCES
from sqil_training.ptq.action_error import action_error

_BATCH = 32
_GRIPPER = 6


@dataclass(frozen=True)
class Marks:
    """Lower is better, but for the gripper.

    Attributes:
        action_error: mean absolute difference of the greedy from the demonstrated action, both as
            bins, normalised to [-1, 1], all dimensions alike.
        gripper_agreement: share of frames in which both want the gripper open, or both closed.
        distance: mean D of the teacher-forced answer to the teacher's, without weights.
    """

    action_error: float
    gripper_agreement: float
    distance: float


@dataclass(frozen=True)
class _Answer:
    """To B frames: (B, 7) greedy and demonstrated tokens, and (B, 7, bins) forced logits."""

    greedy: Tokens
    demonstrated: Tokens
    logits: Tensor


class HeldOut:
    """Some frames, evenly spread, with the teacher's answers to them.

    Takes nothing from torch's source of chance and leaves a student as it was.

    Attributes:
        teacher: marks of the teacher itself, which its student may hope for.
    """

    def __init__(
        self,
        frames: WeightedFrames,
        count: int,
        teacher: OpenVLAPolicy,
        distance: str,
        device: torch.device,
    ) -> None:
        """Ask the teacher.

        Args:
            frames: that no student was trained with.
            count: how many of them are looked at, or all if there are fewer.
            teacher: full precision; also gives the student's inputs.
            distance: a key of :data:`~sqil_training.finetune.objective.DISTANCES`.
            device: where students compute.
        """
        self._frames, self._policy, self._device = frames, teacher, device
        self._distance = DISTANCES[distance]
        count = min(count, len(frames))
        chosen = np.arange(count) * len(frames) // count
        self._batches = np.split(chosen, range(_BATCH, count, _BATCH))
        self._wanted = [answer.logits for answer in self._answers(teacher.model)]
        self.teacher = self.marks(teacher.model)

    def marks(self, student: OpenVLA) -> Marks:
        """Ask a student."""
        answers = self._answers(student)
        found = np.concatenate([answer.greedy for answer in answers])
        wanted = np.concatenate([answer.demonstrated for answer in answers])
        apart = [
            self._distance(answer.logits, logits)
            for answer, logits in zip(answers, self._wanted, strict=True)
        ]
        return Marks(
            action_error=round(action_error(self._normalized(found), self._normalized(wanted)), 5),
            gripper_agreement=round(float((self._open(found) == self._open(wanted)).mean()), 5),
            distance=round(float(torch.cat(apart).mean()), 5),
        )

    def _answers(self, network: OpenVLA) -> list[_Answer]:
        trained = network.training
        network.eval()
        answers = [self._answer(network, frames) for frames in self._batches]
        network.train(trained)
        return answers

    @torch.no_grad()
    def _answer(self, network: OpenVLA, frames: np.ndarray) -> _Answer:
        drawn = self._frames.at(frames)
        batch = self._policy.inputs(drawn.observations).to(self._device, torch.float32)
        demonstrated = self._policy.tokens_from_actions(drawn.actions)
        forced = torch.from_numpy(demonstrated).to(self._device)
        features = network.patch_features(batch.pixels)
        states = network.action_states(batch, forced, features)
        greedy = network.predict_tokens(batch, features).cpu().numpy()
        return _Answer(greedy, demonstrated, network.action_logits(states))

    def _normalized(self, tokens: Tokens) -> Array:
        config = self._policy.model.config
        return decode(tokens, config.text_vocab_size, config.n_action_bins)

    def _open(self, tokens: Tokens) -> np.ndarray:
        return self._policy.actions_from_tokens(tokens)[:, _GRIPPER] > 0.5
