# SPDX-License-Identifier: Apache-2.0
"""Statistics of a data set in OpenVLA's shape, and the normalisation they define."""

from __future__ import annotations

import json
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


def read_normalizer(directory: Path, dataset: str, what: str) -> Normalizer:
    """The normaliser of ``what`` (``action`` or ``proprio``) beside a checkpoint.

    Raises:
        CheckpointError: the file, the data set or a field is missing or malformed.
    """
    path = directory / 'dataset_statistics.json'
    try:
        entry = json.loads(path.read_text(encoding='utf-8'))[dataset][what]
        arrays = [np.array(entry[key], dtype=float) for key in ('q01', 'q99')]
        mask = np.array(entry['mask'], dtype=bool)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{path}: no usable statistics of {what} for {dataset!r} ({error!r}); put the file '
            'of the training data beside the weights.'
        ) from error
    return Normalizer(arrays[0], arrays[1], mask)
