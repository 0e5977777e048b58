# SPDX-License-Identifier: Apache-2.0
"""A picture under its saliency, for pages and for the live topic."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sqil_ros.types import Array, Image

_OPACITY = 0.75


def heat_maps(images: Sequence[Image], maps: Array, size: int) -> tuple[Image, ...]:
    """The pictures of one moment on one scale: the highest saliency in any glows brightest.

    Args:
        images: (H, W, 3) uint8 RGB of every camera; those that the policy does not see come last.
        maps: (cameras, N, N) local saliency of those that it sees.
        size: side of a result [pixels].

    Returns:
        (size, size, 3) uint8 RGB of every camera that it sees.
    """
    largest = float(maps.max())
    return tuple(
        heat_map(image, own, largest, size) for image, own in zip(images, maps, strict=False)
    )


def heat_map(image: Image, saliency: Array, largest: float, size: int) -> Image:
    """A picture that is untouched where its saliency is zero, and glows where it is high.

    Args:
        image: (H, W, 3) uint8 RGB.
        saliency: (N, N) local saliency of this camera.
        largest: the value that glows brightest; 0 where nothing does.
        size: side of the result [pixels].

    Returns:
        (size, size, 3) uint8 RGB.
    """
    share = np.clip(saliency / (largest or 1.0), 0.0, 1.0)
    # Linear between the cells' middles: a cell's edge means nothing in the picture.
    smooth = cv2.resize(share, (size, size), interpolation=cv2.INTER_LINEAR)
    levels = np.round(255.0 * smooth).astype(np.uint8)
    glow = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, :, ::-1]
    opacity = _OPACITY * np.sqrt(smooth)[:, :, None]
    large = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.round((1.0 - opacity) * large + opacity * glow), np.uint8)
