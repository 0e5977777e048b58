# SPDX-License-Identifier: Apache-2.0
"""What a measurement on a GPU says without one: floors, rows, bars, and what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sqil_ros.bench.gpu.__main__ import main
from sqil_ros.bench.gpu.floors import H200, WORDS, Bar, Rates, step_floor, work_of
from sqil_ros.bench.gpu.products import product_row
from sqil_ros.bench.gpu.steps import (
    CANDIDATES,
    EAGER,
    HALF,
    W4A8,
    W4A16,
    bars,
    chunk_bars,
    step_rows,
)
from sqil_ros.bench.operations import layer_uses
from sqil_ros.bench.shapes import Shape
from sqil_ros.policy.openvla.config import with_l1_head
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.random_model import openvla_7b
from sqil_ros.quant.selection import select_layers
from sqil_ros.quant.triton_kernels.layout import row_words

CONFIG = openvla_7b(layers=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is there')
def test_without_a_gpu_it_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(['--folder', str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert 'EngineError' in said and 'CUDA' in said
    assert not list(tmp_path.iterdir())


def test_an_interpreter_is_no_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('sqil_ros.bench.gpu.__main__.check_gpu', lambda device: None)
    monkeypatch.setattr('sqil_ros.quant.cuda.interpreted', lambda: True)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: object())
    assert main([]) == 1
    assert 'TRITON_INTERPRET' in capsys.readouterr().err
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert main([]) == 1
    assert 'Triton is not installed' in capsys.readouterr().err


def test_floors_of_openvla_7b_are_those_that_were_worked_out() -> None:
    """The project's roofline: 22.8, 9.2 and 6.8 ms, with projector and a whole head."""
    config = openvla_7b()
    work = work_of(config, layer_uses(config, WORDS))
    assert step_floor(work, 16, 16, H200) == pytest.approx(22.8, rel=0.05)
    assert step_floor(work, 4, 16, H200) == pytest.approx(9.2, rel=0.08)
    assert step_floor(work, 4, 8, H200) == pytest.approx(6.8, rel=0.05)
    # Parallel decoding in a pass of 287 rows: 4.2 and 2.1 ms; a chunk of one has 288.
    parallel = with_l1_head(config, 1)
    work = work_of(parallel, layer_uses(parallel, WORDS))
    assert step_floor(work, 4, 16, H200) == pytest.approx(4.2, rel=0.06)
    assert step_floor(work, 4, 8, H200) == pytest.approx(2.1, rel=0.06)


def test_floors_follow_the_rates() -> None:
    work = work_of(CONFIG, layer_uses(CONFIG, WORDS))
    twice = Rates(2 * H200.read_gbps, 2 * H200.half_tflops, 2 * H200.int8_tops)
    for bits in (4, 16):
        for prompt in (8, 16):
            whole = step_floor(work, bits, prompt, H200)
            assert step_floor(work, bits, prompt, twice) == pytest.approx(whole / 2)
    assert step_floor(work, 3, 8, H200) < step_floor(work, 4, 8, H200)
    whole_head = work_of(CONFIG, layer_uses(CONFIG, WORDS), actions_only=False)
    rows = CONFIG.text_config().vocab_size - CONFIG.n_action_bins
    assert whole_head.token_bytes - work.token_bytes == 2 * rows * 4096


def test_four_bits_of_openvla_7b_are_small_enough() -> None:
    """Of the weights as the GPU holds them, from their shapes alone; the head has 256 rows."""
    config = openvla_7b()
    with torch.device('meta'):
        model = OpenVLA(config)
    full = 2 * sum(parameter.numel() for parameter in model.parameters())
    four = full + 2 * (config.n_action_bins - 32064) * 4096
    for name in (name for names in select_layers(model).values() for name in names):
        layer = model.get_submodule(name)
        assert isinstance(layer, torch.nn.Linear)
        row = 4 * row_words(layer.in_features, 4) + 4  # and a scale
        four += layer.out_features * (row - 2 * layer.in_features)
    assert four / full == pytest.approx(0.268, abs=5e-4)


def test_rows_of_steps_compare_round_by_round() -> None:
    times = {name: np.array([4.0, 8.0, 6.0]) for name in (EAGER, *CANDIDATES)}
    times[EAGER] = 10 * times[HALF]
    times[W4A16] = times[HALF] / 4
    sizes = {n: (1000, 1100) if n in (EAGER, HALF) else (250, 350) for n in times}
    rows = {row['profile']: row for row in step_rows(CONFIG, times, sizes, 2 * H200.read_gbps)}
    assert rows[W4A16]['ratio_graph'] == 4.0 and rows[W4A16]['ratio_eager'] == 40.0
    assert rows[W4A16]['of_bf16_weights'] == 0.25
    assert rows[HALF]['floor_here_ms'] < rows[HALF]['floor_ms']
    assert rows[W4A8]['floor_ms'] < rows[W4A16]['floor_ms']
    assert rows[HALF]['of_floor'] == pytest.approx(6.0 / rows[HALF]['floor_ms'], rel=1e-3)
    assert {bar.name: bar.reached for bar in bars(list(rows.values()))} == {
        'W4A16 with a graph over bf16 with a graph': True,
        'W4A16 with a graph over bf16, torch': True,
        'W4A8 prompts over its floor': False,
        'weights of 4 bits over bf16': True,
    }
    (bar,) = chunk_bars(list(rows.values()))
    assert bar.found == rows[W4A8]['of_floor']


def test_a_row_of_products() -> None:
    own, half = np.array([0.002, 0.004, 0.002]), np.array([0.008, 0.008, 0.008])
    row = product_row(Shape(4096, 4096), 1, 'x', own, half, 8_000_000, 5000.0)
    assert (row['stage'], row['us_p50'], row['GBps'], row['of_read']) == ('gemv', 2.0, 4000.0, 0.8)
    assert row['ratio_bf16'] == 4.0
    assert product_row(Shape(64, 64), 280, 'x', own, half, 1, 1.0)['stage'] == 'gemm'


def test_bars_are_met_from_both_sides() -> None:
    assert Bar('x', 2.2, 2.2, True).reached and not Bar('x', 2.1, 2.2, True).reached
    assert Bar('x', 0.27, 0.27, False).reached and not Bar('x', 0.28, 0.27, False).reached
    assert 'MISSED' in str(Bar('x', 0.28, 0.27, False))
