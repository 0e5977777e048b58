# SPDX-License-Identifier: Apache-2.0
"""Really packed profiles, exchanged in a running node; what is wrong with one stays outside."""

import shutil

import numpy as np
import pytest
import yaml

from sqil_ros.contract import Contract
from sqil_ros.digest import sha256_of, weights_digest

pytestmark = [pytest.mark.ros, pytest.mark.slow]
CONTRACT = Contract.load()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A tiny policy with random weights, and its INT8 and INT4 profiles."""
    import torch

    from sqil_ros.policy.openvla.checkpoint import save_checkpoint
    from sqil_ros.policy.openvla.config import tiny
    from sqil_ros.policy.openvla.model import OpenVLA
    from sqil_ros.policy.openvla.statistics import dataset_statistics
    from sqil_ros.policy.openvla.tokenizer import train_tokenizer
    from sqil_ros.quant.primitives import quantize
    from sqil_ros.quant.profile import PROFILES_DIRECTORY, write_profile
    from sqil_ros.quant.selection import select_layers

    directory = tmp_path_factory.mktemp('checkpoint')
    torch.manual_seed(0)
    model = OpenVLA(tiny())
    rng = np.random.default_rng(0)
    actions = rng.normal(0.0, 0.01, (500, 7))
    proprio = rng.normal(0.0, 0.1, (500, model.config.proprio_dim))
    statistics = dataset_statistics('random', actions, proprio, 5)
    save_checkpoint(directory, model, train_tokenizer(), statistics, CONTRACT, 'random-tiny')
    for bits in (8, 4):
        groups = {
            group: {name: quantize(model.get_submodule(name).weight, bits) for name in names}
            for group, names in select_layers(model).items()
        }
        write_profile(
            directory / PROFILES_DIRECTORY,
            f'int{bits}_rtn',
            model,
            groups,
            method='rtn',
            base=weights_digest(directory),
            contract=CONTRACT.hash,
        )
    return directory


@pytest.fixture
def checkpoint(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / 'checkpoint')


@pytest.fixture
def acting(graph, feed, checkpoint):
    """A node that acts at INT8, and a way to ask it for another profile."""
    from sqil_ros.nodes.operator import Operator

    graph.start(
        'sqil_ros.nodes.policy_node',
        checkpoint=str(checkpoint),
        autostart='true',
        quantization__profile='int8_rtn',
    )
    graph.spin_until(lambda: len(feed.actions) >= 3, 120.0)
    with Operator(context=graph.context) as operator:
        yield operator


def acts_on(graph, feed, profile):
    """The node still acts, at ``profile``."""
    feed.actions.clear()
    graph.spin_until(lambda: len(feed.actions) >= 3)
    assert {action.profile for action in feed.actions} == {profile}


def test_int8_gives_way_to_int4_without_an_action_missing(graph, feed, acting):
    before = feed.status().weight_bytes
    acted = len(feed.actions)
    acting.set_profile('int4_rtn')
    graph.spin_until(lambda: feed.actions[-1].profile == 'int4_rtn')
    sequence = [action.sequence for action in feed.actions]
    assert np.all(np.diff(sequence) == 1)
    assert len(sequence) > acted
    graph.spin_until(lambda: feed.status().profile == 'int4_rtn')
    graph.spin_until(lambda: 0 < feed.status().weight_bytes < before)


def test_unknown_and_altered_profiles_are_refused_at_once(graph, feed, acting, checkpoint):
    from sqil_ros.errors import ProfileError

    with pytest.raises(ProfileError, match=r'int5_rtn.* offers fp, int4_rtn, int8_rtn'):
        acting.set_profile('int5_rtn')
    weights = checkpoint / 'profiles' / 'int4_rtn' / 'weights.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ProfileError, match='truncated'):
        acting.set_profile('int4_rtn')
    acts_on(graph, feed, 'int8_rtn')


def test_profile_that_does_not_load_is_rolled_back(graph, feed, acting, checkpoint):
    """Its hash is right, so it is accepted; its weights are of another model."""
    folder = checkpoint / 'profiles' / 'int4_rtn'
    weights = folder / 'weights.safetensors'
    shutil.copy(checkpoint / 'model.safetensors', weights)
    manifest = folder / 'profile.yaml'
    content = yaml.safe_load(manifest.read_text())
    content['files'][weights.name] = {
        'sha256': sha256_of(weights),
        'size': weights.stat().st_size,
    }
    manifest.write_text(yaml.safe_dump(content))
    acting.set_profile('int4_rtn')
    graph.spin_until(lambda: 'int4_rtn' in feed.status().message)
    assert 'int8_rtn stays' in feed.status().message
    acts_on(graph, feed, 'int8_rtn')
    graph.spin_until(lambda: parameter(graph) == 'int8_rtn')


def parameter(graph):
    from rcl_interfaces.srv import GetParameters

    request = GetParameters.Request(names=['quantization.profile'])
    return graph.call(GetParameters, 'vla_policy/get_parameters', request).values[0].string_value
