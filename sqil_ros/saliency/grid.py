# SPDX-License-Identifier: Apache-2.0
"""Where pictures are disturbed: the cells of an N x N grid, and the cameras they are tried in."""

from __future__ import annotations

import torch
from torch import Tensor

from sqil_ros.errors import ParameterError

TOGETHER, EACH = 'together', 'each'
CAMERAS = (TOGETHER, EACH)


def grid_masks(side: int, height: int, width: int) -> Tensor:
    """(N * N, H, W) booleans that share out every pixel exactly once, N being ``side``.

    Cells count row by row from the top left. Where N does not divide the picture, rows and
    columns differ by one pixel (the paper's 8 x 8 cells of 28 pixels divide 224; the rest is
    inference).

    Raises:
        ParameterError: a cell would have no pixel.
    """
    if not 1 <= side <= min(height, width):
        raise ParameterError(
            f'A grid of {side} x {side} does not fit a picture of {height} x {width} pixels; '
            f'use 1 to {min(height, width)}.'
        )
    rows = torch.arange(height) * side // height
    columns = torch.arange(width) * side // width
    return (rows[:, None] * side + columns) == torch.arange(side * side)[:, None, None]


def camera_groups(cameras: int, mode: str) -> list[list[int]]:
    """Which cameras' pictures are disturbed at the same time.

    The paper has one camera. With C cameras (inference) there are two readings:

    * ``together``: cell k is disturbed in all pictures at once. N^2 positions and one map,
      whatever C, so a frame costs what it does in the paper.
    * ``each``: one picture after the other. C N^2 positions, and a map of every camera.

    With one camera both are the paper's.

    Raises:
        ParameterError: ``mode`` is neither.
    """
    if mode == TOGETHER:
        return [list(range(cameras))]
    if mode == EACH:
        return [[camera] for camera in range(cameras)]
    raise ParameterError(f'{mode!r} is no way to disturb cameras; use one of {CAMERAS}.')
