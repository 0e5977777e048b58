# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sqil_training.batches import soft_bins
from sqil_training.finetune.objective import DISTANCES, OBJECTIVES, loss

BINS = 16
SEEDS = st.integers(0, 999)


def answers(seed, batch=4):
    chance = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, batch, 7, BINS, generator=chance)
    bins = torch.randint(0, BINS, (batch, 7), generator=chance)
    alpha = 1.0 + torch.randint(0, 2, (batch,), generator=chance).float()
    return student, teacher, soft_bins(BINS - 1 - bins, BINS, BINS, 0.0), alpha


def found(method, seed, distance='l2', **changes):
    student, teacher, targets, alpha = answers(seed)
    parts = {'student': student, 'teacher': teacher, 'targets': targets, 'alpha': alpha} | changes
    return loss(OBJECTIVES[method], distance, *parts.values())


@given(SEEDS, st.sampled_from(sorted(DISTANCES)))
def test_sqil_with_weights_of_one_is_qbc(seed, distance):
    ones = torch.ones(4)
    sqil = found('sqil', seed, distance, alpha=ones)
    assert torch.equal(sqil.total, found('qbc', seed, distance).total)


@given(SEEDS)
def test_a_weight_doubles_the_distance_and_leaves_the_imitation_alone(seed):
    one, two = (found('sqil', seed, alpha=torch.full((4,), a)) for a in (1.0, 2.0))
    assert torch.equal(one.imitation, two.imitation)
    torch.testing.assert_close(two.total - one.total, one.distillation)


@given(SEEDS, st.sampled_from(sorted(DISTANCES)))
def test_a_student_like_its_teacher_has_no_distance_and_others_have(seed, distance):
    student, teacher, *_ = answers(seed)
    apart = DISTANCES[distance]
    torch.testing.assert_close(apart(teacher, teacher), torch.zeros(4))
    assert bool((apart(student, teacher) > 0.0).all())


@given(SEEDS)
def test_qat_does_not_see_the_teacher_and_qrd_not_the_demonstration(seed):
    other = torch.randn(4, 7, BINS)
    assert torch.equal(found('qat', seed).total, found('qat', seed, teacher=other).total)
    targets = other.softmax(-1)
    assert torch.equal(found('qrd', seed).total, found('qrd', seed, targets=targets).total)


def test_the_teacher_gets_no_gradient():
    student, teacher, targets, alpha = answers(0)
    student.requires_grad_(), teacher.requires_grad_()
    loss(OBJECTIVES['sqil'], 'kl', student, teacher, targets, alpha).total.backward()
    assert student.grad is not None and teacher.grad is None


def test_kl_is_the_closed_form_for_two_bins():
    p, q = 0.8, 0.5
    teacher = torch.tensor([p, 1 - p]).log().expand(1, 7, 2)
    student = torch.tensor([q, 1 - q]).log().expand(1, 7, 2)
    expected = p * torch.log(torch.tensor(p / q)) + (1 - p) * torch.log(
        torch.tensor((1 - p) / (1 - q))
    )
    assert DISTANCES['kl'](student, teacher).item() == pytest.approx(expected.item(), abs=1e-6)
