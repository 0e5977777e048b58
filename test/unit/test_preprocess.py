# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.contract import Contract
from sqil_ros.errors import ObservationError
from sqil_ros.preprocess import check_image, image_from_buffer

CONTRACT = Contract.load()
HEIGHT, WIDTH = CONTRACT.image_height, CONTRACT.image_width


def message(**changes):
    fields = {
        'buffer': bytes(HEIGHT * WIDTH * 3),
        'height': HEIGHT,
        'width': WIDTH,
        'step': WIDTH * 3,
        'encoding': 'rgb8',
    }
    return fields | changes


@given(st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_pixels_survive_any_row_padding(padding, seed):
    image = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    rows = np.pad(image.reshape(HEIGHT, -1), ((0, 0), (0, padding)))
    found = image_from_buffer(
        CONTRACT, 'image', **message(buffer=rows.tobytes(), step=rows.shape[1])
    )
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize(
    ('changes', 'names'),
    [
        ({'encoding': 'bgr8'}, ("'bgr8'", "'rgb8'", 'Convert')),
        ({'height': 480, 'width': 640, 'step': 1920}, ('640x480', '128x128', 'resize')),
        ({'buffer': bytes(100)}, ('100 bytes', 'camera driver')),
        ({'step': 4}, ('step of 4', '384')),
        ({'height': 0, 'width': 0, 'step': 0, 'buffer': b''}, ('0x0',)),
    ],
)
def test_another_image_is_refused_with_value_limit_and_mend(changes, names):
    with pytest.raises(ObservationError) as refusal:
        image_from_buffer(CONTRACT, 'wrist', **message(**changes))
    for name in ("'wrist'", *names):
        assert name in str(refusal.value)


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((HEIGHT, WIDTH), np.uint8),
        np.zeros((HEIGHT, WIDTH, 4), np.uint8),
        np.zeros((HEIGHT, WIDTH, 3), np.float32),
    ],
)
def test_check_image_refuses_shape_and_type(image):
    with pytest.raises(ObservationError, match='trained on'):
        check_image(CONTRACT, 'image', image)


def test_check_image_passes_the_same_array():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert check_image(CONTRACT, 'image', image) is image
