# SPDX-License-Identifier: Apache-2.0
"""An OpenVLA that is asked how likely every action is, instead of for one action."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from sqil_ros.policy.openvla.config import require_tokens
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.processor import Batch, proprio_vector
from sqil_ros.saliency.discrepancy import TEXT
from sqil_ros.types import Array, Observation


class OpenVLATeacher:
    """Answers with logits, and counts how often it was asked.

    Attributes:
        passes: states that the decoder has answered, one by one (also inside a batch).
        encoded: pictures that the encoders have seen.
    """

    def __init__(self, policy: OpenVLAPolicy, scope: str) -> None:
        """Ask ``policy``.

        Args:
            policy: at any precision; the paper's scores are of full precision.
            scope: ``action`` to answer with the bins of the seven action dimensions, ``text``
                with the whole vocabulary at every word and action token.

        Raises:
            ParameterError: the policy has no logits.
        """
        require_tokens(policy.model.config, 'Saliency')
        self._policy = policy
        self._scope = scope
        self.passes = 0
        self.encoded = 0

    def state(self, observation: Observation, action: Array | None = None) -> OpenVLAState:
        """One observation, ready to be disturbed.

        Args:
            observation: what the policy sees.
            action: (7,) the demonstrated action, whose tokens are fed to the decoder (teacher
                forcing). Without it, as on a live robot, the policy's own greedy tokens are,
                which costs one more pass.
        """
        batch = self._policy.inputs([observation])
        if action is None:
            tokens = self._greedy(batch)
        else:
            tokens = torch.from_numpy(self._policy.tokens_from_actions(action[None]))
        return OpenVLAState(self, batch, tokens.to(batch.tokens.device), observation)

    @torch.inference_mode()
    def encode(self, pictures: Tensor) -> Tensor:
        """(B, 6, S, S) pictures to (B, patches, features)."""
        self.encoded += len(pictures)
        return self._policy.model.patch_features(pictures[:, None])[:, 0]

    @torch.inference_mode()
    def answer(self, batch: Batch, tokens: Tensor, features: Tensor) -> Tensor:
        """Logits of B variants of one state.

        Args:
            batch: prompt of one state, and proprioception of one or of B.
            tokens: (1, 7) action tokens that are fed.
            features: (B, cameras, patches, features).
        """
        count = len(features)
        self.passes += count
        model = self._policy.model
        proprio = batch.proprio
        variants = Batch(
            batch.pixels,
            batch.tokens.expand(count, -1),
            batch.mask.expand(count, -1),
            None if proprio is None else proprio.expand(count, -1),
        )
        forced = tokens.expand(count, -1)
        if self._scope == TEXT:
            states, _ = model.forced_states(variants, forced, features)
            return model.text_logits(variants, states)
        return model.action_logits(model.action_states(variants, forced, features))

    def proprio(self, vectors: Array, like: Tensor) -> Tensor | None:
        """(B, P) raw proprioception as the model takes it."""
        proprio = self._policy.processor.proprio(vectors)
        return None if proprio is None else proprio.to(like)

    def _greedy(self, batch: Batch) -> Tensor:
        self.passes += 1
        features = self.encode(batch.pixels[0])
        return self._policy.model.predict_tokens(batch, features[None])


class OpenVLAState:
    """A :class:`sqil_ros.saliency.State`; :meth:`OpenVLATeacher.state` makes it."""

    def __init__(
        self, teacher: OpenVLATeacher, batch: Batch, tokens: Tensor, observation: Observation
    ) -> None:
        """Hold ``batch`` of ``observation`` and the (1, 7) ``tokens`` that are fed."""
        self._teacher, self._batch, self._tokens = teacher, batch, tokens
        self.vector = proprio_vector(observation)

    @property
    def pictures(self) -> Tensor:
        """(cameras, 6, S, S) normalised."""
        return self._batch.pixels[0]

    def encode(self, pictures: Tensor) -> Tensor:
        """(B, 6, S, S) pictures to (B, patches, features)."""
        return self._teacher.encode(pictures)

    def answer(self, features: Tensor) -> Tensor:
        """(B, cameras, patches, features) to (B, T, K) logits."""
        return self._teacher.answer(self._batch, self._tokens, features)

    def answer_to_vectors(self, vectors: Array) -> Tensor:
        """(B, P) raw proprioception before unchanged pictures to (B, T, K) logits."""
        batch = self._batch
        changed = Batch(
            batch.pixels, batch.tokens, batch.mask, self._teacher.proprio(vectors, batch.pixels)
        )
        features = self._features.expand(len(vectors), *self._features.shape)
        return self._teacher.answer(changed, self._tokens, features)

    @cached_property
    def _features(self) -> Tensor:
        return self.encode(self.pictures)
