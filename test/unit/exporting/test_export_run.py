# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from sqil_training.export import main as export
from sqil_training.exporting.trained_run import read_run, trained_student

from sqil_ros.contract import Contract
from sqil_ros.policy.loader import load_policy
from sqil_ros.quant.size import packed_layers

CONTRACT = Contract.load()


def student_of(run, checkpoint):
    return trained_student(run, read_run(run), checkpoint, CONTRACT)


@pytest.mark.parametrize('adapter', ['beside', 'merged'])
def test_what_is_deployed_answers_as_what_was_trained(checkpoint, trained, observation, adapter):
    run = trained('--method', 'qbc', '--adapter', adapter)
    assert export(['--run', str(run), '--checkpoint', str(checkpoint)]) == 0
    name = 'int3_qbc' if adapter == 'beside' else 'int3_qbc_merged'
    policy = load_policy(checkpoint, name, CONTRACT)
    layers = packed_layers(policy.model).values()
    assert all((layer.up is not None) == (adapter == 'beside') for layer in layers)
    for layer in layers:
        layer.use('reference')
    batch = policy.inputs([observation])
    tokens = torch.from_numpy(policy.tokens_from_actions(torch.zeros(1, 7).numpy()))

    def logits(model):
        with torch.no_grad():
            states = model.action_states(batch, tokens, model.patch_features(batch.pixels))
            return model.action_logits(states)

    found, trained_logits = logits(policy.model), logits(student_of(run, checkpoint))
    # Everything but the integers is stored at 16 bits.
    assert torch.allclose(found, trained_logits, atol=0.02 * float(trained_logits.abs().max()))
    start = logits(load_policy(checkpoint, 'int3_rtn', CONTRACT).model)
    assert (found - trained_logits).abs().max() < 0.2 * (found - start).abs().max()


def test_a_rehearsal_and_a_missing_run_write_nothing(checkpoint, trained, tmp_path, capsys):
    run = trained('--method', 'qat')
    asked = ['--run', str(run), '--checkpoint', str(checkpoint), '--variant', 'x']
    assert export([*asked, '--dry-run']) == 0
    assert 'would write int3_qat_x' in capsys.readouterr().out
    assert not (checkpoint / 'profiles' / 'int3_qat_x').exists()
    assert export(['--run', str(tmp_path / 'none'), '--checkpoint', str(checkpoint)]) == 1
    assert 'sqil-train' in capsys.readouterr().err
