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

CONFIGS = Path(__file__).parents[3] / 'training' / 'configs'
SMALL = ['--batch', '4', '--rank', '2', '--report', '1', '--save', '2', '--device', 'cpu']


@pytest.fixture
def teacher(checkpoint):
    if not (checkpoint / 'profiles' / 'int3_rtn').exists():
        assert quantize(['--checkpoint', str(checkpoint), '--bits', '3']) == 0
    return checkpoint


def run(teacher, data, out, *words, steps=4):
    common = ['--checkpoint', teacher, '--data', data, '--out', out, '--steps', steps]
    return train([*map(str, common), '--threads', '1', *SMALL, *words])


def rows_of(out):
    return [json.loads(line) for line in (out / 'log.jsonl').read_text().splitlines()]


def totals(out):
    return [row['total'] for row in rows_of(out) if 'total' in row]


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


def test_products_in_bfloat16_train_nearly_as_in_float32(teacher, data, tmp_path):
    losses = {}
    for precision in ('float32', 'bfloat16'):
        out = tmp_path / precision
        assert run(teacher, data, out, '--method', 'qbc', '--precision', precision) == 0
        losses[precision] = totals(out)
    assert losses['bfloat16'] != losses['float32']
    assert losses['bfloat16'] == pytest.approx(losses['float32'], rel=0.02)


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


def looks(out):
    return [row for row in rows_of(out) if 'held' in row]


@pytest.mark.parametrize('words', [['--dropout', '0.2'], ['--adapter', 'merged']])
def test_who_looks_at_held_out_frames_trains_bit_for_bit_as_who_does_not(
    teacher, data, held, tmp_path, words
):
    words = ['--method', 'qbc', *words]
    look = ['--held', str(held), '--evaluate-every', '3', '--held-frames', '12']
    assert run(teacher, data, tmp_path / 'blind', *words) == 0
    assert run(teacher, data, tmp_path / 'sees', *words, *look) == 0
    assert same_state(tmp_path / 'blind', tmp_path / 'sees')
    assert totals(tmp_path / 'blind') == totals(tmp_path / 'sees')
    assert [row['step'] for row in looks(tmp_path / 'sees')] == [0, 3, 4]


def test_looks_are_logged_with_the_best_and_drawn(teacher, data, held, tmp_path):
    words = ['--method', 'qbc', '--held', str(held), '--evaluate-every', '1']
    assert run(teacher, data, tmp_path / 'a', *words, steps=2) == 0
    assert run(teacher, data, tmp_path / 'a', *words) == 0  # it goes on, and so does the best
    found = looks(tmp_path / 'a')
    errors = [row['held']['action_error'] for row in found]
    assert [row['step'] for row in found] == [0, 1, 2, 3, 4]
    assert found[-1]['best']['action_error'] == min(errors)
    assert found[-1]['best']['step'] == errors.index(min(errors))
    for row in found:
        assert 0.0 <= row['held']['gripper_agreement'] <= 1.0 and row['held']['distance'] > 0.0
    assert rows_of(tmp_path / 'a')[0]['teacher']['distance'] == 0.0
    page = (tmp_path / 'a' / 'curves.html').read_text()
    assert 'Held-out frames' in page and 'Best at step' in page and page.count('<svg') == 4


def test_frames_that_are_trained_with_are_not_held_out(teacher, data, held, tmp_path, capsys):
    for words, message in (
        (['--held', str(data), '--evaluate-every', '2'], 'not trained with'),
        (['--held', str(held)], 'give both, or neither'),
        (['--evaluate-every', '2'], 'give both, or neither'),
    ):
        assert run(teacher, data, tmp_path / 'a', '--method', 'qat', *words) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / 'a').exists()


def launch(kind, out, *words):
    """Two processes; ``--cpu`` would have accelerate start one alone, whatever it is told."""
    command = [
        sys.executable, '-m', 'accelerate.commands.launch', *kind, '--num_processes', 2,
        '--num_machines', 1, '--mixed_precision', 'no', '--dynamo_backend', 'no', '--module',
        'sqil_training.train', *words, '--out', out,
    ]  # fmt: skip
    done = subprocess.run([*map(str, command)], timeout=600, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1300)
@pytest.mark.parametrize(
    ('kind', 'adapter'),
    [
        (['--multi_gpu'], 'beside'),
        (['--config_file', CONFIGS / 'fsdp.yaml'], 'beside'),
        (['--config_file', CONFIGS / 'fsdp.yaml'], 'merged'),
    ],
)
def test_two_processes_train_as_one(teacher, data, tmp_path, kind, adapter):
    common = ['--method', 'qbc', '--adapter', adapter]
    assert run(teacher, data, tmp_path / 'one', *common, steps=3) == 0
    words = ['--checkpoint', teacher, '--data', data, '--threads', 1, *SMALL, *common]
    for steps in (2, 3):  # it goes on from its state
        launch(kind, tmp_path / 'two', *words, '--steps', steps)
    assert rows_of(tmp_path / 'two')[0]['processes'] == 2
    assert totals(tmp_path / 'one') == pytest.approx(totals(tmp_path / 'two'), rel=1e-4)
    one, two = (load_file(tmp_path / name / 'state.safetensors') for name in ('one', 'two'))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('data_are_there', [True, False])
def test_no_process_group_is_left_to_the_interpreter(teacher, data, tmp_path, data_are_there):
    """Its threads, ended by the interpreter, now and then abort a run that is through."""
    store = torch.distributed.FileStore(str(tmp_path / 'store'), 1)
    torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    words = ['--method', 'qbc', '--dry-run']
    trees = data if data_are_there else tmp_path / 'nothing'
    assert run(teacher, trees, tmp_path / 'x', *words) == (0 if data_are_there else 1)
    assert not torch.distributed.is_initialized()


def test_the_presets_of_the_package_are_whole():
    paths = {path.stem: path for path in CONFIGS.glob('*.yaml') if path.stem != 'fsdp'}
    presets = {name: read_preset(path) for name, path in paths.items()}
    assert {'paper_openvla', 'toy_sink'} <= presets.keys()
    for values in presets.values():
        FinetuneSettings(**values)
    assert presets['paper_openvla']['beta'] == 2.0


def test_the_contract_is_that_of_checkpoint_and_data(teacher, data, tmp_path, capsys):
    contract = str(CONFIGS.parents[1] / 'config' / 'libero_contract.yaml')
    words = ['--method', 'qat', '--contract', contract]
    assert run(teacher, data, tmp_path / 'x', *words) == 1
    assert 'ContractMismatch' in capsys.readouterr().err
    assert not (tmp_path / 'x').exists()
