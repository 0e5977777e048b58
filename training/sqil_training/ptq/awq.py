# SPDX-License-Identifier: Apache-2.0
"""AWQ: scale up the columns that meet large inputs, then clip the range of every group.

Lin et al., "AWQ: Activation-aware Weight Quantization", arXiv 2306.00978: the scale of equation 5,
searched over its exponent on a grid of 20, and the clipping of section 3.2; the grids and limits
are those of the authors' code as methods.md 5.2 states them. Both searches start from plain
rounding, so neither can end worse than RTN on the calibration data.

Inferences: the error is that of the linear layers themselves (equation 4 of the paper), where the
released code compares the output of the attention or MLP block around them. Symmetric grids go
through the same search. In the encoders a GELU stands before ``fc2``, as in the projector: no
scale can pass it, so those layers are clipped only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from sqil_ros.quant.primitives import (
    WHOLE_ROW,
    Grid,
    Quantized,
    Steps,
    dequantize,
    find_steps,
    quantize,
    round_onto,
)
from sqil_training.ptq.architecture import blocks, scaling_groups
from sqil_training.ptq.method import Options
from sqil_training.ptq.parts import weight_of
from sqil_training.ptq.rows import better_rows
from sqil_training.ptq.scaling import fold
from sqil_training.ptq.statistics import InputStatistics, Run, collect

RATIOS = tuple(i / 20 for i in range(20))
SHRINKS = tuple(1.0 - i / 20 for i in range(10))
_LEAST_SCALE = 1e-4
# Their product is what attention sees, so a clipped query errs with every key.
_NOT_CLIPPED = ('.q_proj', '.k_proj')


def scale_by_search(
    model: nn.Module, layers: Collection[str], options: Options, run: Run | None
) -> None:
    """A :class:`sqil_training.ptq.method.Transform`."""
    assert run is not None
    for block in blocks(model).values():
        groups = [g for g in scaling_groups(model, block) if not set(layers).isdisjoint(g.layers)]
        inputs = collect(model, [group.layers[0] for group in groups], run) if groups else {}
        for group in groups:
            chosen = [name for name in group.layers if name in layers]
            weights = [weight_of(model, name).detach().float() for name in chosen]
            fold(model, group, best_scale(weights, inputs[group.layers[0]], options.grid))


def best_scale(weights: Sequence[Tensor], inputs: InputStatistics, grid: Grid) -> Tensor:
    """(in,) scale of the columns with the least error of all outputs together.

    Args:
        weights: (out, in) of the layers that read the same input.
        inputs: of these layers.
        grid: of the codes.
    """

    def error(scale: Tensor) -> float:
        rounded = (dequantize(quantize(weight * scale, grid)) / scale for weight in weights)
        differences = [weight - other for weight, other in zip(weights, rounded, strict=True)]
        return sum(float(((d @ inputs.gram) * d).sum()) for d in differences)

    return min((candidate_scale(inputs, ratio) for ratio in RATIOS), key=error)


def candidate_scale(inputs: InputStatistics, ratio: float) -> Tensor:
    """(in,) mean magnitude to the power of a ratio, about 1; exactly 1 for a ratio of 0."""
    scale = inputs.magnitude.pow(ratio).clamp(min=_LEAST_SCALE)
    return scale / (scale.max() * scale.min()).sqrt()


def round_clipped(
    name: str, weight: Tensor, inputs: InputStatistics | None, options: Options
) -> Quantized:
    """A :class:`sqil_training.ptq.method.Rounding`; queries and keys are not clipped."""
    assert inputs is not None
    nearest = quantize(weight, options.grid)
    if name.endswith(_NOT_CLIPPED):
        return nearest
    clipped = round_onto(weight, clipped_steps(weight, inputs, options.grid), options.grid.bits)
    return better_rows(weight, inputs, nearest, clipped)


def clipped_steps(weight: Tensor, inputs: InputStatistics, grid: Grid) -> Steps:
    """Steps of every (row, group) whose range is shrunk to what errs least.

    A group is judged by its own share of the output, as in the authors' code; how the errors of
    groups add up is left to :func:`sqil_training.ptq.rows.better_rows`.
    """
    size = grid.group_size if grid.group_size != WHOLE_ROW else weight.shape[1]
    groups = weight.shape[1] // size
    own = torch.arange(groups, device=weight.device)
    gram = inputs.gram.view(groups, size, groups, size)[own, :, own]
    peak = weight.view(len(weight), groups, size).abs().amax(-1)
    best, least = find_steps(weight, grid), None
    for shrink in SHRINKS:
        limit = (peak * shrink).repeat_interleave(size, dim=1)
        steps = find_steps(weight.clamp(-limit, limit), grid)
        difference = weight - dequantize(round_onto(weight, steps, grid.bits))
        runs = difference.view(len(weight), groups, size).transpose(0, 1)
        error = ((runs @ gram) * runs).sum(-1).t()
        if least is None:
            least = error
            continue
        won = error < least
        least = torch.where(won, error, least)
        best = _chosen(won.view(best.scale.shape), steps, best)
    return best


def _chosen(first: Tensor, a: Steps, b: Steps) -> Steps:
    """``a`` where ``first`` holds, else ``b``."""
    if a.zero is None or b.zero is None:
        return Steps(torch.where(first, a.scale, b.scale))
    return Steps(torch.where(first, a.scale, b.scale), torch.where(first, a.zero, b.zero))
