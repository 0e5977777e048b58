# SPDX-License-Identifier: Apache-2.0
"""From an observation to tensors: pixels, prompt and proprioception."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from sqil_ros.errors import CheckpointError
from sqil_ros.policy.openvla.config import OpenVLAConfig
from sqil_ros.policy.openvla.statistics import Normalizer
from sqil_ros.types import Array, Image, Observation

# Means and deviations the two encoders were published with: DINOv2 (ImageNet), then SigLIP.
_MEAN = torch.tensor([0.484375, 0.455078125, 0.40625, 0.5, 0.5, 0.5]).view(6, 1, 1)
_STD = torch.tensor([0.228516, 0.223633, 0.224609, 0.5, 0.5, 0.5]).view(6, 1, 1)

PROPRIO_LENGTHS = (7, 14)
"""What :func:`proprio_vector` begins with, and all of it."""


def prompt_text(instruction: str) -> str:
    """OpenVLA v0.2's prompt."""
    return f'In: What action should the robot take to {instruction.strip().lower()}?\nOut:'


def pixels_from_images(images: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 RGB to (..., 6, H, W) float: DINOv2-normalised, then SigLIP's."""
    rgb = images.movedim(-1, -3).float() / 255.0
    return (torch.cat([rgb, rgb], dim=-3) - _MEAN.to(rgb.device)) / _STD.to(rgb.device)


def images_from_pixels(pixels: Tensor) -> Tensor:
    """Inverse of :func:`pixels_from_images`, rounded to uint8."""
    rgb = pixels[..., 3:, :, :] * _STD[3:].to(pixels.device) + _MEAN[3:].to(pixels.device)
    return (rgb * 255.0).round().clamp(0, 255).to(torch.uint8).movedim(-3, -1)


def resized(image: Image, size: int) -> Image:
    """(H, W, 3) to (size, size, 3), bicubic and without keeping the aspect (``resize-naive``)."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def proprio_vector(observation: Observation) -> Array:
    """(14,) measured state, then command."""
    return np.concatenate([observation.state, observation.command])


@dataclass(frozen=True)
class Batch:
    """Inputs of a model.

    Attributes:
        pixels: (B, cameras, 6, S, S).
        tokens: (B, L) prompt ids, right-padded.
        mask: (B, L) 1 where ``tokens`` counts.
        proprio: (B, P) normalised, or None.
    """

    pixels: Tensor
    tokens: Tensor
    mask: Tensor
    proprio: Tensor | None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Batch:
        """The same inputs elsewhere; ``dtype`` is for those that are no integers."""
        return Batch(
            self.pixels.to(device, dtype),
            self.tokens.to(device),
            self.mask.to(device),
            None if self.proprio is None else self.proprio.to(device, dtype),
        )


class Processor:
    """Prepares observations for one checkpoint."""

    def __init__(
        self,
        config: OpenVLAConfig,
        tokenizer: Tokenizer,
        proprio: Normalizer | None,
        space_token: int,
    ) -> None:
        """Use ``tokenizer`` and the checkpoint's statistics.

        Args:
            config: of the model.
            tokenizer: of the decoder; it must add BOS by itself.
            proprio: normaliser of proprioception, None where the model takes none.
            space_token: id of the bare space that ends every prompt (29871 in Llama 2).

        Raises:
            CheckpointError: the model takes proprioception that this package cannot give.
        """
        if proprio is not None and (
            len(proprio.q01) != config.proprio_dim or config.proprio_dim not in PROPRIO_LENGTHS
        ):
            raise CheckpointError(
                f'The policy takes {config.proprio_dim} numbers of proprioception, its statistics '
                f'have {len(proprio.q01)} and a robot here gives one of {PROPRIO_LENGTHS}: the '
                'measured state, or that and the command. Choose another checkpoint, or '
                'fine-tune this one on data of your robot.'
            )
        self._config = config
        self._tokenizer = tokenizer
        self._proprio = proprio
        self._space = space_token
        self._prompts: dict[str, list[int]] = {}

    def prompt_ids(self, instruction: str) -> list[int]:
        """Token ids of the whole prompt, ending with the bare space."""
        if instruction not in self._prompts:
            ids = self._tokenizer.encode(prompt_text(instruction)).ids
            self._prompts[instruction] = ids if ids[-1] == self._space else [*ids, self._space]
        return self._prompts[instruction]

    def tokens(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Prompts of a batch: (B, L) ids and mask, right-padded."""
        prompts = [self.prompt_ids(instruction) for instruction in instructions]
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros(len(prompts), longest, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
            mask[row, : len(prompt)] = 1
        return ids, mask

    def proprio(self, vectors: Array) -> Tensor | None:
        """(B, 14) raw proprioception to (B, P) normalised float32."""
        if self._proprio is None:
            return None
        known = vectors[:, : len(self._proprio.q01)]
        return torch.from_numpy(self._proprio.normalize(known)).float()

    def __call__(self, observations: Sequence[Observation]) -> Batch:
        """Tensors of a batch of observations."""
        size = self._config.image_size
        images = np.stack(
            [
                np.stack([resized(image, size) for image in o.images[: self._config.n_images]])
                for o in observations
            ]
        )
        tokens, mask = self.tokens([o.instruction for o in observations])
        vectors = np.stack([proprio_vector(o) for o in observations])
        return Batch(
            pixels_from_images(torch.from_numpy(images)), tokens, mask, self.proprio(vectors)
        )
