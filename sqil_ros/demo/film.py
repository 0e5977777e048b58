# SPDX-License-Identifier: Apache-2.0
"""An episode as a strip of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sqil_ros.types import Image

FRAMES = 8
_QUALITY = 82
_GAP, _GREY = 2, 128  # pixels between two pictures, at home on light and dark pages


def strip(frames: Sequence[Image], count: int = FRAMES) -> bytes:
    """Pictures side by side as one JPEG, ``count`` of them spread evenly over the episode.

    Args:
        frames: (H, W, 3) uint8 RGB each, oldest first; at least one.
        count: where there are fewer frames, some are shown twice, so that all strips are alike.

    Returns:
        A JPEG of width ``count * W`` plus gaps.
    """
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]
    height = chosen[0].shape[0]
    gap = np.full((height, _GAP, 3), _GREY, np.uint8)
    pieces = [piece for frame in chosen for piece in (frame, gap)][:-1]
    return jpeg(np.concatenate(pieces, axis=1))


def jpeg(image: Image) -> bytes:
    """An (H, W, 3) uint8 RGB picture as JPEG."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    _, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(data)
