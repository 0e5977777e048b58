# SPDX-License-Identifier: Apache-2.0
"""Which linear layers of a policy are quantised, by patterns on their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from sqil_ros.errors import ProfileError
from sqil_ros.quant.linear import PackedLinear

# Projectors, embeddings and the action head stay at 16 bits unless they are asked for: a few per
# cent of the weights carry every number that goes in and out.
OPTIONAL_GROUPS: Mapping[str, tuple[str, ...]] = {
    'projector': ('*projector*',),
    'head': ('*lm_head', '*action_head*'),
}
# The last layer of a regression head has few weights and every action is its output; protecting it
# alone is said to rescue a quantised OpenVLA-OFT (VLAQuantBench, arXiv 2609.25376).
KEPT = (
    '*embed*',
    '*action_head.fc2',
    *(p for patterns in OPTIONAL_GROUPS.values() for p in patterns),
)
GROUPS: Mapping[str, tuple[str, ...]] = {
    'vision': ('dino.*', 'siglip.*', '*vision*', '*featurizer*'),
    'language': ('language_model.*', 'model.layers.*'),
}


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """Layers whose weights are used through ``forward`` only, by name.

    Subclasses are left out, because others may read their weights: the output projection of
    ``nn.MultiheadAttention`` is one. A layer that is packed already counts.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if type(module) is nn.Linear or isinstance(module, PackedLinear)
    }


def select_groups(model: nn.Module, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Layers of groups by their names in ``GROUPS`` and ``OPTIONAL_GROUPS``.

    Raises:
        ProfileError: a group has no layer.
    """
    # An optional group is a part of another, so it chooses first.
    asked = {name: OPTIONAL_GROUPS[name] for name in names if name in OPTIONAL_GROUPS}
    given_up = {pattern for patterns in asked.values() for pattern in patterns}
    asked |= {name: GROUPS[name] for name in names if name not in OPTIONAL_GROUPS}
    return select_layers(model, asked, [pattern for pattern in KEPT if pattern not in given_up])


def select_layers(
    model: nn.Module,
    groups: Mapping[str, Sequence[str]] = GROUPS,
    kept: Sequence[str] = KEPT,
) -> dict[str, tuple[str, ...]]:
    """Names of the layers to quantise, by group.

    Args:
        model: a network.
        groups: patterns (``fnmatch``) of each group; the first group that matches has the layer.
        kept: patterns of layers that stay as they are, whatever the groups say.

    Raises:
        ProfileError: a group has no layer.
    """
    chosen: dict[str, list[str]] = {group: [] for group in groups}
    for name in linear_layers(model):
        if _matches(name, kept):
            continue
        group = next((g for g, patterns in groups.items() if _matches(name, patterns)), None)
        if group is not None:
            chosen[group].append(name)
    empty = sorted(group for group, names in chosen.items() if not names)
    if empty:
        raise ProfileError(
            f'no linear layer of {type(model).__name__} belongs to {empty} (patterns '
            f'{[groups[group] for group in empty]}); leave the group out or name other patterns'
        )
    return {group: tuple(names) for group, names in chosen.items()}


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
