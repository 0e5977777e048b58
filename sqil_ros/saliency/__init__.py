# SPDX-License-Identifier: Apache-2.0
"""How much a policy's answer hangs on what it sees (SQIL, arXiv 2505.15304, equations 4 and 5).

Pure functions over anything that answers with logits; the offline scores and the live topic are
made by the same ones. docs/saliency.md has the equations and the readings that are ours.
"""

from sqil_ros.saliency.perturbation import state_rng
from sqil_ros.saliency.picture import PictureSaliency, State, picture_saliency
from sqil_ros.saliency.schedule import scored_steps, source_steps
from sqil_ros.saliency.settings import SaliencySettings
from sqil_ros.saliency.vector import vector_saliency
from sqil_ros.saliency.weights import check_mean_weight, raw_weights, threshold, weights

__all__ = [
    'PictureSaliency',
    'SaliencySettings',
    'State',
    'check_mean_weight',
    'picture_saliency',
    'raw_weights',
    'scored_steps',
    'source_steps',
    'state_rng',
    'threshold',
    'vector_saliency',
    'weights',
]
