# SPDX-License-Identifier: Apache-2.0
"""An OpenVLA behind the policy interface: observations in, metres and radians out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sqil_ros.policy.base import PolicyDescription
from sqil_ros.policy.openvla.action_tokenizer import Tokens, decode, encode
from sqil_ros.policy.openvla.config import L1, N_ACTIONS
from sqil_ros.policy.openvla.engine_step import EngineStep
from sqil_ros.policy.openvla.gpu import named_gpu_errors
from sqil_ros.policy.openvla.graph_step import GraphStep
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.processor import Batch, Processor
from sqil_ros.policy.openvla.statistics import Normalizer
from sqil_ros.quant.size import back_end_names, model_bytes
from sqil_ros.timing import Spans
from sqil_ros.types import ActionChunk, Array, Observation


class OpenVLAPolicy:
    """One action of seven greedy tokens, or a chunk of actions by regression (OpenVLA-OFT)."""

    def __init__(
        self,
        model: OpenVLA,
        processor: Processor,
        actions: Normalizer,
        profile: str,
        name: str,
        device: str = 'cpu',
        step: EngineStep | GraphStep | None = None,
    ) -> None:
        """Join the parts of a checkpoint; ``sqil_ros.policy.loader.load_policy`` does it.

        ``step`` acts in the place of ``model``, from whose weights it was made.
        """
        self.model = model
        self.processor = processor
        self._actions = actions
        self._profile = profile
        self._name = name
        self._device = device
        self._step = step

    @property
    def profile(self) -> str:
        """Name of the precision it runs at."""
        return self._profile

    def reset(self) -> None:
        """Nothing is remembered between steps."""

    def describe(self) -> PolicyDescription:
        """Facts for the status topic."""
        size, step = model_bytes(self.model), self._step
        return PolicyDescription(
            name=self._name,
            back_end=back_end_names(self.model) if step is None else step.name,
            parameters=size.weights + (0 if step is None else step.released),
            weight_bytes=size.total + (0 if step is None else step.bytes),
        )

    def act(self, observation: Observation) -> ActionChunk:
        """The next K actions, with milliseconds per stage."""
        spans = Spans()
        actions = self.act_chunks([observation], spans)[0]
        return ActionChunk(actions, spans.milliseconds)

    def act_batch(self, observations: Sequence[Observation], spans: Spans | None = None) -> Array:
        """(B, 7) first actions of independent observations."""
        return self.act_chunks(observations, spans)[:, 0]

    @torch.inference_mode()
    def act_chunks(self, observations: Sequence[Observation], spans: Spans | None = None) -> Array:
        """(B, K, 7) actions of independent observations.

        Raises:
            EngineError: the GPU fails, or its memory does not suffice.
        """
        spans = spans or Spans()
        with named_gpu_errors(torch.device(self._device)):
            with spans('preprocess'):
                batch = self.inputs(observations)
            answer = self._torch_answer if self._step is None else self._engine_answer
            found = answer(batch, spans).cpu()
        if self.model.config.head == L1:
            return self._physical(found.double().numpy())
        return self.actions_from_tokens(found.numpy())[:, None]

    def actions_from_tokens(self, tokens: Tokens) -> Array:
        """(B, 7) token ids to physical actions."""
        config = self.model.config
        return self._physical(decode(tokens, config.text_vocab_size, config.n_action_bins))

    def _physical(self, normalized: Array) -> Array:
        """(..., 7) normalised actions to metres, radians and an opening that a gripper has."""
        actions = self._actions.denormalize(normalized)
        assert actions.shape[-1] == N_ACTIONS
        actions[..., 6] = np.clip(actions[..., 6], 0.0, 1.0)
        return actions

    def tokens_from_actions(self, actions: Array) -> Tokens:
        """(B, 7) physical actions to token ids; inverse of :meth:`actions_from_tokens`."""
        config = self.model.config
        return encode(
            self._actions.normalize(actions), config.text_vocab_size, config.n_action_bins
        )

    def inputs(self, observations: Sequence[Observation]) -> Batch:
        """Observations as tensors on the model's device, in the precision that computes."""
        native = isinstance(self._step, EngineStep)
        dtype = torch.float32 if native else self.model.get_input_embeddings().weight.dtype
        return self.processor(observations).to(self._device, dtype)

    def _torch_answer(self, batch: Batch, spans: Spans) -> Tensor:
        """(B, 7) action tokens, or (B, K, 7) normalised actions."""
        with spans('vision'):
            features = self.model.patch_features(batch.pixels)
        with spans('decode'):
            if self.model.config.head == L1:
                return self.model.predict_chunk(batch, features).float()
            return self.model.predict_tokens(batch, features)

    def _engine_answer(self, batch: Batch, spans: Spans) -> Tensor:
        """The same, one observation after the other."""
        step = self._step
        assert step is not None
        answer = step.plan if self.model.config.head == L1 else step.decode
        found = []
        for index, mask in enumerate(batch.mask.bool()):
            words = batch.tokens[index][mask]
            step.make_room(len(words))
            with spans('vision'):
                proprio = None if batch.proprio is None else batch.proprio[index]
                step.see(batch.pixels[index], proprio)
            with spans('decode'):
                found.append(answer(words))
        return torch.stack(found)
