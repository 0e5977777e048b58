# SPDX-License-Identifier: Apache-2.0
"""A policy proves itself before it may act: finite, awake to images, and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.errors import CheckpointError
from sqil_ros.policy.base import Policy, check_chunk
from sqil_ros.preprocess import check_image
from sqil_ros.timing import Spans
from sqil_ros.types import Array, Image, Observation

SAMPLE_DIRECTORY = 'samples'
_STATE = np.array([0.45, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0])


@dataclass(frozen=True)
class SelfTest:
    """What the self-test found.

    Attributes:
        latency_ms: median duration of one step after warm-up.
        image_effect: largest difference between the actions for black and for real images.
    """

    latency_ms: float
    image_effect: float


def sample_images(contract: Contract, checkpoint: Path | None) -> tuple[Image, ...]:
    """One real image per camera from ``<checkpoint>/samples/<camera>.png``, else fixed noise.

    Raises:
        CheckpointError: a sample exists but is no readable picture.
        ObservationError: a sample is not of the contract's size.
    """
    return tuple(
        _sample(contract, camera.name, checkpoint, seed)
        for seed, camera in enumerate(contract.cameras)
    )


def _sample(contract: Contract, camera: str, checkpoint: Path | None, seed: int) -> Image:
    path = checkpoint / SAMPLE_DIRECTORY / f'{camera}.png' if checkpoint else None
    if path is None or not path.is_file():
        shape = (contract.image_height, contract.image_width, 3)
        return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise CheckpointError(f'{path} is no readable picture; fetch the checkpoint again.')
    return check_image(contract, camera, np.ascontiguousarray(bgr[:, :, ::-1]))


def self_test(
    policy: Policy,
    images: Sequence[Image],
    instruction: str = 'lift the eggplant',
    state: Array = _STATE,
    repeats: int = 5,
) -> SelfTest:
    """Ask ``policy`` about black and about real images.

    Raises:
        CheckpointError: black and real images give the same action, so it ignores its cameras.
        ActionError: an answer has the wrong shape or is not finite.
    """
    dark = tuple(np.zeros_like(image) for image in images)
    black = Observation(dark, state, state, instruction)
    real = Observation(tuple(images), state, state, instruction)
    answers = []
    durations = []
    for observation in (black, *[real] * repeats):
        policy.reset()
        spans = Spans()
        with spans('act'):
            chunk = policy.act(observation)
        answers.append(check_chunk(chunk).actions[0])
        durations.append(spans.milliseconds['act'])
    policy.reset()
    effect = float(np.max(np.abs(answers[0] - answers[1])))
    if effect == 0.0:
        raise CheckpointError(
            f'Policy {policy.describe().name!r} at {policy.profile!r} gives the same action '
            f'{np.round(answers[0], 4).tolist()} for a black and for a real image: it ignores '
            'its cameras. Check the checkpoint and the version of transformers.'
        )
    return SelfTest(float(np.median(durations[1:])), effect)
