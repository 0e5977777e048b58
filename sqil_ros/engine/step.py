# SPDX-License-Identifier: Apache-2.0
"""A control step in two native calls: pictures to tokens, tokens to an answer."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor

from sqil_ros.engine.library import require_library
from sqil_ros.engine.structures import Decoder, Vision
from sqil_ros.errors import EngineError


class Insight(NamedTuple):
    """What the last step computed, for tests.

    Attributes:
        seen: (tokens, width) what the decoder gets from pictures and proprioception.
        states: (answers, width) normalised states that the answer comes from.
        logits: (answers, bins), without bins beside an action head.
    """

    seen: Tensor
    states: Tensor
    logits: Tensor


class Step:
    """Room for one control step; nothing is allocated while it runs. One caller at a time."""

    def __init__(self, vision: Vision, decoder: Decoder, threads: int) -> None:
        """Make room.

        Args:
            vision: with ``decoder``, what to compute; the tensors and arrays of both must outlive
                the step.
            decoder: see ``vision``.
            threads: that share the work.

        Raises:
            EngineError: memory does not suffice, or there is no library.
        """
        self._library = require_library()
        self._answers, self._width = decoder.answers, decoder.width
        self._bins, self._capacity = decoder.head.rows, decoder.capacity
        self._seen = vision.cameras * (vision.image_side // vision.patch_side // vision.merge) ** 2
        self._seen += 1 if vision.proprio[0].tiles else 0
        # The last token of an answer is not fed again; a parallel one has a stop token behind it.
        self._fed = self._answers - 1
        self._action: tuple[int, ...] = ()
        if decoder.action_head:
            self._fed = self._answers + 1
            head = decoder.action_head.contents
            states_of_one = head.into.columns // decoder.width
            self._action = (self._answers // states_of_one, head.out.rows)
        self._pixels = (vision.cameras, 6, vision.image_side, vision.image_side)
        self._proprio = vision.proprio[0].columns if vision.proprio[0].tiles else 0
        self._handle = self._library.sqil_step_new(
            ctypes.byref(vision), ctypes.byref(decoder), threads
        )
        if not self._handle:
            raise EngineError(
                f'memory does not suffice for a step of {decoder.capacity} tokens; choose a '
                'smaller model or the engine torch.'
            )

    def __del__(self) -> None:
        if getattr(self, '_handle', None):
            self._library.sqil_step_free(self._handle)

    @property
    def bytes(self) -> int:
        """Memory beside the weights."""
        return int(self._library.sqil_step_bytes(self._handle))

    @property
    def room(self) -> int:
        """Most words a prompt may have."""
        return self._capacity - self._seen - self._fed

    def see(self, pixels: Tensor, proprio: Tensor | None) -> None:
        """Take in a moment.

        Args:
            pixels: (cameras, 6, S, S) float32.
            proprio: (P,) normalised float32; None where the policy takes none.

        Raises:
            EngineError: the policy takes other shapes.
        """
        found = (tuple(pixels.shape), 0 if proprio is None else proprio.numel())
        if found != (self._pixels, self._proprio):
            raise EngineError(
                f'pixels and proprioception are {found}, the policy takes '
                f"{(self._pixels, self._proprio)}; prepare them with the checkpoint's processor."
            )
        pixels = pixels.float().contiguous()
        proprio = None if proprio is None else proprio.float().contiguous()
        self._library.sqil_step_see(
            self._handle, pixels.data_ptr(), None if proprio is None else proprio.data_ptr()
        )

    def decode(self, words: Tensor) -> Tensor:
        """The answer to a prompt about what was seen last.

        Args:
            words: (L, width) embeddings of the prompt, without padding.

        Returns:
            (answers,) int64 action tokens.

        Raises:
            EngineError: the prompt is empty, too long or of another width, or the policy has an
                action head.
        """
        words = self._checked(words, parallel=False)
        answer = torch.empty(self._answers, dtype=torch.int64)
        self._library.sqil_step_decode(
            self._handle, words.data_ptr(), len(words), answer.data_ptr()
        )
        return answer

    def plan(self, words: Tensor) -> Tensor:
        """The answer of a policy with an action head, all at once.

        Args:
            words: as :meth:`decode` takes them.

        Returns:
            (K, 7) float32 normalised actions.

        Raises:
            EngineError: as :meth:`decode`, or the policy has no action head.
        """
        words = self._checked(words, parallel=True)
        actions = torch.empty(self._action)
        self._library.sqil_step_plan(
            self._handle, words.data_ptr(), len(words), actions.data_ptr()
        )
        return actions

    def seconds(self) -> tuple[float, float]:
        """Of the last answer: until its first token, or all its states, were known; and all."""
        prefill, answer = ctypes.c_double(), ctypes.c_double()
        self._library.sqil_step_seconds(self._handle, ctypes.byref(prefill), ctypes.byref(answer))
        return prefill.value, answer.value

    def insight(self) -> Insight:
        """What the last step computed."""
        insight = Insight(
            torch.empty(self._seen, self._width),
            torch.empty(self._answers, self._width),
            torch.empty(self._answers, self._bins),
        )
        self._library.sqil_step_peek(self._handle, *(part.data_ptr() for part in insight))
        return insight

    def _checked(self, words: Tensor, parallel: bool) -> Tensor:
        if parallel != bool(self._action):
            raise EngineError(
                f'the policy answers with {"actions: plan" if self._action else "tokens: decode"} '
                'is what to call.'
            )
        if not 0 < len(words) <= self.room:
            raise EngineError(
                f'a prompt of {len(words)} tokens; 1 to {self.room} fit. Say it in fewer words.'
            )
        if words.shape[1:] != (self._width,):
            raise EngineError(
                f'words are {tuple(words.shape)}, the decoder is {self._width} wide; read them '
                "from the policy's own embedding."
            )
        return words.float().contiguous()
