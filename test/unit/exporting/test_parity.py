# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import torch
from sqil_training.export import main as export
from sqil_training.exporting.forms import EXECUTED, FAKE, FULL, PACKED, forms
from sqil_training.exporting.measures import distance, sameness
from sqil_training.quantize import main as quantize
from sqil_training.score import main as score

from sqil_ros.contract import Contract

CONTRACT = Contract.load()
PLAIN = np.ones(12)


def actions(seed):
    rng = np.random.default_rng(seed)
    found = rng.uniform(-1.0, 1.0, (12, 7))
    found[:, 6] = rng.integers(0, 2, 12)
    return found


def test_a_policy_is_at_no_distance_from_itself():
    one = actions(0)
    assert distance(one, one, PLAIN).action_error == 0.0
    assert distance(one, one, PLAIN).gripper_agreement == 1.0
    assert (sameness(one, one).same, sameness(one, one).largest) == (1.0, 0.0)


def test_distance_is_the_same_from_either_side():
    one, other = actions(0), actions(1)
    assert distance(one, other, PLAIN) == distance(other, one, PLAIN)
    assert sameness(one, other) == sameness(other, one)


def test_a_weight_of_two_is_a_frame_that_comes_twice():
    one, other = actions(0), actions(1)
    alpha = np.where(np.arange(12) < 4, 2.0, 1.0)
    twice = [*range(12), *range(4)]
    weighted = distance(one, other, alpha)
    plain = distance(one[twice], other[twice], np.ones(16))
    assert weighted.action_error == pytest.approx(plain.action_error)
    assert weighted.gripper_agreement == pytest.approx(plain.gripper_agreement)


def test_a_gripper_that_differs_on_one_frame_is_counted_once():
    one = actions(0)
    other = one.copy()
    other[3, 6] = 1.0 - other[3, 6]
    assert distance(one, other, PLAIN).gripper_agreement == pytest.approx(11 / 12)
    assert distance(one, other, PLAIN).action_error == pytest.approx(1 / 84)
    assert sameness(one, other).same == pytest.approx(11 / 12)
    assert sameness(one, other).largest == 1.0


@pytest.fixture
def profiled(checkpoint):
    def made(name, *options):
        if not (checkpoint / 'profiles' / name).exists():
            assert quantize(['--checkpoint', str(checkpoint), *options]) == 0
        return checkpoint

    return made


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('int4_rtn', ['--bits', '4']),
        ('int4_rtn_asym_a8', ['--bits', '4', '--asymmetric', '--activation-bits', '8']),
    ],
)
def test_fake_and_packed_give_the_same_logits(profiled, observation, name, options):
    found = {form.name: form for form in forms(profiled(name, *options), name, CONTRACT)}
    assert list(found) == [FULL, FAKE, PACKED, EXECUTED]

    def logits(form):
        policy = found[form].policy
        batch = policy.inputs([observation])
        tokens = torch.from_numpy(policy.tokens_from_actions(np.zeros((1, 7))))
        with torch.no_grad():
            features = policy.model.patch_features(batch.pixels)
            return policy.model.action_logits(policy.model.action_states(batch, tokens, features))

    assert torch.equal(logits(FAKE), logits(PACKED))
    assert not torch.equal(logits(FAKE), logits(FULL))


def test_the_report_holds_what_the_card_and_the_table_show(profiled, held, tmp_path, capsys):
    checkpoint = profiled('int4_rtn', '--bits', '4')
    report, folder, scores = (tmp_path / name for name in ('r.json', 'folder', 's.parquet'))
    asked = ['--checkpoint', checkpoint, '--data', held, '--out', scores, '--grid', '2']
    assert score([*map(str, asked), '--stride', '1', '--workers', '1']) == 0
    asked = ['--checkpoint', checkpoint, '--profile', 'int4_rtn', '--held', held]
    asked = [*asked, '--scores', scores, '--report', report, '--to', folder]
    assert export([*map(str, asked)]) == 0
    content = json.loads(report.read_text())
    assert content['data']['frames'] == 6
    assert content['provenance']['command']
    rows = {row['form']: row for row in content['forms']}
    assert list(rows) == [FULL, FAKE, PACKED, EXECUTED]
    assert rows[PACKED]['fake'] == {'same': 1.0, 'largest': 0.0}
    assert rows[PACKED]['plain'] == rows[FAKE]['plain']
    assert rows[FULL]['plain']['to_full'] is None
    assert all(row['weighted'] is not None for row in rows.values())
    card = (folder / 'README.md').read_text()
    error = f'{rows[EXECUTED]["plain"]["to_demonstration"]["action_error"]:.4f}'
    assert error in card
    assert error in capsys.readouterr().out
    assert '| success in closed loop | not measured |' in card


def test_scores_of_other_frames_are_refused(profiled, held, data, tmp_path, capsys):
    checkpoint, scores = profiled('int4_rtn', '--bits', '4'), tmp_path / 's.parquet'
    asked = ['--checkpoint', checkpoint, '--data', data, '--out', scores, '--grid', '2']
    assert score([*map(str, asked), '--workers', '1']) == 0
    asked = ['--checkpoint', checkpoint, '--profile', 'int4_rtn', '--held', held]
    assert export([*map(str, [*asked, '--scores', scores, '--dry-run'])]) == 1
    assert 'has no scores' in capsys.readouterr().err


def test_what_was_trained_with_is_not_held_out(checkpoint, trained, data, held, tmp_path, capsys):
    run = trained('--method', 'qat', '--adapter', 'merged')
    asked = ['--run', str(run), '--checkpoint', str(checkpoint), '--to', str(tmp_path / 'folder')]
    assert export([*asked, '--held', str(data)]) == 1
    assert 'nothing is held out' in capsys.readouterr().err
    assert not (checkpoint / 'profiles' / 'int3_qat_merged').exists()
    assert export([*asked, '--held', str(held), '--report', str(tmp_path / 'r.json')]) == 0
    rows = json.loads((tmp_path / 'r.json').read_text())['forms']
    assert [row['origin'] for row in rows][1:3] == ['the student as trained', 'the profile']
    card = (tmp_path / 'folder' / 'README.md').read_text()
    assert '| `method` | qat |' in card
    assert '| `adapter` | merged |' in card
    asked = ['--profile', 'int3_qat_merged', '--checkpoint', str(checkpoint)]
    assert export([*asked, '--held', str(data)]) == 1  # its manifest remembers


def test_options_that_mean_nothing_are_refused(tmp_path, capsys):
    for words in (
        ['--profile', 'int4_rtn'],
        ['--profile', 'int4_rtn', '--report', 'r.json', '--to', 'x'],
        ['--profile', 'int4_rtn', '--variant', 'b3', '--to', 'x'],
        ['--profile', 'int4_rtn', '--run', 'runs/x'],
    ):
        with pytest.raises(SystemExit):
            export(words)
    assert '--held DIR' in capsys.readouterr().err
