# SPDX-License-Identifier: Apache-2.0
"""What profiles differ in beside success: their actions on held-out frames, and their speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sqil_ros.contract import Contract
from sqil_ros.errors import SqilError
from sqil_ros.policy.base import Policy
from sqil_ros.policy.loader import FULL_PRECISION, check_checkpoint, load_policy
from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.statistics import Normalizer, read_normalizer
from sqil_ros.policy.step_times import WARM_UP, step_times, times_faster
from sqil_ros.types import Array
from sqil_training.exporting.held_out import HeldOut, held_out
from sqil_training.exporting.measures import distance

_BATCH = 32


def side_by_side(
    checkpoint: Path,
    profiles: Sequence[str],
    held: Path,
    scores: Path | None,
    rounds: int,
    threads: int,
) -> dict[str, dict[str, Any]]:
    """Both measurements of some profiles of one checkpoint.

    Args:
        checkpoint: directory of the policy.
        profiles: that are measured; full precision is what they are measured against.
        held: tree of held-out episodes.
        scores: file of ``sqil-score`` about them; None for none.
        rounds: control steps of each that are timed.
        threads: of torch.

    Returns:
        By profile: ``held``, the frames' fingerprint, ``open_loop`` and ``latency``.

    Raises:
        SqilError: checkpoint, profiles, episodes and scores do not belong together.
    """
    torch.set_num_threads(threads)
    contract = Contract.load()
    manifest = check_checkpoint(checkpoint, contract)
    data = held_out(held, scores, contract, manifest)
    policies = {}
    for name in dict.fromkeys([FULL_PRECISION, *profiles]):
        policy = load_policy(checkpoint, name, contract)
        if not isinstance(policy, OpenVLAPolicy):
            raise SqilError(f'{checkpoint} cannot answer batches; name an OpenVLA checkpoint.')
        policies[name] = policy
    actions = open_loop(policies, data, read_normalizer(checkpoint, manifest.dataset, 'action'))
    times = latencies(policies, data, rounds)
    return {
        name: {'held': data.digest, 'open_loop': actions[name], 'latency': times[name]}
        for name in profiles
    }


def open_loop(
    policies: Mapping[str, OpenVLAPolicy], data: HeldOut, normalizer: Normalizer
) -> dict[str, dict[str, Any]]:
    """How far the actions of each policy are from those of others on the same frames.

    Args:
        policies: by profile, full precision among them.
        data: the frames, with their saliency weights where there are scores.
        normalizer: of the actions.

    Returns:
        By profile: ``frames``; ``to_demonstration``, ``to_full`` and, with scores,
        ``to_full_weighted``, each a :class:`~sqil_training.exporting.measures.Distance`.
    """
    found: dict[str, list[Array]] = {name: [] for name in policies}
    demonstrated, alpha = [], []
    with tqdm(total=data.frames, desc='held-out frames', unit='frame', disable=None) as bar:
        for drawn in data.batches(_BATCH):
            for name, policy in policies.items():
                found[name].append(policy.act_batch(drawn.observations))
            demonstrated.append(drawn.actions)
            alpha.append(drawn.alpha)
            bar.update(len(drawn.alpha))
    actions = {name: normalizer.normalize(np.concatenate(parts)) for name, parts in found.items()}
    wanted = normalizer.normalize(np.concatenate(demonstrated))
    weights = np.concatenate(alpha)
    alike, full = np.ones(len(weights)), actions[FULL_PRECISION]
    return {
        name: {
            'frames': len(own),
            'to_demonstration': asdict(distance(own, wanted, alike)),
            'to_full': asdict(distance(own, full, alike)),
            'to_full_weighted': data.scores and asdict(distance(own, full, weights)),
        }
        for name, own in actions.items()
    }


def latencies(
    policies: Mapping[str, Policy], data: HeldOut, rounds: int
) -> dict[str, dict[str, Any]]:
    """Time of one control step of each policy, taken in turns so that a disturbance hits all.

    Args:
        policies: by profile, full precision among them.
        data: whose first frames are answered.
        rounds: answers of each policy that count.

    Returns:
        By profile: ``back_end``, ``rounds``, ``p50_ms``, ``p99_ms`` and ``ratio_full``, the
        median over the rounds of full precision's time divided by its own.
    """
    observations = [
        observation
        for drawn in islice(data.batches(1), WARM_UP + rounds)
        for observation in drawn.observations
    ]
    with tqdm(total=WARM_UP + rounds, desc='latency', unit='round', disable=None) as bar:
        times = step_times(policies, observations, rounds, bar.update)
    return {
        name: {
            'back_end': policies[name].describe().back_end,
            'rounds': rounds,
            'p50_ms': _percentile(own, 50),
            'p99_ms': _percentile(own, 99),
            'ratio_full': times_faster(times[FULL_PRECISION], own),
        }
        for name, own in times.items()
    }


def _percentile(values: Array, rank: float) -> float:
    return round(float(np.percentile(values, rank)), 3)
