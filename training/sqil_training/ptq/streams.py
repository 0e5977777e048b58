# SPDX-License-Identifier: Apache-2.0
"""The three residual streams of an OpenVLA: who writes them and who reads them."""

from __future__ import annotations

from dataclasses import dataclass

from sqil_ros.policy.openvla.model import OpenVLA
from sqil_training.ptq.architecture import Block, ScalingGroup, blocks


@dataclass(frozen=True)
class Stream:
    """A residual stream by the names of what touches it.

    Attributes:
        width: number of channels.
        blocks: transformer blocks along it.
        tables: parameters (..., width) that are added or looked up.
        writers: modules outside the blocks whose output (first axis of the weight) enters it.
        reads: norms after the last block and who reads them.
        has_mean: its norms subtract the mean over channels.
    """

    width: int
    blocks: tuple[Block, ...]
    tables: tuple[str, ...]
    writers: tuple[str, ...]
    reads: tuple[ScalingGroup, ...]
    has_mean: bool


def dino_stream(model: OpenVLA) -> Stream:
    """DINOv2's stream, which the projector reads without a norm."""
    names = ('cls_token', 'mask_token', 'register_tokens', 'position_embeddings')
    return Stream(
        model.dino.config.hidden_size,
        _blocks(model, 'dino.'),
        tuple(f'dino.embeddings.{name}' for name in names),
        ('dino.embeddings.patch_embeddings.projection',),
        (),
        has_mean=True,
    )


def siglip_stream(model: OpenVLA) -> Stream:
    """SigLIP's stream, which the projector reads without a norm."""
    return Stream(
        model.siglip.config.hidden_size,
        _blocks(model, 'siglip.'),
        ('siglip.embeddings.position_embedding.weight',),
        ('siglip.embeddings.patch_embedding',),
        (),
        has_mean=True,
    )


def decoder_stream(model: OpenVLA) -> Stream:
    """The decoder's stream, from the embeddings and projectors to the action head."""
    proprio = () if model.proprio_projector is None else ('proprio_projector.fc2',)
    return Stream(
        model.language_model.config.hidden_size,
        _blocks(model, 'language_model.'),
        ('language_model.model.embed_tokens.weight',),
        ('projector.fc3', *proprio),
        (ScalingGroup('language_model.model.norm', ('language_model.lm_head',)),),
        has_mean=False,
    )


def _blocks(model: OpenVLA, prefix: str) -> tuple[Block, ...]:
    return tuple(block for name, block in blocks(model).items() if name.startswith(prefix))
