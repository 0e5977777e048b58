# SPDX-License-Identifier: Apache-2.0
"""What differs between the cells of an ablation, and nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from sqil_training.ablation import run as ablation_run
from sqil_training.ablation.knobs import KNOBS, SCORE, Cell, cells_of
from sqil_training.ablation.run import evaluate_cells, train_cells
from sqil_training.ablation.study import Study
from sqil_training.quantize import main as quantize

from sqil_ros.errors import TrainingError

PRESET = Path(__file__).parents[2] / 'training' / 'configs' / 'toy_sink.yaml'


@pytest.fixture
def study(tmp_path):
    work = tmp_path / 'work'
    return Study((tmp_path,), work, tmp_path, 'int3_rtn', 10, 30, PRESET, 'float32', 2)


def options(words):
    """Of a command that has one value for each."""
    named = [i for i, word in enumerate(words) if word.startswith('--')]
    return {words[i]: words[i + 1] for i in named}


def test_every_cell_has_a_name_of_its_own_and_the_base_comes_first(study):
    cells = study.cells()
    names = [study.profile_of(cell) for cell in cells]
    assert names[0] == 'int3_sqil_merged' and len(set(names)) == len(names)
    assert len(cells) == 1 + sum(len(knob.values) - 1 for knob in KNOBS)
    assert {'int3_sqil_merged_beta_1_5', 'int3_qbc_merged_method_qbc'} <= set(names)


@pytest.mark.parametrize('knob', KNOBS, ids=lambda knob: knob.name)
def test_a_cell_differs_from_the_base_in_its_choice_alone(study, knob):
    assert knob.base in knob.values
    base = [options(make(Cell())) for make in (study.score_command, study.train_command)]
    for value, cell in cells_of(knob):
        own = [options(make(cell)) for make in (study.score_command, study.train_command)]
        changed = {
            name: value
            for mine, theirs in zip(own, base, strict=True)
            for name, value in mine.items()
            if theirs.get(name) != value and name not in ('--out', '--scores')
        }
        assert changed == ({} if value == knob.base else {knob.option: value})
        moved = own[0]['--out'] != base[0]['--out']
        assert moved == (value != knob.base and knob.command == SCORE)
        assert own[0]['--out'] == own[1]['--scores']


def test_tables_are_put_beside_the_outcomes(study, tmp_path, monkeypatch):
    result = tmp_path / 'result.json'
    seen = []

    def run(_, words):
        seen.append(options(words))
        result.write_text(json.dumps({'profiles': [], 'tests': []}, indent=1) + '\n')

    monkeypatch.setattr(ablation_run, '_run', run)
    one = dataclasses.replace(study, knobs=KNOBS[:1])
    evaluate_cells(one, 30000, 5, result)
    content = json.loads(result.read_text())
    assert content['profiles'] == [] and content['study']['command']
    (table,) = content['tables']
    assert table['knob'] == 'beta' and [row['value'] for row in table['rows']][:2] == ['1.5', '2']
    assert table['rows'][1]['profile'] == 'int3_sqil_merged'
    assert seen[0]['--compare'].split(',') == [one.profile_of(cell) for cell in one.cells()]


@pytest.fixture
def quantized(checkpoint):
    if not (checkpoint / 'profiles' / 'int3_rtn').exists():
        assert quantize(['--checkpoint', str(checkpoint), '--bits', '3']) == 0
    return checkpoint


def test_cells_are_trained_once(quantized, data, study, tmp_path, monkeypatch):
    preset = tmp_path / 'preset.yaml'
    preset.write_text('rank: 2\nbatch: 2\n')
    knobs = tuple(knob for knob in KNOBS if knob.name == 'weights')
    small = dataclasses.replace(
        study, data=(data,), checkpoint=quantized, preset=preset, steps=2, knobs=knobs
    )
    before = sorted((quantized / 'profiles').iterdir())
    train_cells(small)
    assert all(small.exported(cell) for cell in small.cells())
    made = sorted(path.name for path in (small.copy / 'profiles').iterdir())
    assert made == ['int3_rtn', 'int3_sqil_merged', 'int3_sqil_merged_weights_raw']
    assert sorted((quantized / 'profiles').iterdir()) == before, 'the teacher keeps its own'
    monkeypatch.setattr(ablation_run, '_run', None)
    train_cells(small)


def test_a_missing_profile_and_a_command_that_fails_are_told(quantized, study):
    with pytest.raises(TrainingError, match='no profile int5_rtn; make it with sqil-quantize'):
        train_cells(dataclasses.replace(study, checkpoint=quantized, profile='int5_rtn'))
    with pytest.raises(TrainingError, match=r'sqil_training\.score.* ended with 1: .*No episodes'):
        train_cells(dataclasses.replace(study, checkpoint=quantized))
