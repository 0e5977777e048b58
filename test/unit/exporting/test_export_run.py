# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from sqil_training.export import main as export
from sqil_training.exporting.trained_run import read_run, trained_student
from sqil_training.quantize import main as quantize

from sqil_ros.contract import Contract
from sqil_ros.policy.loader import load_policy
from sqil_ros.quant.activations import InputRule
from sqil_ros.quant.size import packed_layers

CONTRACT = Contract.load()


def student_of(run, checkpoint):
    return trained_student(run, read_run(run), checkpoint, CONTRACT)


@pytest.mark.parametrize('adapter', ['beside', 'merged'])
@pytest.mark.parametrize('inputs', ['', 'a8', 'a8static'])
def test_what_is_deployed_answers_as_what_was_trained(
    checkpoint, data, trained, observation, adapter, inputs
):
    start_name = '_'.join(['int3_rtn', *filter(None, [inputs])])
    if inputs:
        kind = 'static' if inputs == 'a8static' else 'dynamic'
        words = ['--checkpoint', checkpoint, '--bits', 3, '--calibration', data, '--samples', 8]
        words += ['--activation-bits', 8, '--activation', kind]
        assert quantize([str(word) for word in words]) == 0
    run = trained('--method', 'qbc', '--adapter', adapter, '--profile', start_name)
    assert export(['--run', str(run), '--checkpoint', str(checkpoint)]) == 0
    merged = ['merged'] if adapter == 'merged' else []
    name = '_'.join(['int3_qbc', *merged, *filter(None, [inputs])])
    policy = load_policy(checkpoint, name, CONTRACT)
    layers = packed_layers(policy.model)
    begun = packed_layers(load_policy(checkpoint, start_name, CONTRACT).model)
    for path, layer in layers.items():
        assert (layer.up is not None) == (adapter == 'beside')
        assert layer.input_rule == (InputRule(8, inputs == 'a8static') if inputs else None)
        assert (layer.input_step is not None) == (inputs == 'a8static')
        if layer.input_step is not None:
            learned = float(layer.input_step) != float(begun[path].input_step)
            assert learned == (adapter == 'merged'), 'only the merged form learns its steps'
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
    start = logits(load_policy(checkpoint, start_name, CONTRACT).model)
    assert (found - trained_logits).abs().max() < 0.2 * (found - start).abs().max()


def test_a_rehearsal_and_a_missing_run_write_nothing(checkpoint, trained, tmp_path, capsys):
    run = trained('--method', 'qat')
    asked = ['--run', str(run), '--checkpoint', str(checkpoint), '--variant', 'x']
    assert export([*asked, '--dry-run']) == 0
    assert 'would write int3_qat_x' in capsys.readouterr().out
    assert not (checkpoint / 'profiles' / 'int3_qat_x').exists()
    assert export(['--run', str(tmp_path / 'none'), '--checkpoint', str(checkpoint)]) == 1
    assert 'sqil-train' in capsys.readouterr().err
