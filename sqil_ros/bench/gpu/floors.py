# SPDX-License-Identifier: Apache-2.0
"""What a control step cannot beat, computed from its shapes and from rates of the GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqil_ros.bench.operations import LayerUse
from sqil_ros.policy.openvla.config import L1, N_ACTIONS, OpenVLAConfig

FULL = 16
WORDS = 20
"""Tokens of the prompt."""


@dataclass(frozen=True)
class Rates:
    """What a GPU can do at most.

    Attributes:
        read_gbps: reading memory.
        half_tflops: dense products in bfloat16.
        int8_tops: dense products of 8-bit integers.
    """

    read_gbps: float
    half_tflops: float
    int8_tops: float


H200 = Rates(4300.0, 989.0, 1979.0)
"""Read rate as others have measured it, products from the data sheet."""


@dataclass(frozen=True)
class Work:
    """A control step, token by token.

    Attributes:
        prompt_tflop: operations of pictures, projector and prefill [10^12].
        token_weights: weights that every further token reads; none where the answer is one pass.
        token_bytes: other bytes that it reads: keys, values, and the head.
    """

    prompt_tflop: float
    token_weights: int
    token_bytes: int


def work_of(config: OpenVLAConfig, uses: Iterable[LayerUse], actions_only: bool = True) -> Work:
    """The linear layers of a step, and what attention reads for a token.

    Args:
        config: of the network.
        uses: of :func:`sqil_ros.bench.operations.layer_uses`.
        actions_only: whether the head has the rows of actions alone.
    """
    text = config.text_config()
    prompt, weights, seen = 0.0, 0, 0
    for use in uses:
        size, rows = use.operation.shape.weights, use.operation.rows
        if use.calls > 1:
            weights += size
        else:
            prompt += 2e-12 * rows * size
            if use.layer.startswith('language_model'):
                seen = max(seen, rows)
    if config.head == L1:
        return Work(prompt, 0, 0)
    heads = text.num_key_value_heads * (text.hidden_size // text.num_attention_heads)
    keys = 2 * 2 * text.num_hidden_layers * heads * seen
    rows = config.n_action_bins if actions_only else text.vocab_size
    return Work(prompt, weights, keys + 2 * rows * text.hidden_size)


def step_floor(work: Work, bits: int, prompt_bits: int, rates: Rates) -> float:
    """Milliseconds of a step whose products and reads run at the rates, one after the other.

    Args:
        work: to do.
        bits: of a weight.
        prompt_bits: of the inputs of pictures and prefill: 16, or 8 for integer products.
        rates: of the GPU.
    """
    speed = rates.half_tflops if prompt_bits == FULL else rates.int8_tops
    token = (work.token_weights * bits / 8 + work.token_bytes) / rates.read_gbps / 1e6
    return 1e3 * work.prompt_tflop / speed + (N_ACTIONS - 1) * token


@dataclass(frozen=True)
class Bar:
    """A number that was promised.

    Attributes:
        name: what is compared.
        found: the number.
        limit: what it should reach.
        at_least: whether it should be no less, or no more.
    """

    name: str
    found: float
    limit: float
    at_least: bool

    @property
    def reached(self) -> bool:
        """Whether the promise is kept."""
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    def __str__(self) -> str:
        """One line for people."""
        sign = '>=' if self.at_least else '<='
        verdict = 'reached' if self.reached else 'MISSED'
        return f'{verdict:8} {self.name}: {self.found:.3g}, wanted {sign} {self.limit:.3g}'
