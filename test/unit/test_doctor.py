# SPDX-License-Identifier: Apache-2.0
"""What sqil-doctor says about a machine and the profiles of a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
from sqil_training.quantize import main as quantize

from sqil_ros import doctor
from sqil_ros.contract import Contract
from sqil_ros.doctor import EAGER, Finding, examine, machine, main
from sqil_ros.engine.library import LEVEL_VARIABLE, level, library
from sqil_ros.policy.step_times import WARM_UP, random_observations, step_times, times_faster

CONTRACT = Contract.load()


@pytest.fixture
def quantized(checkpoint):
    if not (checkpoint / 'profiles' / 'int4_rtn').exists():
        assert quantize(['--checkpoint', str(checkpoint), '--bits', '4']) == 0
    return checkpoint


def test_it_names_who_computes_every_profile(quantized):
    found = {f.profile: f for f in examine(quantized, ['int4_rtn'], CONTRACT, rounds=2)}
    assert list(found) == [EAGER, 'fp', 'int4_rtn']
    assert found[EAGER].back_end == 'torch' and found[EAGER].reason
    native = library() is not None
    for name in ('fp', 'int4_rtn'):
        assert found[name].back_end.startswith('engine/') == native
        assert bool(found[name].reason) != native
        assert found[name].p50_ms > 0.0 and found[name].weight_bytes > 0


def test_what_is_slower_than_16_bits_is_warned_of(quantized, monkeypatch, capsys):
    slow = Finding('int4_rtn', 'cpu', 'of a hook', 30.0, 0.5, 1)
    monkeypatch.setattr(doctor, 'examine', lambda *_: [slow])
    assert main(['--checkpoint', str(quantized)]) == 1
    said = capsys.readouterr().out
    assert 'warning: int4_rtn takes 2.00 times as long as 16 bits' in said
    assert 'cpu, because of a hook' in said
    assert not Finding('int4_rtn', 'cpu', '', 9.0, 1.2, 1).warning
    assert not Finding('fp', 'torch', '', 9.0, 0.7, 1).warning, 'it is not quantised'


def test_the_machine_without_an_engine_says_how_to_get_one(monkeypatch):
    if library() is not None:
        assert f'engine     {level()}' in '\n'.join(machine())
    library.cache_clear()
    monkeypatch.setenv(LEVEL_VARIABLE, 'none')
    assert any('make setup' in line for line in machine())
    monkeypatch.undo()
    library.cache_clear()


def test_an_unknown_profile_is_named(quantized, capsys):
    assert main(['--checkpoint', str(quantized), '--profiles', 'int7_rtn', '--rounds', '1']) == 1
    assert 'ProfileError' in capsys.readouterr().err


def test_policies_take_turns_at_the_same_observations():
    calls = []

    class Recorded:
        def __init__(self, name):
            self.name = name

        def act(self, observation):
            calls.append((self.name, observation.stamp_ns))

    observations = random_observations(8, 3, 'go')
    times = step_times({'a': Recorded('a'), 'b': Recorded('b')}, observations, 4)
    assert [len(found) for found in times.values()] == [4, 4]
    assert calls[:4] == [('a', 0), ('b', 0), ('a', 1), ('b', 1)]
    assert len(calls) == 2 * (WARM_UP + 4)


def test_a_disturbed_round_does_not_move_the_ratio():
    than, own = np.full(9, 6.0), np.full(9, 2.0)
    than[4], own[7] = 600.0, 0.002
    assert times_faster(than, own) == 3.0
