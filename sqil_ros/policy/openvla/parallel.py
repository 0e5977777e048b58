# SPDX-License-Identifier: Apache-2.0
"""Parallel decoding: places for all actions behind the prompt, and one pass over everything.

What OpenVLA-OFT's release does (read in moojink/openvla-oft at 213c5ff8d6e9, file
``prismatic/extern/hf/modeling_prismatic.py``, and in the version of transformers that it asks for,
moojink/transformers-openvla-oft at bc339d9ad707, ``models/llama/modeling_llama.py``):

- behind the prompt stand 7 K placeholders whose embeddings are zero, and the stop token with its
  own (``_prepare_input_for_action_prediction``, ``_regression_or_discrete_prediction``);
- every position sees every position that is not padding, the prompt and the patches included, in
  all layers. The causal mask is replaced by its last row (``LlamaSdpaAttention.forward``);
- as in next-token prediction, an action is read one position early: the states are those of the
  prompt's last token and of all placeholders but the last. That one and the stop token are seen,
  but not read (``NUM_PATCHES + NUM_PROMPT_TOKENS`` leaves BOS out);
- positions are counted through, without padding.
"""

from __future__ import annotations

import torch
from torch import Tensor


def with_places(inputs: Tensor, mask: Tensor, count: int, stop: Tensor) -> tuple[Tensor, Tensor]:
    """A prompt with the places of its answer.

    Args:
        inputs: (B, L, width) embeddings of the prompt.
        mask: (B, L) 1 where a token counts, 0 for padding on the right.
        count: states that are read.
        stop: (width,) embedding of the stop token.

    Returns:
        (B, L + count + 1, width) embeddings and their mask; padding stays where it is.
    """
    places = inputs.new_zeros(len(inputs), count + 1, inputs.shape[-1])
    places[:, -1] = stop.to(inputs.dtype)
    return torch.cat([inputs, places], dim=1), torch.cat(
        [mask, mask.new_ones(len(mask), count + 1)], dim=1
    )


def everyone_sees(mask: Tensor) -> Tensor:
    """(B, N) mask to (B, 1, N, N): every query sees all that counts, as attention takes it."""
    return mask.bool()[:, None, None, :].expand(-1, 1, mask.shape[1], -1)


def answering(states: Tensor, mask: Tensor, count: int) -> Tensor:
    """States that the actions are read from.

    Args:
        states: (B, N, width) of :func:`with_places`.
        mask: (B, N) of :func:`with_places`.
        count: how many are read.

    Returns:
        (B, count, width), the first of them the prompt's last token.
    """
    prompt = states.shape[1] - count - 1
    last = mask[:, :prompt].cumsum(1).argmax(1)  # padding may stand between it and the places
    first = states[torch.arange(len(states), device=states.device), last]
    return torch.cat([first[:, None], states[:, prompt : prompt + count - 1]], dim=1)
