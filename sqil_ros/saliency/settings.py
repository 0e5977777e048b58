# SPDX-License-Identifier: Apache-2.0
"""Everything that decides a score, given the policy and the state."""

from __future__ import annotations

from dataclasses import dataclass

from sqil_ros.errors import ParameterError
from sqil_ros.saliency.discrepancy import DISCREPANCIES
from sqil_ros.saliency.grid import CAMERAS, TOGETHER
from sqil_ros.saliency.perturbation import PERTURBATIONS

PICTURES, PROPRIO = 'pictures', 'proprio'
INPUTS = (PICTURES, PROPRIO)


@dataclass(frozen=True)
class SaliencySettings:
    """The paper's values are the defaults (SQIL, equations 4 and 5, and its supplement).

    Attributes:
        side: cells along a side of a picture, N.
        stride: every how many frames are scored, k.
        discrepancy: name of the distance between answers, ``l2``, ``text_l2`` or ``kl``.
        perturbation: name of what a cell is replaced with.
        cameras: ``together`` or ``each``, see :func:`sqil_ros.saliency.grid.camera_groups`.
        inputs: what is disturbed, ``pictures`` or the numbers of ``proprio``.
        seed: of the noise.
    """

    side: int = 8
    stride: int = 4
    discrepancy: str = 'l2'
    perturbation: str = 'blur'
    cameras: str = TOGETHER
    inputs: str = PICTURES
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (('side', 1), ('stride', 1), ('seed', 0)):
            if getattr(self, name) < least:
                raise ParameterError(
                    f'Saliency {name} is {getattr(self, name)}; it must be at least {least}.'
                )
        for name, known in (
            ('discrepancy', DISCREPANCIES),
            ('perturbation', PERTURBATIONS),
            ('cameras', CAMERAS),
            ('inputs', INPUTS),
        ):
            if getattr(self, name) not in known:
                raise ParameterError(
                    f'Saliency {name} is {getattr(self, name)!r}; use one of {tuple(known)}.'
                )
