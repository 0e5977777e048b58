# SPDX-License-Identifier: Apache-2.0
"""That what sqil-bench prints is what was measured."""

from __future__ import annotations

import gc
import importlib.util
import json
import time
import weakref

import pytest
import torch

from sqil_ros.bench import compare_steps, turns
from sqil_ros.bench.__main__ import chosen, main
from sqil_ros.bench.contestant import copies
from sqil_ros.bench.moved import moved_bytes
from sqil_ros.bench.peers import PEERS, peer_refusal
from sqil_ros.bench.products import CONTESTANTS, EAGER, PREPACKED, read_test, refusal
from sqil_ros.bench.shapes import SHAPES, Shape
from sqil_ros.bench.steps import STAGES, Runner, config_of, runners, widths_of
from sqil_ros.bench.turns import TRIES, WARM_UP, ratio, take_turns
from sqil_ros.engine.library import library
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.random_model import FULL, random_model

needs_engine = pytest.mark.skipif(library() is None, reason='the engine is not built')


class Moody:
    """A sentinel that says what it is told."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def quiet(self):
        return self.answers.pop(0) if self.answers else True


@pytest.fixture
def calm(monkeypatch):
    for module in (turns, compare_steps):
        monkeypatch.setattr(module, 'Sentinel', lambda threads: Moody())


def test_candidates_take_turns(calm):
    seen = []
    works = {name: lambda turn, name=name: seen.append((name, turn)) for name in 'ab'}
    times, disturbed = take_turns(works, 3, 1)
    assert [len(found) for found in times.values()] == [3, 3] and disturbed == {'a': 0, 'b': 0}
    assert seen[:6] == [('a', 0), ('a', 1), ('b', 0), ('b', 1), ('a', 2), ('a', 3)]
    assert len(seen) == 2 * 2 * (WARM_UP + 3)


def test_what_is_done_to_wake_the_threads_does_not_count(calm):
    def slow_at_first(turn):
        time.sleep(0.05 if turn % 2 == 0 else 0.0)

    times, _ = take_turns({'a': slow_at_first}, 2, 1)
    assert times['a'].max() < 40.0


def test_a_disturbed_turn_is_taken_again_and_at_last_counted(monkeypatch):
    quiet = [True, True] * WARM_UP
    monkeypatch.setattr(
        turns, 'Sentinel', lambda threads: Moody(*quiet, False, True, False, True, True)
    )
    seen = []
    _, disturbed = take_turns({'a': seen.append}, 1, 1)
    assert len(seen) == 2 * (WARM_UP + 3) and disturbed == {'a': 0}
    monkeypatch.setattr(turns, 'Sentinel', lambda threads: Moody(*quiet, *[False] * TRIES))
    seen = []
    _, disturbed = take_turns({'a': seen.append}, 1, 1)
    assert len(seen) == 2 * (WARM_UP + TRIES) and disturbed == {'a': 1}


def test_a_ratio_is_taken_round_by_round():
    # Twice as fast in every round, on a machine that becomes ten times slower.
    own = torch.tensor([1.0, 1.0, 10.0, 10.0]).numpy()
    assert ratio(2.0 * own, own) == 2.0


def test_candidates_are_chosen_by_back_end_and_profile():
    names = [*CONTESTANTS]
    assert chosen(names, [], []) == names
    assert chosen(names, ['W4A8', 'bf16'], ['engine']) == ['engine bf16', 'engine W4A8']
    assert chosen(names, ['bf16'], ['torch', 'prepacked']) == [EAGER, PREPACKED]
    assert set(chosen(names, [], ['onnxruntime', 'openvino'])) < set(PEERS)
    with pytest.raises(SystemExit):
        main(['--profiles', 'W5A5'])


def test_nothing_is_written_where_no_candidate_is_left(tmp_path, capsys):
    file = tmp_path / 'result.json'
    chosen_words = ['--profiles', 'W4A8', '--back-ends', 'onnxruntime', '--json', str(file)]
    for stage in ('step', 'gemv'):
        assert main(['--stage', stage, '--model', 'tiny', *chosen_words]) == 1
        assert 'No candidate' in capsys.readouterr().err
    assert not file.exists()


class Network:
    """Acts, and can be asked whether it still exists."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def __call__(self):
        self.log.append(self.name)
        return {'vision': 1.0, 'decode': 3.0, 'step': 4.0}


@needs_engine
@pytest.mark.parametrize(
    ('model', 'together'), [('tiny', False), ('openvla-7b', False), ('openvla-7b', True)]
)
def test_small_networks_take_turns_and_of_large_ones_there_is_one_at_a_time(
    model, together, calm, monkeypatch
):
    log, alive = [], []

    def made(config, names):
        for name in names:
            gc.collect()
            log.append(f'before {name}: {sum(one() is not None for one in alive)}')
            network = Network(name, log)
            alive.append(weakref.ref(network))
            moved = {'vision': 4_000_000, 'decode': 6_000_000, 'step': 10_000_000}
            runner = Runner(network, 10_000_000, 9_000_000, 11_000_000, moved)
            del network
            yield name, runner
            del runner

    monkeypatch.setattr(compare_steps, 'runners', made)
    rows = list(compare_steps.compare_steps(model, [EAGER, 'engine W4A8'], 1, 2, together))
    if model == 'tiny' or together:
        assert log[-4:] == [EAGER, 'engine W4A8'] * 2
    else:
        begun = ['before bf16, torch: 0', *[EAGER] * 2]
        assert log == [*begun, 'before engine W4A8: 0', *['engine W4A8'] * 2]
    (row,) = (row for row in rows if (row['stage'], row['profile']) == ('step', 'engine W4A8'))
    assert (row['ms_p50'], row['hz'], row['ratio_eager']) == (4.0, 250.0, 1.0)
    assert row['moved_bytes'] == 10_000_000 and row['GBps'] == 2.5
    assert row['of_read'] == pytest.approx(2.5 / row['read_GBps'], abs=1e-3)


def test_a_stage_reads_every_weight_once_a_pass():
    config = config_of('tiny')
    packed, full = (moved_bytes(random_model(config, bits)) for bits in (4, FULL))
    assert set(full) == set(STAGES)
    for moved in (packed, full):
        assert moved['decode'] == 7 * moved['token'] == moved['step'] - moved['vision']
    parameters = sum(p.numel() for p in random_model(config, FULL).parameters())
    words = 2 * config.text_config().vocab_size - config.n_action_bins
    unread = words * config.text_config().hidden_size
    norm = config.text_config().hidden_size
    assert full['vision'] + full['token'] == pytest.approx(
        2 * (parameters - unread - norm), rel=1e-3
    )
    assert packed['token'] < 0.35 * full['token']


@needs_engine
def test_rows_of_several_widths_have_four_bits_on_average():
    shape = Shape(6400, 64)
    found = CONTESTANTS['engine mixed A8'](shape, torch.randn(1, shape.inputs), beyond=0)
    with_scales = shape.weights // 2 + 4 * shape.outputs
    assert found.bytes == pytest.approx(with_scales, rel=0.03)


@needs_engine
@pytest.mark.parametrize('name', CONTESTANTS)
@pytest.mark.parametrize('rows', [1, 9])
def test_every_contestant_multiplies_its_shape(name, rows):
    shape = Shape(64, 256)
    if reason := refusal(name, shape):
        assert name in (*PEERS, PREPACKED), 'all others run on every machine'
        pytest.skip(reason)
    found = CONTESTANTS[name](shape, torch.randn(rows, shape.inputs), beyond=100_000)
    for turn in range(3):
        assert found.work(turn).shape == (rows, shape.outputs)
    bits = 16 if 'bf16' in name else int(name[len('engine W')]) if 'engine W' in name else None
    if bits:
        scales = 4 * shape.outputs if bits < 16 else 0
        assert found.bytes == shape.weights * bits // 8 + scales


@pytest.mark.parametrize('name', PEERS)
def test_a_peer_that_is_not_installed_or_does_not_fit_says_so(name, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda module: None)
    assert peer_refusal(name, Shape(64, 256)).endswith('not installed')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda module: module)
    assert peer_refusal(name, Shape(64, 256)) == ''
    assert 'do not divide 200' in peer_refusal(name, Shape(64, 200))


def test_copies_exceed_what_they_must():
    assert copies(10, 0) == 1 and copies(10, 25) == 3 and copies(10, 30) == 3


@needs_engine
@pytest.mark.parametrize('threads', [1, 2])
def test_reading_reads_every_word(threads):
    words = torch.arange(100_003, dtype=torch.int32)
    found = library().sqil_read(words.data_ptr(), words.numel(), threads)
    assert found == int(words.long().sum()) % 2**32
    assert read_test(threads).bytes > 100 << 20


@needs_engine
@pytest.mark.parametrize(
    'name, widths',
    [('engine bf16', (16, None)), ('engine W4A16', (4, None)), ('engine W3A8', (3, 8))],
)
def test_a_runner_has_the_widths_of_its_name(name, widths):
    assert widths_of(name) == widths
    config = config_of('tiny')
    for part in (config.dino, config.siglip, config.text):
        part['num_hidden_layers'] = 1
    ((found, runner),) = runners(config, [name])
    times = runner.act()
    assert found == name and tuple(times) == STAGES
    assert all(value > 0.0 for value in times.values())
    assert times['vision'] + times['prefill'] + 6 * times['token'] <= times['step']


@needs_engine
@pytest.mark.parametrize('name', [EAGER, 'engine W4A16'])
def test_a_parallel_answer_is_one_stage(name):
    config = config_of('tiny-oft')
    assert config.chunk == 8 and config.dino == config_of('tiny').dino
    for part in (config.dino, config.siglip, config.text):
        part['num_hidden_layers'] = 1
    ((_, runner),) = runners(config, [name])
    times = runner.act()
    assert tuple(times) == ('vision', 'decode', 'step')
    assert all(value > 0.0 for value in times.values())


def test_the_large_parallel_network_is_the_published_one():
    config, plain = config_of('openvla-7b-oft'), config_of('openvla-7b')
    assert (config.n_images, config.proprio_dim, config.chunk) == (2, 8, 8)
    assert config.text == plain.text and config.dino == plain.dino
    with torch.device('meta'):
        head = OpenVLA(config).action_head
    assert head.fc1.weight.shape == (4096, 28672) and head.fc2.weight.numel() == 28672


@needs_engine
def test_steps_are_compared_with_both_baselines(capsys, tmp_path):
    path = tmp_path / 'steps.json'
    words = ['--stage', 'step', '--model', 'tiny', '--rounds', '2', '--threads', '1']
    names = [EAGER, 'engine bf16', 'engine W4A8']
    assert main([*words, '--candidates', *names, '--json', str(path)]) == 0
    rows = [row for row in json.loads(path.read_text())['rows'] if row['stage'] == 'step']
    assert [row['profile'] for row in rows] == names
    full, _, low = rows
    assert full['ratio_eager'] == 1.0 and low['ratio_eager'] > 1.0
    assert low['bytes'] < rows[1]['bytes'] and low['best'] in names[:2]
    assert 'x eager' in capsys.readouterr().out


@needs_engine
def test_the_file_says_what_the_table_says(tmp_path, capsys):
    path = tmp_path / 'result.json'
    words = ['--stage', 'gemm', '--model', 'tiny', '--rounds', '2', '--threads', '1']
    assert main([*words, '--candidates', 'engine W4A8', '--json', str(path)]) == 0
    content = json.loads(path.read_text())
    assert content['threads'] == 1 and content['read_GBps'] > 0.0
    rows = content['rows']
    shapes = [str(shape) for shape in SHAPES['tiny']]
    assert [row['shape'] for row in rows if row['profile'] == 'engine W4A8'] == shapes
    printed = capsys.readouterr().out
    for row in rows:
        assert f'{row["ms_p50"]:9.3f} ms' in printed
        assert row['best'] in (EAGER, PREPACKED, 'fp32, torch')
        if row['profile'] == EAGER:
            assert row['ratio_eager'] == 1.0
