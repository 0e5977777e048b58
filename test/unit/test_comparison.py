# SPDX-License-Identifier: Apache-2.0
"""Profiles on the same states: figures, tests, and the file that grows by one profile a time."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from sqil_training.comparison import EXPERT, figures, paired_tests
from sqil_training.comparison_file import ComparisonFile
from sqil_training.evaluation import Condition
from sqil_training.rollout import Outcome

from sqil_ros.errors import SqilError

PERIOD = 0.2
STATES = [(task, seed) for seed in range(50) for task in ('lift', 'stack')]


def outcomes(wins, jerk=1.0, grips=(10, 20)):
    """One outcome a state, of which the first ``wins`` are successes."""
    return [
        Outcome(task, seed, i < wins, 30, jerk, 0.5, grips)
        for i, (task, seed) in enumerate(STATES)
    ]


def test_figures_are_of_the_successes():
    bad = dataclasses.replace(outcomes(0)[0], jerk=1e6, steps=999, seed=51)
    found = figures([*outcomes(100, jerk=2.0), bad], None, PERIOD)
    assert found['successes'] == 100 and found['episodes'] == 101
    assert found['jerk'] == 2.0 and found['steps'] == 30
    assert found['grip_lag_s'] is None
    assert found['tasks']['lift']['episodes'] == 51


def test_grip_lag_is_against_the_expert_from_the_same_state():
    found = figures(outcomes(100, grips=(13, 20)), outcomes(100), PERIOD)
    assert found['grip_lag_s'] == pytest.approx(0.6)


def test_each_is_tested_against_the_reference_and_corrected_together():
    rows = paired_tests('a', {'a': outcomes(90, 1.1), 'b': outcomes(90), 'c': outcomes(60)})
    same, worse = rows
    assert (same['b'], same['difference'], same['p']) == ('b', 0.0, 1.0)
    assert (worse['only_a'], worse['only_b']) == (30, 0)
    assert worse['difference'] == pytest.approx(0.3)
    assert worse['interval'][0] < 0.3 < worse['interval'][1]
    assert worse['p_holm'] == pytest.approx(2 * worse['p']) and worse['p_holm'] < 0.05
    assert worse['jerk_ratio'] == pytest.approx([1.1, 1.1, 1.1])


def test_the_expert_is_no_rival():
    assert paired_tests('a', {'a': outcomes(9), EXPERT: outcomes(100)}) == []


def test_another_training_seed_is_no_rival():
    results = {name: outcomes(90) for name in ('a_seed1', 'b_seed1', 'b_seed2', 'fp')}
    assert [row['b'] for row in paired_tests('a_seed1', results)] == ['b_seed1', 'fp']
    assert [row['b'] for row in paired_tests('fp', results)] == ['a_seed1', 'b_seed1', 'b_seed2']


def test_other_states_and_a_missing_reference_are_refused():
    with pytest.raises(SqilError, match='same 100 states'):
        paired_tests('a', {'a': outcomes(9), 'b': outcomes(9)[1:]})
    with pytest.raises(SqilError, match='not among'):
        paired_tests('x', {'a': outcomes(9)})


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / 'policy'
    for name in ('int4_rtn', 'int3_rtn'):
        (folder / 'profiles' / name).mkdir(parents=True)
        (folder / 'profiles' / name / 'profile.yaml').write_text(name)
        (folder / 'profiles' / name / 'weights.safetensors').write_bytes(b'12345')
    (folder / 'model.safetensors').write_bytes(b'1234567')
    return folder


@pytest.fixture
def begin(tmp_path, checkpoint):
    def go(states=STATES, variation='nominal'):
        condition = Condition('checkpoint', str(checkpoint), 'fp', variation, 'own', 'camera')
        return ComparisonFile(tmp_path / 'result.json', condition, states, PERIOD)

    return go


def test_what_is_written_is_taken_over(begin, tmp_path):
    begin().add('int4_rtn', outcomes(90))
    again = begin()
    assert [o.success for o in again.results['int4_rtn']] == [True] * 90 + [False] * 10
    again.add('fp', outcomes(95))
    content = json.loads((tmp_path / 'result.json').read_text())
    assert [row['profile'] for row in content['profiles']] == ['int4_rtn', 'fp']
    assert [row['disk_bytes'] for row in content['profiles']] == [5, 7]
    assert content['tests'][0]['a'] == 'fp'
    lines = (tmp_path / 'result.json').read_text().splitlines()
    assert sum('"seed": 7' in line and '"task"' in line for line in lines) == 4


def test_methods_are_compared_over_their_training_seeds(begin):
    file = begin()
    for name, wins in (('a_seed1', 90), ('b_seed1', 80), ('a_seed2', 95)):
        file.add(name, outcomes(wins))
        assert 'over_seeds' not in file.write('a_seed1')
    file.add('b_seed2', outcomes(90))
    (row,) = file.write('a_seed1')['over_seeds']
    assert (row['a'], row['b'], row['seeds']) == ('a', 'b', [1, 2])


def test_what_else_was_measured_stays_with_its_profile(begin, tmp_path):
    file = begin()
    file.add('int4_rtn', outcomes(90))
    file.add('int3_rtn', outcomes(80))
    times = {'int4_rtn': {'latency': {'p50_ms': 3.0}}, 'int3_rtn': {'latency': {'p50_ms': 2.0}}}
    file.note(times, 'int4_rtn')
    begin().add('fp', outcomes(95))
    rows = json.loads((tmp_path / 'result.json').read_text())['profiles']
    found = [row['beside'].get('latency') for row in rows]
    assert found == [{'p50_ms': 3.0}, {'p50_ms': 2.0}, None]
    assert rows[0]['beside']['made_by']['command']


def test_results_of_another_comparison_are_taken_over(begin, tmp_path):
    other = begin()
    other.add('int4_rtn', outcomes(90))
    other.add('int3_rtn', outcomes(80))
    known = (tmp_path / 'result.json').rename(tmp_path / 'known.json')
    file = begin()
    file.borrow(known, ['int4_rtn', 'fp'])
    run = []

    def evaluate(condition, _):
        run.append(condition.profile)
        return outcomes(95)

    rows = file.complete(['fp', 'int4_rtn'], evaluate)['profiles']
    assert run == ['fp']
    assert [(row['profile'], row['successes']) for row in rows] == [('int4_rtn', 90), ('fp', 95)]
    kept = json.loads(known.read_text())['profiles'][0]
    assert rows[0]['made_by'] == kept['made_by'] and rows[0]['digest'] == kept['digest']


def test_a_profile_that_is_not_kept_keeps_its_result(begin, checkpoint, tmp_path):
    begin().add('int4_rtn', outcomes(90))
    before = json.loads((tmp_path / 'result.json').read_text())['profiles'][0]
    shutil.rmtree(checkpoint / 'profiles' / 'int4_rtn')
    begin().add('int3_rtn', outcomes(80))
    rows = json.loads((tmp_path / 'result.json').read_text())['profiles']
    assert [row['profile'] for row in rows] == ['int4_rtn', 'int3_rtn']
    assert rows[0] == before


def test_what_another_comparison_holds_of_other_weights_is_not_borrowed(
    begin, checkpoint, tmp_path
):
    begin().add('int4_rtn', outcomes(90))
    known = (tmp_path / 'result.json').rename(tmp_path / 'known.json')
    (checkpoint / 'profiles' / 'int4_rtn' / 'profile.yaml').write_text('other')
    file = begin()
    file.borrow(known, ['int4_rtn'])
    assert not file.results


def test_another_comparison_of_other_states_is_refused(begin, tmp_path):
    begin(states=STATES[:10]).add('int4_rtn', outcomes(9)[:10])
    known = (tmp_path / 'result.json').rename(tmp_path / 'known.json')
    with pytest.raises(SqilError, match=r'known\.json compares'):
        begin().borrow(known, ['int4_rtn'])


def test_two_processes_may_add_to_one_file(begin, tmp_path):
    one, other = begin(), begin()
    one.add('int4_rtn', outcomes(90))
    other.add('int3_rtn', outcomes(80))
    rows = json.loads((tmp_path / 'result.json').read_text())['profiles']
    assert [row['profile'] for row in rows] == ['int4_rtn', 'int3_rtn']


def test_other_weights_under_the_same_name_are_evaluated_anew(begin, checkpoint):
    file = begin()
    file.add('int4_rtn', outcomes(90))
    file.add('int3_rtn', outcomes(80))
    (checkpoint / 'profiles' / 'int4_rtn' / 'profile.yaml').write_text('trained on')
    assert set(begin().results) == {'int3_rtn'}


def test_other_states_or_conditions_or_a_broken_file_are_refused(begin, tmp_path):
    begin().add('int4_rtn', outcomes(90))
    with pytest.raises(SqilError, match='name another'):
        begin(variation='lighting')
    with pytest.raises(SqilError, match='name another'):
        begin(states=[(task, seed + 1) for task, seed in STATES])
    (tmp_path / 'result.json').write_text('{"profiles": 3')
    with pytest.raises(SqilError, match='no comparison'):
        begin()
