# SPDX-License-Identifier: Apache-2.0
"""The OpenVLA network on transformers' own encoder and decoder modules."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import (
    Dinov2WithRegistersModel,
    LlamaForCausalLM,
    PreTrainedModel,
    SiglipVisionModel,
)

from sqil_ros.errors import CheckpointError
from sqil_ros.policy.openvla.action_head import ActionHead
from sqil_ros.policy.openvla.config import L1, N_ACTIONS, OpenVLAConfig
from sqil_ros.policy.openvla.decoding import PreparedDecoder, one_by_one
from sqil_ros.policy.openvla.parallel import answering, everyone_sees, with_places
from sqil_ros.policy.openvla.processor import Batch


class Projector(nn.Module):
    """Three linear layers from joined patch features to the decoder's width."""

    def __init__(self, features: int, hidden: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.fc3 = nn.Linear(width, width)
        self.act = nn.GELU()

    def forward(self, features: Tensor) -> Tensor:
        """(..., features) to (..., width)."""
        return self.fc3(self.act(self.fc2(self.act(self.fc1(features)))))


class ProprioProjector(nn.Module):
    """Two linear layers from the proprioception vector to one token (as in OpenVLA-OFT)."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, width)
        self.fc2 = nn.Linear(width, width)
        self.act = nn.GELU()

    def forward(self, proprio: Tensor) -> Tensor:
        """(B, P) to (B, 1, width)."""
        return self.fc2(self.act(self.fc1(proprio)))[:, None]


class OpenVLA(PreTrainedModel):
    """Vision encoders, projector and decoder.

    The sequence is BOS, patches of every camera, proprioception, the rest of the prompt, and
    action tokens or, with the L1 head, the places of :mod:`sqil_ros.policy.openvla.parallel`.
    """

    config_class = OpenVLAConfig
    _no_split_modules: ClassVar[list[str]] = [
        'LlamaDecoderLayer',
        'SiglipEncoderLayer',
        'Dinov2WithRegistersLayer',
    ]

    def __init__(self, config: OpenVLAConfig) -> None:
        super().__init__(config)
        self.dino = Dinov2WithRegistersModel(config.dino_config())
        self.siglip = SiglipVisionModel(config.siglip_config())
        # Features are read before the encoders' last normalisation.
        self.dino.layernorm = nn.Identity()
        self.siglip.post_layernorm = nn.Identity()
        features = self.dino.config.hidden_size + self.siglip.config.hidden_size
        self.language_model = LlamaForCausalLM(config.text_config())
        width = self.language_model.config.hidden_size
        merged = features * config.patch_merge**2
        self.projector = Projector(merged, config.projector_hidden or 4 * merged, width)
        self.proprio_projector = (
            ProprioProjector(config.proprio_dim, width) if config.proprio_dim else None
        )
        self.action_head = ActionHead(width) if config.head == L1 else None
        if self.action_head is not None:
            words = self.language_model.config.vocab_size
            if not 0 <= config.stop_token < words:
                raise CheckpointError(
                    f'stop_token is {config.stop_token}, the decoder knows tokens 0 to '
                    f'{words - 1}; mend config.json.'
                )
            self.language_model.lm_head = nn.Identity()  # nobody asks for a word
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Every part has initialised itself."""

    def patch_features(self, pixels: Tensor) -> Tensor:
        """(B, cameras, 6, S, S) pixels to (B, cameras, patches, features): DINOv2, then SigLIP."""
        batch, cameras = pixels.shape[:2]
        flat = pixels.flatten(0, 1)
        skip = 1 + self.dino.config.num_register_tokens
        dino = self.dino.encoder(self.dino.embeddings(flat[:, :3])).last_hidden_state[:, skip:]
        siglip = self.siglip.encoder(
            inputs_embeds=self.siglip.embeddings(flat[:, 3:])
        ).last_hidden_state
        return torch.cat([dino, siglip], dim=-1).unflatten(0, (batch, cameras))

    def embed(self, batch: Batch, features: Tensor) -> tuple[Tensor, Tensor]:
        """Decoder inputs of the prompt: (B, L, width) embeddings and their (B, L) mask."""
        embed = self.language_model.get_input_embeddings()
        words = embed(batch.tokens)
        patches = merged(features, self.config.patch_merge)
        parts = [words[:, :1], self.projector(patches).flatten(1, 2)]
        if self.proprio_projector is not None:
            assert batch.proprio is not None
            parts.append(self.proprio_projector(batch.proprio).to(words.dtype))
        parts.append(words[:, 1:])
        inputs = torch.cat([part.to(words.dtype) for part in parts], dim=1)
        extra = inputs.shape[1] - batch.tokens.shape[1]
        seen = torch.ones(len(words), 1 + extra, dtype=torch.long, device=inputs.device)
        return inputs, torch.cat([seen, batch.mask[:, 1:]], dim=1)

    def forced_states(
        self, batch: Batch, actions: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decoder states (B, L, width) while it is fed the (B, 7) action tokens, and their mask.

        The last token is not fed, since nothing is predicted from it.
        """
        inputs, mask = self.embed(batch, features)
        embed = self.language_model.get_input_embeddings()
        inputs = torch.cat([inputs, embed(actions[:, :-1]).to(inputs.dtype)], dim=1)
        mask = torch.cat([mask, torch.ones_like(actions[:, :-1])], dim=1)
        states = self.language_model.model(
            inputs_embeds=inputs,
            attention_mask=mask,
            position_ids=positions(mask),
            use_cache=False,
        ).last_hidden_state
        return states, mask

    def action_states(self, batch: Batch, actions: Tensor, features: Tensor) -> Tensor:
        """Teacher-forced decoder states (B, 7, width) that predict the (B, 7) action tokens."""
        states, mask = self.forced_states(batch, actions, features)
        # The last prompt token predicts the first action; padding may stand between them.
        last = mask[:, : -(N_ACTIONS - 1)].cumsum(1).argmax(1)
        first = states[torch.arange(len(states), device=states.device), last]
        return torch.cat([first[:, None], states[:, -(N_ACTIONS - 1) :]], dim=1)

    def action_logits(self, states: Tensor) -> Tensor:
        """(..., width) decoder states to (..., bins) logits; bin index d - 1 for token V - d."""
        top = self.config.text_vocab_size
        rows = self.language_model.lm_head.weight[top - self.config.n_action_bins : top]
        return nn.functional.linear(states, rows.to(states.dtype)).flip(-1)

    def text_logits(self, batch: Batch, states: Tensor) -> Tensor:
        """(B, T, vocabulary) logits that predict every word after BOS and every action token.

        Args:
            batch: of prompts without padding.
            states: (B, L, width) of :meth:`forced_states`.
        """
        assert bool(batch.mask.all())
        words = batch.tokens.shape[1] - 1
        return self.language_model.lm_head(states[:, -(words + N_ACTIONS) :])

    def choose_tokens(self, logits: Tensor) -> Tensor:
        """(..., bins) logits to (...) tokens by ``config.bin_choice``."""
        if self.config.bin_choice == 'median':
            below = logits.float().softmax(-1).cumsum(-1) < 0.5
            bins = below.sum(-1).clamp(max=self.config.n_action_bins - 1)
        else:
            bins = logits.argmax(-1)
        return self.config.text_vocab_size - 1 - bins

    @torch.inference_mode()
    def predict_tokens(self, batch: Batch, features: Tensor) -> Tensor:
        """(B, 7) action tokens, each chosen before the next is predicted."""
        inputs, mask = self.embed(batch, features)
        whole = torch.cat([mask, mask.new_ones(len(mask), N_ACTIONS - 1)], dim=1)
        prepared = PreparedDecoder(self.language_model.model, whole, positions(whole))
        return one_by_one(
            prepared,
            inputs,
            last=mask.cumsum(1).argmax(1),
            choose=lambda states: self.choose_tokens(self.action_logits(states)),
            embed=self.language_model.get_input_embeddings(),
            count=N_ACTIONS,
        )

    def chunk_states(self, batch: Batch, features: Tensor) -> Tensor:
        """Decoder states (B, 7 K, width) that a chunk of actions is read from."""
        inputs, mask = self.embed(batch, features)
        stop = self.language_model.get_input_embeddings().weight[self.config.stop_token]
        inputs, mask = with_places(inputs, mask, self.config.answers, stop)
        states = self.language_model.model(
            inputs_embeds=inputs,
            attention_mask=everyone_sees(mask),
            position_ids=positions(mask),
            use_cache=False,
        ).last_hidden_state
        return answering(states, mask, self.config.answers)

    def predict_chunk(self, batch: Batch, features: Tensor) -> Tensor:
        """(B, K, 7) normalised actions of the L1 head, all at once; differentiable."""
        assert self.action_head is not None, 'only a network with the L1 head has chunks'
        return self.action_head(self.chunk_states(batch, features))


def merged(features: Tensor, side: int) -> Tensor:
    """(B, cameras, patches, F) to one token per square of ``side`` by ``side`` patches."""
    if side == 1:
        return features
    batch, cameras, patches, width = features.shape
    rows = math.isqrt(patches) // side
    grid = features.view(batch, cameras, rows, side, rows, side, width)
    return grid.transpose(3, 4).reshape(batch, cameras, rows * rows, side * side * width)


def positions(mask: Tensor) -> Tensor:
    """(B, L) rotary positions that count only the tokens in ``mask``."""
    return (mask.cumsum(1) - 1).clamp(min=0)
