# SPDX-License-Identifier: Apache-2.0
"""What a robot's policy looks at this moment: the saliency of :mod:`sqil_ros.saliency`, drawn."""

from __future__ import annotations

import numpy as np

from sqil_ros.policy.openvla.policy import OpenVLAPolicy
from sqil_ros.policy.openvla.teacher import OpenVLATeacher
from sqil_ros.policy.wire import LiveSaliency
from sqil_ros.saliency import SaliencySettings, picture_saliency, state_rng
from sqil_ros.saliency.discrepancy import DISCREPANCIES
from sqil_ros.saliency.grid import EACH
from sqil_ros.saliency.heat_map import heat_maps
from sqil_ros.types import Observation

SIZE = 224
"""Side of a drawn picture [pixels]."""


def live_settings(side: int) -> SaliencySettings:
    """The paper's, on a grid of ``side`` cells, with a map of every camera."""
    return SaliencySettings(side=side, cameras=EACH)


def live_saliency(policy: OpenVLAPolicy, observation: Observation, side: int) -> LiveSaliency:
    """How much the policy's own greedy answer hangs on each cell of each picture.

    Costs 2 + C N^2 passes with C cameras and N = ``side``.

    Raises:
        ParameterError: a cell would have no pixel.
    """
    settings = live_settings(side)
    scope = DISCREPANCIES[settings.discrepancy].scope
    state = OpenVLATeacher(policy, scope).state(observation)
    # One stream of chance for all moments: the blur takes nothing from it.
    found = picture_saliency(state, settings, state_rng(settings.seed, '', 0))
    picture = np.concatenate(heat_maps(observation.images, found.maps, SIZE), axis=1)
    return LiveSaliency(found.score, found.maps, picture)
