# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from sqil_training.muon import Muon, orthogonalized


@pytest.mark.parametrize('shape', [(3, 8, 8), (2, 6, 20), (2, 20, 6)])
def test_an_update_turns_all_directions_alike(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape) * torch.logspace(-2, 2, shape[-1])
    values = torch.linalg.svdvals(orthogonalized(matrices, repeats=10))
    assert values.min() > 0.5 and values.max() < 1.3


def test_an_update_keeps_the_directions():
    torch.manual_seed(0)
    matrix = torch.randn(1, 5, 7)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    along = (u.mT @ orthogonalized(matrix) @ v.mT).diagonal(dim1=-2, dim2=-1)
    assert along.min() > 0.5


def test_it_finds_the_weights_of_a_linear_map():
    torch.manual_seed(0)
    wanted, x = torch.randn(6, 4), torch.randn(64, 4)
    weight = torch.zeros(6, 4, requires_grad=True)
    optimizer = Muon([weight], lr=0.1, weight_decay=0.0)
    for step in range(300):
        optimizer.param_groups[0]['lr'] = 0.1 * (1 - step / 300)
        loss = (x @ (weight - wanted).T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1e-2


def test_without_gradient_nothing_moves():
    weight = torch.ones(2, 2, requires_grad=True)
    Muon([weight], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(weight, torch.ones(2, 2))
