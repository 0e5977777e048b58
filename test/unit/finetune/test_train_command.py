# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sqil_training.finetune.settings import FinetuneSettings, read_preset
from sqil_training.quantize import main as quantize
from sqil_training.score import main as score
from sqil_training.train import main as train

from sqil_ros.errors import ParameterError

SMALL = ['--batch', '4', '--rank', '2', '--report', '1', '--save', '2', '--device', 'cpu']


@pytest.fixture
def teacher(checkpoint):
    if not (checkpoint / 'profiles').exists():
        assert quantize(['--checkpoint', str(checkpoint), '--bits', '3']) == 0
    return checkpoint


def run(teacher, data, out, *words, steps=4):
    common = ['--checkpoint', teacher, '--data', data, '--out', out, '--steps', steps]
    return train([*map(str, common), '--threads', '1', *SMALL, *words])


def totals(out):
    rows = [json.loads(line) for line in (out / 'log.jsonl').read_text().splitlines()]
    return [row['total'] for row in rows if 'total' in row]


def same_state(one, other):
    a, b = (load_file(path / 'state.safetensors') for path in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize('adapter', ['beside', 'merged'])
def test_an_interrupted_run_goes_on_bit_for_bit(teacher, data, tmp_path, adapter):
    words = ['--method', 'qbc', '--adapter', adapter]
    assert run(teacher, data, tmp_path / 'whole', *words) == 0
    assert run(teacher, data, tmp_path / 'cut', *words, steps=2) == 0
    assert run(teacher, data, tmp_path / 'cut', *words) == 0
    assert same_state(tmp_path / 'whole', tmp_path / 'cut')
    assert totals(tmp_path / 'whole') == totals(tmp_path / 'cut')


def test_sqil_takes_its_weights_from_the_scores_of_these_data(teacher, data, tmp_path, capsys):
    assert run(teacher, data, tmp_path / 'x', '--method', 'sqil') == 1
    assert '--scores' in capsys.readouterr().err
    scores = tmp_path / 'scores.parquet'
    asked = ['--checkpoint', teacher, '--data', data, '--out', scores, '--grid', '2']
    assert score([*map(str, asked), '--workers', '1']) == 0
    for method, beta in (('sqil', '3'), ('sqil', '1'), ('qbc', '1')):
        words = ['--method', method, '--scores', str(scores), '--beta', beta]
        assert run(teacher, data, tmp_path / f'{method}{beta}', *words) == 0
    assert totals(tmp_path / 'sqil1') == totals(tmp_path / 'qbc1')
    assert totals(tmp_path / 'sqil3')[0] > totals(tmp_path / 'sqil1')[0]


def test_another_runs_state_is_refused_by_name(teacher, data, tmp_path, capsys):
    assert run(teacher, data, tmp_path / 'a', '--method', 'qat', steps=2) == 0
    assert run(teacher, data, tmp_path / 'a', '--method', 'qbc') == 1
    assert "method 'qat'" in capsys.readouterr().err
    state = tmp_path / 'a' / 'state.safetensors'
    state.write_bytes(state.read_bytes()[:100])
    assert run(teacher, data, tmp_path / 'a', '--method', 'qat') == 1
    assert 'cannot be read' in capsys.readouterr().err


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_state(
    teacher, data, tmp_path, capsys
):
    assert run(teacher, data, tmp_path / 'a', '--method', 'qbc', '--learning-rate', '1e30') == 1
    assert 'TrainingError: The loss is' in capsys.readouterr().err


def test_a_rehearsal_writes_nothing(teacher, data, tmp_path, capsys):
    assert run(teacher, data, tmp_path / 'a', '--method', 'qat', '--dry-run') == 0
    assert 'would train' in capsys.readouterr().out and not (tmp_path / 'a').exists()


def test_presets_are_checked(tmp_path):
    path = tmp_path / 'p.yaml'
    path.write_text('rank: 16\nlearning_rate: 1\n')
    assert read_preset(path) == {'rank': 16, 'learning_rate': 1.0}
    for text, words in (('colour: red', 'colour'), ('rank: many', 'int'), ('- 1', 'must map')):
        path.write_text(text)
        with pytest.raises(ParameterError, match=words):
            read_preset(path)
    with pytest.raises(ParameterError, match='above 0'):
        FinetuneSettings(steps=0)
    with pytest.raises(ParameterError, match='one of'):
        FinetuneSettings(method='sql')


@pytest.mark.slow
def test_two_processes_train_as_one(teacher, data, tmp_path):
    words = [
        '--checkpoint', teacher, '--data', data, '--steps', 3, '--method', 'qbc', '--threads', 1,
        *SMALL,
    ]  # fmt: skip
    for processes in (1, 2):
        command = [
            sys.executable, '-m', 'accelerate.commands.launch', '--cpu', '--num_processes',
            processes, '--num_machines', 1, '--mixed_precision', 'no', '--dynamo_backend', 'no',
            '--module', 'sqil_training.train', *words, '--out', tmp_path / str(processes),
        ]  # fmt: skip
        subprocess.run([*map(str, command)], check=True, timeout=200, capture_output=True)
    assert totals(tmp_path / '1') == pytest.approx(totals(tmp_path / '2'), rel=1e-4)


def test_the_presets_of_the_package_are_whole():
    configs = Path(__file__).parents[3] / 'training' / 'configs'
    presets = {path.stem: read_preset(path) for path in configs.glob('*.yaml')}
    assert {'paper_openvla', 'toy_sink'} <= presets.keys()
    for values in presets.values():
        FinetuneSettings(**values)
    assert presets['paper_openvla']['beta'] == 2.0
