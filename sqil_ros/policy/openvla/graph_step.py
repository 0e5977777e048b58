# SPDX-License-Identifier: Apache-2.0
"""A whole control step of an OpenVLA as one CUDA graph: pictures and prompt in, its answer out.

A step of openvla-7b is some thousand kernels. Launched one by one they take longer than what they
compute; a graph launches them at once, but always on the same memory. So the inputs have their
place, prompts are filled up to the length of a bucket, and every choice is made on the GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sqil_ros.errors import EngineError
from sqil_ros.policy.openvla.config import N_ACTIONS
from sqil_ros.policy.openvla.decoding import Decoder, PreparedDecoder, one_by_one
from sqil_ros.policy.openvla.fused_decoding import FusedDecoder, FusedLayers, fusing_refusal
from sqil_ros.policy.openvla.gpu import named_gpu_errors
from sqil_ros.policy.openvla.model import OpenVLA, positions
from sqil_ros.policy.openvla.processor import Batch
from sqil_ros.quant.size import back_end_names

BUCKET = 32
"""Words that prompts are filled up to a multiple of; 32 make a prefill of 288 in openvla-7b."""

_WARM_UP = 3


class StaticStep:
    """A step on memory that stays where it is; :meth:`run` is what a graph captures.

    It runs on any device, operator by operator where there is no graph.

    Attributes:
        answer: of the last run: (7,) action tokens, or (K, 7) float32 normalised actions.
    """

    def __init__(
        self, model: OpenVLA, head: Tensor | None, words: int, layers: FusedLayers | None = None
    ) -> None:
        """Make room.

        Args:
            model: ready for inference.
            head: (bins, width) of :func:`bin_rows`; None where the model has an action head.
            words: of the longest prompt.
            layers: of the decoder, to compute tokens in the GPU's kernels; None for torch's
                operators.
        """
        config, weight = model.config, model.get_input_embeddings().weight
        make: dict[str, Any] = {'dtype': weight.dtype, 'device': weight.device}
        side = config.image_size
        self._model = model
        self._head, self._layers = head, layers
        self._batch = Batch(
            torch.zeros(1, config.n_images, 6, side, side, **make),
            torch.zeros(1, words, dtype=torch.long, device=weight.device),
            torch.ones(1, words, dtype=torch.long, device=weight.device),
            torch.zeros(1, config.proprio_dim, **make) if config.proprio_dim else None,
        )
        if head is None:
            self.answer = torch.zeros(config.chunk, N_ACTIONS, device=weight.device)
        else:
            self.answer = torch.zeros(N_ACTIONS, dtype=torch.long, device=weight.device)

    def see(self, pixels: Tensor, proprio: Tensor | None) -> None:
        """Take (cameras, 6, S, S) pixels and (P,) proprioception."""
        self._batch.pixels[0].copy_(pixels, non_blocking=True)
        if self._batch.proprio is not None:
            assert proprio is not None
            self._batch.proprio[0].copy_(proprio, non_blocking=True)

    def read(self, words: Tensor) -> None:
        """Take a prompt of (L,) tokens."""
        tokens, mask = self._batch.tokens[0], self._batch.mask[0]
        for held, news in ((tokens, words), (mask, torch.ones_like(words))):
            held.zero_()
            held[: len(words)].copy_(news, non_blocking=True)

    def run(self) -> None:
        """From what was taken to :attr:`answer`; nothing in it waits for the device."""
        features = self._model.patch_features(self._batch.pixels)
        if self._head is None:
            self.answer.copy_(self._model.predict_chunk(self._batch, features)[0])
        else:
            self.answer.copy_(self._tokens(features, self._head))

    def _tokens(self, features: Tensor, head: Tensor) -> Tensor:
        model, batch = self._model, self._batch
        inputs, mask = model.embed(batch, features)
        whole = torch.cat([mask, mask.new_ones(1, N_ACTIONS - 1)], dim=1)
        prepared: Decoder
        if self._layers is None:
            prepared = PreparedDecoder(model.language_model.model, whole, positions(whole), True)
        else:
            prepared = FusedDecoder(self._layers, whole, positions(whole))
        tokens = one_by_one(
            prepared,
            inputs,
            last=mask.cumsum(1).argmax(1),
            choose=lambda states: model.choose_tokens(linear(states, head)),
            embed=model.language_model.get_input_embeddings(),
            count=N_ACTIONS,
        )
        return tokens[0]

    @property
    def bytes(self) -> int:
        """Memory of inputs and answer."""
        batch = self._batch
        held = [batch.pixels, batch.tokens, batch.mask, batch.proprio, self.answer]
        return sum(t.numel() * t.element_size() for t in held if t is not None)


class GraphStep:
    """One control step, batch 1, in two calls, as :class:`EngineStep` is on a CPU."""

    def __init__(self, model: OpenVLA, take: bool = False, fused: bool | None = None) -> None:
        """Capture the step for prompts of one bucket.

        Args:
            model: on the device that computes, ready for inference; it must stay as it is.
            take: let the model go of the rows of its head that no action needs; it cannot answer
                without this step any more.
            fused: whether the decoder computes in the GPU's kernels; None where there is one.

        Raises:
            EngineError: memory does not suffice, or the GPU fails.
        """
        self._model, self._device = model, model.device
        self._steps: dict[int, tuple[StaticStep, torch.cuda.CUDAGraph | None]] = {}
        self._captured = self.released = 0
        fused = self._device.type == 'cuda' if fused is None else fused
        fused = fused and model.action_head is None and not fusing_refusal(model)
        with named_gpu_errors(self._device):
            self._layers = FusedLayers(model.language_model.model) if fused else None
        self._head = None if model.action_head is not None else bin_rows(model)
        lm_head = model.language_model.lm_head
        if take and type(lm_head) is nn.Linear:
            self.released = lm_head.weight.numel()
            # Every operator refuses a weight of no size.
            lm_head.weight = nn.Parameter(lm_head.weight.new_empty(0), requires_grad=False)
        self.make_room(BUCKET)

    @property
    def name(self) -> str:
        """Who launches and who multiplies, for the status."""
        launches = 'static' if self._graph is None else 'graph'
        return f'{launches}/{back_end_names(self._model)}'

    @property
    def bytes(self) -> int:
        """Memory beside the model's own."""
        steps = sum(step.bytes for step, _ in self._steps.values())
        return self.head_bytes + self._captured + steps

    @property
    def head_bytes(self) -> int:
        """Memory of the rows of the head that it holds."""
        return 0 if self._head is None else self._head.numel() * self._head.element_size()

    def make_room(self, words: int) -> None:
        """Take prompts of so many tokens from the next :meth:`see` on.

        Raises:
            EngineError: memory does not suffice, or the GPU fails.
        """
        room = -(-words // BUCKET) * BUCKET
        if room not in self._steps:
            with named_gpu_errors(self._device):
                self._steps[room] = self._made(room)
        self._step, self._graph = self._steps[room]

    def see(self, pixels: Tensor, proprio: Tensor | None) -> None:
        """Take (cameras, 6, S, S) pixels and (P,) proprioception; computed in :meth:`decode`."""
        with named_gpu_errors(self._device), torch.inference_mode():
            self._step.see(pixels, proprio)

    def decode(self, tokens: Tensor) -> Tensor:
        """(L,) prompt without padding to (7,) action tokens on the CPU, about what was seen last.

        Raises:
            EngineError: the GPU fails, or the policy has an action head.
        """
        return self._answer_of(tokens, parallel=False)

    def plan(self, tokens: Tensor) -> Tensor:
        """The same to (K, 7) normalised actions.

        Raises:
            EngineError: the GPU fails, or the policy has no action head.
        """
        return self._answer_of(tokens, parallel=True)

    def _answer_of(self, tokens: Tensor, parallel: bool) -> Tensor:
        if parallel != (self._head is None):
            raise EngineError(
                f'the policy answers with {"tokens: decode" if parallel else "actions: plan"} is '
                'what to call.'
            )
        with named_gpu_errors(self._device), torch.inference_mode():
            self._step.read(tokens)
            self.replay()
            return self._step.answer.cpu()

    def replay(self) -> None:
        """The step itself, again with the same inputs; on a GPU it returns at once."""
        if self._graph is None:
            self._step.run()
        else:
            self._graph.replay()

    @torch.inference_mode()
    def _made(self, words: int) -> tuple[StaticStep, torch.cuda.CUDAGraph | None]:
        step = StaticStep(self._model, self._head, words, self._layers)
        if self._device.type != 'cuda':
            return step, None
        before = torch.cuda.memory_reserved(self._device)
        graph = captured(step, self._device)
        self._captured += torch.cuda.memory_reserved(self._device) - before
        return step, graph


def bin_rows(model: OpenVLA) -> Tensor:
    """(bins, width) rows of the head, in the order of :meth:`OpenVLA.action_logits`."""
    top, bins = model.config.text_vocab_size, model.config.n_action_bins
    rows = model.language_model.lm_head.weight[top - bins : top].detach()
    return rows.to(model.get_input_embeddings().weight.dtype).flip(0).contiguous()


def captured(step: StaticStep, device: torch.device) -> torch.cuda.CUDAGraph:
    """A graph of :meth:`StaticStep.run`; what it compiles or chooses at first is done before."""
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                step.run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step.run()
    return graph
