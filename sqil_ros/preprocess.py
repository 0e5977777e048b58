# SPDX-License-Identifier: Apache-2.0
"""Images as they enter: what the contract promises, or a named refusal.

A camera of another size, encoding or order of channels would move the arm on wrong pixels
without any error further down, so nothing is resized or reordered here.
"""

from __future__ import annotations

import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.errors import ObservationError
from sqil_ros.types import Image

_CHANNELS = 3


def image_from_buffer(
    contract: Contract,
    camera: str,
    buffer: bytes,
    *,
    height: int,
    width: int,
    step: int,
    encoding: str,
) -> Image:
    """The pixels of a ``sensor_msgs/Image``, checked against the contract.

    Args:
        contract: promises size and encoding.
        camera: the camera's name, for the message of a refusal.
        buffer: ``msg.data``; any object with the buffer protocol.
        height: rows.
        width: columns.
        step: bytes from one row to the next, padding included.
        encoding: as in ``sensor_msgs/image_encodings.hpp``.

    Returns:
        (H, W, 3) uint8 RGB; shares memory with ``buffer`` where rows have no padding.

    Raises:
        ObservationError: size, encoding or amount of data is another.
    """
    if encoding != contract.image_encoding:
        raise ObservationError(
            f'Camera {camera!r} sends encoding {encoding!r}; the policy was trained on '
            f'{contract.image_encoding!r}. Convert the image before this topic.'
        )
    if (height, width) != (contract.image_height, contract.image_width):
        raise ObservationError(
            f'Camera {camera!r} sends {width}x{height} pixels; the policy was trained on '
            f'{contract.image_width}x{contract.image_height}. Set the camera to that size or '
            'resize before this topic.'
        )
    row_bytes = width * _CHANNELS
    data = np.frombuffer(buffer, np.uint8)
    if step < row_bytes or data.size != step * height:
        raise ObservationError(
            f'Camera {camera!r} sends {data.size} bytes with a step of {step}; {width}x{height} '
            f'{encoding} needs a step of at least {row_bytes} and step times height bytes. '
            'Repair the camera driver.'
        )
    rows = data.reshape(height, step)[:, :row_bytes]
    return rows.reshape(height, width, _CHANNELS)


def check_image(contract: Contract, camera: str, image: Image) -> Image:
    """``image`` itself, if it is (H, W, 3) uint8 of the contract's size.

    Raises:
        ObservationError: the shape or type is another.
    """
    wanted = (contract.image_height, contract.image_width, _CHANNELS)
    if image.shape != wanted or image.dtype != np.uint8:
        raise ObservationError(
            f'Camera {camera!r} has an image of shape {image.shape} and type {image.dtype}; the '
            f'policy was trained on {wanted} uint8. Resize or convert it first.'
        )
    return image
