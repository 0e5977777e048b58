# SPDX-License-Identifier: Apache-2.0
"""The shape of an OpenVLA, from a few million parameters to seven billion."""

from __future__ import annotations

from typing import Any

from transformers import (
    Dinov2WithRegistersConfig,
    LlamaConfig,
    PretrainedConfig,
    SiglipVisionConfig,
)

from sqil_ros.errors import CheckpointError, ParameterError

N_ACTIONS = 7
BIN_CHOICES = ('argmax', 'median')
TOKENS, L1 = 'tokens', 'l1'
HEADS = (TOKENS, L1)


class OpenVLAConfig(PretrainedConfig):
    """Sizes of the parts and how they are joined.

    Attributes:
        dino: ``Dinov2WithRegistersConfig`` fields of the first encoder.
        siglip: ``SiglipVisionConfig`` fields of the second encoder.
        text: ``LlamaConfig`` fields; ``vocab_size`` is padded, see ``text_vocab_size``.
        text_vocab_size: tokens in use (32000 in openvla-7b); the last ``n_action_bins`` of them
            are action bins. The head is padded beyond it.
        n_action_bins: bins per action dimension.
        n_images: cameras, one in openvla-7b.
        proprio_dim: length of the proprioception vector, 0 for none (as in openvla-7b).
        patch_merge: side of the square of patches that becomes one decoder token; 1 in
            openvla-7b. Two quarters the decoder's sequence, which two CPU cores need.
        projector_hidden: width of the projector's first layer, 0 for four times its input.
        bin_choice: how a bin is chosen from the predicted distribution: ``argmax`` as in
            openvla-7b, or ``median``. A demonstrator that often stands still in one axis puts a
            peak into a single bin; the most likely bin is then that peak even where nine in ten
            chances lie around another value, and the arm stops short. The median does not.
        head: ``tokens``, one action as seven bins, one after the other (OpenVLA); or ``l1``,
            ``chunk`` actions at once by regression (OpenVLA-OFT, arXiv 2502.19645).
        chunk: actions that one look at the world gives, 1 with ``tokens``; OpenVLA-OFT has 8 for
            LIBERO and 5 for BridgeData.
        stop_token: token behind the place of the last action with ``l1``; 2 in Llama 2.

    The paper reads the second-to-last block of each encoder, so ``num_hidden_layers`` counts the
    blocks that are used: one fewer than the encoders of openvla-7b have.
    """

    model_type = 'sqil_openvla'

    def __init__(
        self,
        dino: dict[str, Any] | None = None,
        siglip: dict[str, Any] | None = None,
        text: dict[str, Any] | None = None,
        text_vocab_size: int = 32000,
        n_action_bins: int = 256,
        n_images: int = 1,
        proprio_dim: int = 0,
        patch_merge: int = 1,
        projector_hidden: int = 0,
        bin_choice: str = 'argmax',
        head: str = TOKENS,
        chunk: int = 1,
        stop_token: int = 2,
        **kwargs: Any,
    ) -> None:
        self.dino = dino or {}
        self.siglip = siglip or {}
        self.text = text or {}
        self.text_vocab_size = text_vocab_size
        self.n_action_bins = n_action_bins
        self.n_images = n_images
        self.proprio_dim = proprio_dim
        self.patch_merge = patch_merge
        self.projector_hidden = projector_hidden
        if bin_choice not in BIN_CHOICES:
            raise CheckpointError(
                f'bin_choice is {bin_choice!r}; use one of {BIN_CHOICES} in config.json.'
            )
        self.bin_choice = bin_choice
        if head not in HEADS:
            raise CheckpointError(f'head is {head!r}; use one of {HEADS} in config.json.')
        if chunk < 1 or (head == TOKENS and chunk != 1):
            raise CheckpointError(
                f'chunk is {chunk} with head {head!r}; tokens give 1 action, l1 gives 1 or more. '
                'Mend config.json.'
            )
        self.head, self.chunk, self.stop_token = head, chunk, stop_token
        super().__init__(**kwargs)

    def dino_config(self) -> Dinov2WithRegistersConfig:
        """Configuration of the DINOv2 encoder."""
        return Dinov2WithRegistersConfig(**self.dino)

    def siglip_config(self) -> SiglipVisionConfig:
        """Configuration of the SigLIP encoder."""
        return SiglipVisionConfig(vision_use_head=False, **self.siglip)

    def text_config(self) -> LlamaConfig:
        """Configuration of the decoder."""
        return LlamaConfig(**self.text)

    @property
    def image_size(self) -> int:
        """Side of the square picture the encoders take [pixels]."""
        return int(self.dino['image_size'])

    @property
    def answers(self) -> int:
        """Decoder states that the actions are read from."""
        return N_ACTIONS * self.chunk


def with_l1_head(config: OpenVLAConfig, chunk: int, **changes: Any) -> OpenVLAConfig:
    """The same sizes, answering with ``chunk`` actions at once as OpenVLA-OFT does.

    Args:
        config: of a network that answers with tokens.
        chunk: actions at once.
        changes: other fields of :class:`OpenVLAConfig` that change.
    """
    return OpenVLAConfig(**{**config.to_dict(), 'head': L1, 'chunk': chunk, **changes})


def require_tokens(config: OpenVLAConfig, what: str) -> None:
    """Refuse ``what`` for a policy that has no bins to be asked about.

    Raises:
        ParameterError: the policy has a regression head.
    """
    if config.head != TOKENS:
        raise ParameterError(
            f'{what} asks how likely every action bin is, and this policy has head '
            f'{config.head!r}, which has no bins; choose a checkpoint with head {TOKENS!r}.'
        )


def openvla_7b() -> OpenVLAConfig:
    """The published 7B shape (methods: OpenVLA, encoders ViT-L/14 reg4 and SO400M/14 at 224)."""
    return OpenVLAConfig(
        dino={
            'hidden_size': 1024,
            'num_hidden_layers': 23,
            'num_attention_heads': 16,
            'mlp_ratio': 4,
            'image_size': 224,
            'patch_size': 14,
            'num_register_tokens': 4,
        },
        siglip={
            'hidden_size': 1152,
            'intermediate_size': 4304,
            'num_hidden_layers': 26,
            'num_attention_heads': 16,
            'image_size': 224,
            'patch_size': 14,
        },
        text={
            'vocab_size': 32064,
            'hidden_size': 4096,
            'intermediate_size': 11008,
            'num_hidden_layers': 32,
            'num_attention_heads': 32,
            'max_position_embeddings': 2048,
            'rms_norm_eps': 1e-6,
        },
    )


def tiny(text_vocab_size: int = 768) -> OpenVLAConfig:
    """A few million parameters for two CPU cores: two 128-pixel cameras and proprioception."""
    return OpenVLAConfig(
        dino={
            'hidden_size': 96,
            'num_hidden_layers': 3,
            'num_attention_heads': 4,
            'mlp_ratio': 4,
            'image_size': 128,
            'patch_size': 16,
            'num_register_tokens': 2,
            'initializer_range': 0.06,
        },
        siglip={
            'hidden_size': 96,
            'intermediate_size': 384,
            'num_hidden_layers': 3,
            'num_attention_heads': 4,
            'image_size': 128,
            'patch_size': 16,
        },
        text={
            'vocab_size': text_vocab_size + 64,
            'hidden_size': 192,
            'intermediate_size': 512,
            'num_hidden_layers': 4,
            'num_attention_heads': 6,
            'max_position_embeddings': 512,
            'rms_norm_eps': 1e-6,
            # 1 / sqrt(hidden): the usual 0.02 is for wide models and leaves attention flat here.
            'initializer_range': 0.07,
        },
        text_vocab_size=text_vocab_size,
        n_images=2,
        proprio_dim=14,
        patch_merge=2,
        projector_hidden=512,
        bin_choice='median',
    )
