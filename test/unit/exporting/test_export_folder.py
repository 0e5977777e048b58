# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from sqil_training import export as export_module
from sqil_training.export import main as export
from sqil_training.exporting.folder import MARKS, packed_model, read_folder
from sqil_training.quantize import main as quantize

from sqil_ros.errors import ProfileError
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.quant.primitives import dequantize
from sqil_ros.quant.size import packed_layers


@pytest.fixture
def to(checkpoint, tmp_path):
    """Export a profile, made if need be, to a folder."""

    def run(name='int4_rtn', *options, folder=tmp_path / 'folder', status=0):
        if options and not (checkpoint / 'profiles' / name).exists():
            assert quantize(['--checkpoint', str(checkpoint), *options]) == 0
        asked = ['--profile', name, '--checkpoint', str(checkpoint), '--to', str(folder)]
        assert export(asked) == status
        return folder

    if not (checkpoint / 'profiles' / 'int4_rtn').exists():
        assert quantize(['--checkpoint', str(checkpoint), '--bits', '4']) == 0
    return run


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('int8_rtn', ['--bits', '8']),
        ('int4_rtn', ['--bits', '4']),
        ('int3_rtn_asym_g8', ['--bits', '3', '--asymmetric', '--group-size', '8']),
    ],
)
def test_a_folder_holds_the_whole_profile(checkpoint, to, name, options):
    folder = to(name, *options)
    found = read_folder(folder)
    model = packed_model(checkpoint, checkpoint / 'profiles' / name)
    packed = packed_layers(model)
    assert found.profile.name == name
    assert found.layers.keys() == packed.keys()
    for layer, weights in found.layers.items():
        assert torch.equal(dequantize(weights), packed[layer].weight)
    rest = OpenVLA(model.config).state_dict().keys()
    meant = {key for key in rest if key.removesuffix('.weight') not in packed}
    assert found.rest.keys() == meant
    assert all(torch.equal(found.rest[k].float(), model.state_dict()[k]) for k in meant)


def test_config_json_is_that_of_the_checkpoint_with_what_readers_need(checkpoint, to):
    folder = to()
    config = json.loads((folder / 'config.json').read_text())
    quantization = config.pop('quantization_config')
    before = json.loads((checkpoint / 'config.json').read_text())
    assert config == before | {'dtype': 'bfloat16'}
    assert quantization['quant_method'] == 'compressed-tensors'
    assert 'language_model.lm_head' in quantization['ignore']
    targets = quantization['config_groups']['group_0']['targets']
    names = load_file(folder / 'model.safetensors')
    assert all(f'{target}.weight_packed' in names for target in targets)


@pytest.mark.filterwarnings('ignore')  # of the libraries about themselves
def test_transformers_reads_exactly_our_weights(checkpoint, to):
    folder = to()
    model = OpenVLA.from_pretrained(folder, dtype=torch.float32)
    model.hf_quantizer.compressor.decompress_model(model)
    ours = packed_model(checkpoint, checkpoint / 'profiles' / 'int4_rtn')
    for name, layer in packed_layers(ours).items():
        assert torch.equal(model.get_submodule(name).weight, layer.weight)
    found = dict(model.named_parameters())
    assert all(torch.equal(found[name], value) for name, value in ours.named_parameters())


def test_the_same_profile_gives_the_same_bytes(to, tmp_path):
    one, other = (to(folder=tmp_path / name) for name in ('one', 'other'))
    assert content(one)['model.safetensors'] == content(other)['model.safetensors']
    assert content(one)['config.json'] == content(other)['config.json']


@pytest.mark.parametrize(
    ('spoil', 'complaint'),
    [
        (lambda f: (f / 'model.safetensors').write_bytes(b'short'), 'truncated'),
        (lambda f: (f / 'config.json').unlink(), 'is missing'),
        (lambda f: (f / 'profile.yaml').unlink(), 'no profile'),
        (lambda f: (f / 'tokenizer.json').write_bytes(b'[]'), 'truncated or another file'),
    ],
)
def test_a_damaged_folder_is_refused_and_can_be_made_anew(to, spoil, complaint):
    folder = to()
    before = content(folder)
    spoil(folder)
    with pytest.raises(ProfileError) as error:
        read_folder(folder)
    assert complaint in str(error.value)
    if all((folder / mark).exists() for mark in MARKS):
        to()
        assert content(folder)['model.safetensors'] == before['model.safetensors']
        read_folder(folder)


def test_one_altered_bit_is_found(to):
    folder = to()
    path = folder / 'model.safetensors'
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ProfileError, match='was altered'):
        read_folder(folder)


def test_what_no_export_made_is_left_alone(to, tmp_path, capsys):
    folder = tmp_path / 'thesis'
    folder.mkdir()
    (folder / 'chapter.txt').write_text('two years')
    to(folder=folder, status=1)
    assert 'chapter.txt' in content(folder)
    message = capsys.readouterr().err
    assert 'profile.yaml' in message
    assert 'another folder' in message


def test_an_interrupted_export_leaves_the_old_one_and_nothing_else(to, monkeypatch):
    folder = to()
    before = content(folder)

    def full_disk(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(export_module, 'seal', full_disk)
    to(status=1)
    assert content(folder) == before
    assert [path.name for path in folder.parent.iterdir() if 'folder' in path.name] == ['folder']


def test_a_rehearsal_checks_and_writes_nothing(checkpoint, to, tmp_path, capsys):
    asked = ['--profile', 'int4_rtn', '--checkpoint', str(checkpoint), '--dry-run']
    assert export([*asked, '--to', str(tmp_path / 'new')]) == 0
    assert 'would write int4_rtn for transformers' in capsys.readouterr().out
    assert not (tmp_path / 'new').exists()
    profiles = checkpoint / 'profiles'
    for place in (checkpoint, profiles, profiles / 'int4_rtn', profiles / 'new'):
        assert export([*asked, '--to', str(place)]) == 1
        assert 'name a' in capsys.readouterr().err


def test_rounded_activations_are_refused_before_anything_is_written(to, tmp_path, capsys):
    to('int4_rtn_a8', '--bits', '4', '--activation-bits', '8', status=1)
    assert '--activation-bits' in capsys.readouterr().err
    assert not (tmp_path / 'folder').exists()


@pytest.mark.filterwarnings('ignore')  # of the libraries about themselves
def test_a_change_beside_the_integers_becomes_an_adapter(checkpoint, trained, to, tmp_path):
    run = trained('--method', 'qbc')
    folder = tmp_path / 'student'
    asked = ['--run', str(run), '--checkpoint', str(checkpoint), '--to', str(folder)]
    assert export(asked) == 0
    ours = packed_layers(packed_model(checkpoint, checkpoint / 'profiles' / 'int3_qbc'))
    found = read_folder(folder)
    for name, change in found.changes.items():
        weight = dequantize(found.layers[name]) + change.up.float() @ change.down.float()
        assert torch.equal(weight, ours[name].weight)
    model = OpenVLA(OpenVLA.config_class.from_pretrained(checkpoint))
    peft = PeftModel.from_pretrained(model, str(folder / 'adapter'))
    for name, layer in ours.items():
        lora = peft.base_model.model.get_submodule(name)
        change = lora.get_delta_weight('default').float()
        wanted = layer.up.float() @ layer.down.float()
        assert torch.allclose(change, wanted, atol=1e-6)
    (folder / 'adapter' / 'adapter_model.safetensors').unlink()
    with pytest.raises(ProfileError, match='is missing'):
        read_folder(folder)
