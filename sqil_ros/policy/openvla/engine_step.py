# SPDX-License-Identifier: Apache-2.0
"""An OpenVLA that acts in the engine: the tokens of the torch model without its operators."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from sqil_ros.engine.library import level, library
from sqil_ros.engine.step import Insight, Step
from sqil_ros.errors import EngineError, ParameterError
from sqil_ros.policy.openvla.engine_weights import EngineWeights, check
from sqil_ros.policy.openvla.model import OpenVLA

AUTO, TORCH = 'auto', 'torch'
ENGINES = (AUTO, TORCH)
_WORDS = 24  # room for the words of a prompt, before it has to grow
_LOG = logging.getLogger(__name__)


def engine_step(model: OpenVLA, engine: str = AUTO, take: bool = False) -> EngineStep | None:
    """The native step of a model; None where torch computes it, which is logged unless asked for.

    Args:
        model: ready for inference; it must stay as it is.
        engine: one of ``ENGINES``.
        take: see :class:`EngineStep`.

    Raises:
        ParameterError: another engine.
        EngineError: memory does not suffice.
    """
    check_engine(engine)
    if engine == TORCH or library() is None:
        return None
    try:
        check(model)
    except EngineError as error:
        _LOG.warning('torch computes instead of the engine: %s', error)
        return None
    return EngineStep(model, take)


def check_engine(engine: str) -> None:
    """Refuse what is no engine.

    Raises:
        ParameterError: it is not one of ``ENGINES``.
    """
    if engine not in ENGINES:
        raise ParameterError(f'Parameter engine is {engine!r}; choose one of {ENGINES}.')


class EngineStep:
    """One control step, batch 1, in two calls."""

    def __init__(self, model: OpenVLA, take: bool = False) -> None:
        """Use the weights of a model and make room.

        Args:
            model: ready for inference.
            take: hold nothing twice. What is copied goes from the model, one weight after the
                other, and torch cannot compute it any more.

        Raises:
            EngineError: the engine lacks something that the model does, or memory.
        """
        check(model)
        self._weights = EngineWeights(model, take)
        self._config = model.config
        self._step = self._with_room_for(_WORDS)

    @property
    def name(self) -> str:
        """Engine and instruction set, for the status."""
        return f'engine/{level()}'

    @property
    def bytes(self) -> int:
        """Memory beside the model's own."""
        return self._weights.own_bytes + self._step.bytes

    @property
    def released(self) -> int:
        """Weights that the model has no more, but the engine has."""
        return self._weights.released

    def see(self, pixels: Tensor, proprio: Tensor | None) -> None:
        """(cameras, 6, S, S) pixels and (P,) proprioception, see :meth:`Step.see`."""
        self._step.see(pixels, proprio)

    def decode(self, tokens: Tensor) -> Tensor:
        """(L,) prompt without padding to (7,) action tokens, about what was seen last.

        Raises:
            EngineError: see :meth:`Words.rows` and :meth:`Step.decode`.
        """
        return self._step.decode(self._weights.words.rows(tokens))

    def plan(self, tokens: Tensor) -> Tensor:
        """(L,) prompt without padding to (K, 7) normalised actions, about what was seen last.

        Raises:
            EngineError: as :meth:`decode`.
        """
        return self._step.plan(self._weights.words.rows(tokens))

    def make_room(self, words: int) -> None:
        """Take prompts of so many tokens from the next :meth:`see` on."""
        if words > self._step.room:
            self._step = self._with_room_for(-(-words // _WORDS) * _WORDS)

    def seconds(self) -> tuple[float, float]:
        """Of the last answer, see :meth:`Step.seconds`."""
        return self._step.seconds()

    def insight(self) -> Insight:
        """What the last step computed."""
        return self._step.insight()

    def _with_room_for(self, words: int) -> Step:
        vision = self._weights.vision
        side = vision.image_side // vision.patch_side // vision.merge
        seen = vision.cameras * side * side + 1
        decoder = self._weights.decoder(words + seen + self._config.answers + 1)
        return Step(vision, decoder, torch.get_num_threads())
