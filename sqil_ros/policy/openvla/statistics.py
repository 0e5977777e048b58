# SPDX-License-Identifier: Apache-2.0
"""Statistics of a data set in OpenVLA's shape, and the normalisation they define."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sqil_ros.errors import CheckpointError
from sqil_ros.types import Array

# A channel that never moves would otherwise divide by nothing (metres or radians).
MINIMUM_RANGE = 0.01


@dataclass(frozen=True)
class Normalizer:
    """Maps q01..q99 to [-1, 1] where ``mask`` holds and passes the rest through.

    Attributes:
        q01: (D,) first percentile.
        q99: (D,) last percentile.
        mask: (D,) which channels are scaled; the gripper is not.
    """

    q01: Array
    q99: Array
    mask: Array

    def normalize(self, values: Array) -> Array:
        """(..., D) physical values to [-1, 1], clipped."""
        scaled = 2.0 * (values - self.q01) / (self.q99 - self.q01) - 1.0
        return np.where(self.mask, np.clip(scaled, -1.0, 1.0), values)

    def denormalize(self, values: Array) -> Array:
        """Inverse of :func:`normalize` inside the clipping range."""
        return np.where(self.mask, 0.5 * (values + 1.0) * (self.q99 - self.q01) + self.q01, values)


def describe(values: Array, mask: list[bool]) -> dict[str, list]:
    """Statistics of (N, D) values in the published layout; tiny ranges are widened."""
    low, high = np.quantile(values, [0.01, 0.99], axis=0)
    short = np.maximum(MINIMUM_RANGE - (high - low), 0.0) * np.array(mask)
    return {
        'mean': values.mean(axis=0).tolist(),
        'std': values.std(axis=0).tolist(),
        'max': values.max(axis=0).tolist(),
        'min': values.min(axis=0).tolist(),
        'q01': (low - 0.5 * short).tolist(),
        'q99': (high + 0.5 * short).tolist(),
        'mask': mask,
    }


def dataset_statistics(
    name: str, actions: Array, proprio: Array, trajectories: int
) -> dict[str, Any]:
    """The content of ``dataset_statistics.json``.

    Args:
        name: data set's name, the later ``unnorm_key``.
        actions: (N, 7) actions; the last channel is the gripper, which is not scaled.
        proprio: (N, P) proprioception.
        trajectories: number of episodes.
    """
    return {
        name: {
            'action': describe(actions, [True] * 6 + [False]),
            'proprio': describe(proprio, [True] * proprio.shape[1]),
            'num_transitions': len(actions),
            'num_trajectories': trajectories,
        }
    }


@dataclass(frozen=True)
class Spread:
    """How widely a data set's values lie, in their own units.

    Attributes:
        low: (D,) smallest value.
        high: (D,) largest value.
        std: (D,) standard deviation.
    """

    low: Array
    high: Array
    std: Array


def read_normalizer(directory: Path, dataset: str, what: str) -> Normalizer:
    """The normaliser of ``what`` (``action`` or ``proprio``) beside a checkpoint.

    Raises:
        CheckpointError: the file, the data set or a field is missing or malformed.
    """
    low, high, mask = _read(directory, dataset, what, ('q01', 'q99', 'mask'))
    return Normalizer(low, high, mask.astype(bool))


def read_spread(directory: Path, dataset: str, what: str) -> Spread:
    """The spread of ``what`` (``action`` or ``proprio``) in a checkpoint's training data.

    Raises:
        CheckpointError: the file, the data set or a field is missing or malformed.
    """
    return Spread(*_read(directory, dataset, what, ('min', 'max', 'std')))


def _read(directory: Path, dataset: str, what: str, fields: Sequence[str]) -> list[Array]:
    path = directory / 'dataset_statistics.json'
    try:
        entry = json.loads(path.read_text(encoding='utf-8'))[dataset][what]
        return [np.array(entry[field], dtype=float) for field in fields]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{path}: no usable statistics of {what} for {dataset!r} ({error!r}); put the file '
            'of the training data beside the weights.'
        ) from error
