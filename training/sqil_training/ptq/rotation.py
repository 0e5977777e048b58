# SPDX-License-Identifier: Apache-2.0
"""QuaRot-style rotation: an orthogonal change of basis that spreads outliers over all channels.

Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs", arXiv 2404.00456, section
4, stages 1a and 1c: gains of norms move into the layers behind them, then whatever writes the
residual stream is multiplied by Q and whatever reads it by Q^T; in every head, values are rotated
before attention and rotated back after it. The function stays, in full precision.

Inferences: (1) The rotations that QuaRot applies while the model runs (before the last layer of
each MLP, and across heads) are left out, so nothing is added to the deployed layers. (2) The
encoders have layer norms; instead of folding the subtraction of the mean into the writers, their Q
keeps the vector of ones, with which a layer norm commutes. (3) The gains that DINOv2 puts on its
branches move into the layers that write them.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from sqil_ros.errors import ParameterError
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_training.ptq.architecture import Block, ScalingGroup
from sqil_training.ptq.method import Options
from sqil_training.ptq.orthogonal import mean_keeping, spreading_rotation
from sqil_training.ptq.parts import bias_of, weight_of
from sqil_training.ptq.statistics import Run
from sqil_training.ptq.streams import Stream, decoder_stream, dino_stream, siglip_stream


def rotate(model: nn.Module, layers: Collection[str], options: Options, run: Run | None) -> None:
    """A :class:`sqil_training.ptq.method.Transform` of every tower that has a layer to round.

    Raises:
        ParameterError: the model is no OpenVLA, or its head is tied to its embeddings or is none
            that a rotation can be folded into.
    """
    if not isinstance(model, OpenVLA):
        raise ParameterError(
            f'the residual streams of a {type(model).__name__} are not known, only those of an '
            'OpenVLA; choose another method'
        )
    if model.action_head is not None:
        raise ParameterError(
            'the regression head normalises seven states together, which no rotation of a single '
            'one commutes with; choose another method'
        )
    if model.language_model.lm_head.weight is model.language_model.get_input_embeddings().weight:
        raise ParameterError(
            'the action head shares the weights of the embeddings, but a rotation changes only '
            'one of them by the gain of the last norm; untie them or choose another method'
        )
    generator = torch.Generator().manual_seed(options.seed)
    rotations = {
        tower: _rotate_stream(model, stream(model), generator)
        for tower, stream in _STREAMS.items()
        if any(name.startswith(f'{tower}.') for name in layers)
    }
    _turn_projector(model, rotations)


_STREAMS = {'dino': dino_stream, 'siglip': siglip_stream, 'language_model': decoder_stream}


@torch.no_grad()
def _rotate_stream(model: nn.Module, stream: Stream, generator: torch.Generator) -> Tensor:
    """Rotate one stream; returns its Q (width, width) float64."""
    rotation = spreading_rotation(stream.width, generator)
    if stream.has_mean:
        rotation = mean_keeping(rotation)
    for block in stream.blocks:
        _absorb_gains(model, block)
        _rotate_heads(model, block, generator)
        for name in block.writes:
            _turn_output(model, name, rotation)
    for read in [*(read for block in stream.blocks for read in block.reads), *stream.reads]:
        _absorb_norm(model, read)
        for name in read.layers:
            _turn_input(model, name, rotation)
    for name in stream.writers:
        _turn_output(model, name, rotation)
    for name in stream.tables:
        table = model.get_parameter(name)
        table.copy_(table.double() @ rotation.t().to(table.device))
    return rotation


def _absorb_gains(model: nn.Module, block: Block) -> None:
    """Move the gain of every branch into the layer that ends it."""
    for name, layer in zip(block.gains, block.writes, strict=False):
        gain, bias = model.get_parameter(name), bias_of(model, layer)
        weight_of(model, layer).mul_(gain[:, None])
        if bias is not None:
            bias.mul_(gain)
        gain.fill_(1.0)


def _absorb_norm(model: nn.Module, read: ScalingGroup) -> None:
    """Move gain and shift of a norm into the layers that read it."""
    gain, shift = weight_of(model, read.source), bias_of(model, read.source)
    for name in read.layers:
        weight, bias = weight_of(model, name), bias_of(model, name)
        if shift is not None:
            if bias is None:
                raise ParameterError(
                    f'{name} has no bias that could take the shift of {read.source}; choose '
                    'another method for this tower'
                )
            bias.add_(weight @ shift)
        weight.mul_(gain)
    gain.fill_(1.0)
    if shift is not None:
        shift.zero_()


def _rotate_heads(model: nn.Module, block: Block, generator: torch.Generator) -> None:
    """Rotate the values of all heads alike, and back in the output projection."""
    value, out = block.values.source, block.values.layers[0]
    head_width = model.get_submodule(value.rpartition('.')[0]).head_dim
    assert isinstance(head_width, int)
    rotation = spreading_rotation(head_width, generator)
    _turn_output(model, value, _repeated(rotation, weight_of(model, value).shape[0]))
    _turn_input(model, out, _repeated(rotation, weight_of(model, out).shape[1]))


def _repeated(rotation: Tensor, width: int) -> Tensor:
    return torch.block_diag(*[rotation] * (width // len(rotation)))


def _turn_projector(model: OpenVLA, rotations: dict[str, Tensor]) -> None:
    """Let the projector read rotated features: squares of patches, each DINOv2, then SigLIP."""
    if not {'dino', 'siglip'} & set(rotations):
        return
    widths = {'dino': model.dino.config.hidden_size, 'siglip': model.siglip.config.hidden_size}
    patch = torch.block_diag(
        *(rotations.get(t, torch.eye(w, dtype=torch.float64)) for t, w in widths.items())
    )
    with torch.no_grad():
        _turn_input(model, 'projector.fc1', _repeated(patch, model.projector.fc1.in_features))


def _turn_output(model: nn.Module, layer: str, rotation: Tensor) -> None:
    """What ``layer`` writes is multiplied by Q: the first axis of its weight, and its bias."""
    weight, bias = weight_of(model, layer), bias_of(model, layer)
    rotation = rotation.to(weight.device)
    weight.copy_(torch.tensordot(rotation, weight.double(), dims=1))
    if bias is not None:
        bias.copy_(rotation @ bias.double())


def _turn_input(model: nn.Module, layer: str, rotation: Tensor) -> None:
    """``layer`` reads Q x as it read x."""
    weight = weight_of(model, layer)
    weight.copy_(weight.double() @ rotation.to(weight.device).t())
