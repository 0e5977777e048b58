# SPDX-License-Identifier: Apache-2.0
"""The methods by name; the name is part of the name of a profile."""

from __future__ import annotations

from collections.abc import Mapping

from sqil_training.ptq.awq import round_clipped, scale_by_search
from sqil_training.ptq.gptq import round_with_feedback
from sqil_training.ptq.method import Method
from sqil_training.ptq.rotation import rotate
from sqil_training.ptq.rtn import round_to_nearest
from sqil_training.ptq.smoothquant import smooth

METHODS: Mapping[str, Method] = {
    'rtn': Method(round_to_nearest),
    'awq': Method(
        round_clipped, scale_by_search, transform_sees_data=True, rounding_sees_inputs=True
    ),
    'gptq': Method(round_with_feedback, rounding_sees_inputs=True),
    'rotation': Method(round_to_nearest, rotate),
    'rotationgptq': Method(round_with_feedback, rotate, rounding_sees_inputs=True),
    'smoothquant': Method(round_to_nearest, smooth, transform_sees_data=True),
}
