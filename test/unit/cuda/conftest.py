# SPDX-License-Identifier: Apache-2.0
"""Kernels run on a GPU where there is one, and in Triton's interpreter elsewhere."""

from __future__ import annotations

import pytest
import torch

from sqil_ros.quant.cuda import device_refusal, interpreted

DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Where kernels run in tests; the interpreter takes fewer and larger programs."""
    if reason := device_refusal(DEVICE):
        pytest.skip(reason)
    if DEVICE.type == 'cuda' and interpreted():
        pytest.skip('TRITON_INTERPRET is set, although a GPU is there; unset it')
    if DEVICE.type == 'cpu':
        monkeypatch.setattr('sqil_ros.quant.triton_kernels.products._PROGRAMS', 1)
    return DEVICE
