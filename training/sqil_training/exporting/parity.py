# SPDX-License-Identifier: Apache-2.0
"""Does a profile act as what it was made of? Its three forms on the same held-out frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from sqil_ros.policy.openvla.statistics import Normalizer
from sqil_ros.types import Array
from sqil_training.exporting.forms import FAKE, FULL, Form
from sqil_training.exporting.held_out import HeldOut
from sqil_training.exporting.measures import Distance, Sameness, distance, sameness

_BATCH = 32


@dataclass(frozen=True)
class Distances:
    """Of one form.

    Attributes:
        to_full: to what full precision does on the frames; None for full precision itself.
        to_demonstration: to what was demonstrated.
    """

    to_full: Distance | None
    to_demonstration: Distance


@dataclass(frozen=True)
class Row:
    """What was measured of one form.

    Attributes:
        form: one of :data:`sqil_training.exporting.forms.MEANING`.
        origin: what its weights were taken from.
        back_end: who multiplied.
        plain: every frame counts 1.
        weighted: every frame counts its saliency weight; None without scores.
        fake: against the fake form; None for it and for full precision.
    """

    form: str
    origin: str
    back_end: str
    plain: Distances
    weighted: Distances | None
    fake: Sameness | None


def measure(
    forms: Iterable[Form],
    data: HeldOut,
    normalizer: Normalizer,
    done: Callable[[int], object] = lambda count: None,
) -> list[Row]:
    """A row for every form.

    Args:
        forms: full precision and the fake form before those that are compared with them.
        data: the frames.
        normalizer: of the actions.
        done: called with the number of frames that a form has answered.
    """
    rows: list[Row] = []
    actions: dict[str, Array] = {}
    for form in forms:
        found = []
        demonstrated = []
        alpha = []
        for drawn in data.batches(_BATCH):
            found.append(form.policy.act_batch(drawn.observations))
            demonstrated.append(drawn.actions)
            alpha.append(drawn.alpha)
            done(len(drawn.alpha))
        actions[form.name] = normalizer.normalize(np.concatenate(found))
        wanted = normalizer.normalize(np.concatenate(demonstrated))
        weights = np.concatenate(alpha)
        rows.append(_row(form, actions, wanted, None if data.scores is None else weights))
    return rows


def _row(form: Form, actions: dict[str, Array], demonstrated: Array, alpha: Array | None) -> Row:
    own = actions[form.name]
    full = actions[FULL] if form.name != FULL else None

    def distances(weights: Array) -> Distances:
        return Distances(
            None if full is None else distance(own, full, weights),
            distance(own, demonstrated, weights),
        )

    compared = form.name not in (FULL, FAKE)
    return Row(
        form=form.name,
        origin=form.origin,
        back_end=form.policy.describe().back_end,
        plain=distances(np.ones(len(own))),
        weighted=None if alpha is None else distances(alpha),
        fake=sameness(own, actions[FAKE]) if compared else None,
    )
