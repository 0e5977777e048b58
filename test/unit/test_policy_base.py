# SPDX-License-Identifier: Apache-2.0
import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.contract import Contract
from sqil_ros.errors import ActionError, CheckpointError, ObservationError
from sqil_ros.policy.base import check_chunk
from sqil_ros.policy.manifest import MANIFEST_NAME, read_manifest, write_manifest
from sqil_ros.policy.replay import ReplayPolicy
from sqil_ros.policy.scripted import CirclePolicy, ImageMeanPolicy
from sqil_ros.policy.selftest import sample_images, self_test
from sqil_ros.types import ActionChunk, Observation

CONTRACT = Contract.load()


def observation(value=0):
    image = np.full((128, 128, 3), value, np.uint8)
    return Observation((image, image), np.zeros(7), np.zeros(7), 'lift the eggplant')


# -- policies -------------------------------------------------------------------------------


@given(st.integers(0, 255))
def test_image_mean_policy_moves_by_the_colour(value):
    action = ImageMeanPolicy().act(observation(value)).actions[0]
    np.testing.assert_allclose(action[:3], 0.005 * value / 255)


def test_replay_repeats_then_stands_still_with_the_last_gripper():
    actions = np.arange(21.0).reshape(3, 7)
    policy = ReplayPolicy(actions)
    played = np.concatenate([policy.act(observation()).actions for _ in range(5)])
    np.testing.assert_array_equal(played[:3], actions)
    np.testing.assert_array_equal(played[3:, :6], 0.0)
    np.testing.assert_array_equal(played[3:, 6], actions[-1, 6])
    policy.reset()
    np.testing.assert_array_equal(policy.act(observation()).actions[0], actions[0])


@pytest.mark.parametrize('actions', [np.zeros((0, 7)), np.zeros((3, 6)), [[np.nan] * 7]])
def test_replay_refuses_what_is_no_recording(actions):
    with pytest.raises(ActionError):
        ReplayPolicy(actions)


def test_circle_closes():
    policy = CirclePolicy(steps=12)
    path = np.concatenate([policy.act(observation()).actions for _ in range(12)])
    np.testing.assert_allclose(path.sum(axis=0)[:6], 0.0, atol=1e-12)
    assert np.ptp(np.cumsum(path[:, 0])) == pytest.approx(0.1)


def test_check_chunk_names_the_shape():
    with pytest.raises(ActionError, match=r'\(7,\)'):
        check_chunk(ActionChunk(np.zeros(7)))


# -- self-test ------------------------------------------------------------------------------


def test_self_test_passes_a_policy_that_looks():
    result = self_test(ImageMeanPolicy(), sample_images(CONTRACT, None))
    assert result.image_effect == pytest.approx(0.0025, rel=0.1)
    assert result.latency_ms > 0.0


def test_self_test_refuses_a_blind_policy():
    with pytest.raises(CheckpointError, match='ignores its cameras'):
        self_test(ReplayPolicy(np.zeros((1, 7))), sample_images(CONTRACT, None))


def test_self_test_refuses_a_policy_that_is_not_finite():
    class Broken(ImageMeanPolicy):
        def act(self, observation):
            return ActionChunk(np.full((1, 7), np.inf))

    with pytest.raises(ActionError, match='finite'):
        self_test(Broken(), sample_images(CONTRACT, None))


def test_samples_come_from_the_checkpoint_in_rgb(tmp_path):
    (tmp_path / 'samples').mkdir()
    bgr = np.zeros((128, 128, 3), np.uint8)
    bgr[..., 2] = 200
    cv2.imwrite(str(tmp_path / 'samples' / 'image.png'), bgr)
    image, wrist = sample_images(CONTRACT, tmp_path)
    assert image[0, 0].tolist() == [200, 0, 0]
    assert wrist.std() > 50  # no sample of this camera: noise


def test_unreadable_or_foreign_samples_are_refused(tmp_path):
    (tmp_path / 'samples').mkdir()
    (tmp_path / 'samples' / 'image.png').write_bytes(b'not a picture')
    with pytest.raises(CheckpointError, match='no readable picture'):
        sample_images(CONTRACT, tmp_path)
    cv2.imwrite(str(tmp_path / 'samples' / 'image.png'), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ObservationError, match='trained on'):
        sample_images(CONTRACT, tmp_path)


# -- manifest -------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / 'samples').mkdir()
    (tmp_path / 'config.json').write_text('{}')
    (tmp_path / 'model.safetensors').write_bytes(bytes(range(256)) * 40)
    (tmp_path / 'samples' / 'image.png').write_bytes(b'pixels')
    write_manifest(
        tmp_path,
        name='tiny',
        architecture='openvla',
        dataset='toy_sink',
        contract_hash=CONTRACT.hash,
    )
    return tmp_path


def test_manifest_round_trip(checkpoint):
    manifest = read_manifest(checkpoint)
    assert manifest.name == 'tiny'
    assert set(manifest.files) == {'config.json', 'model.safetensors', 'samples/image.png'}


def test_truncated_altered_and_missing_files_are_refused(checkpoint):
    weights = checkpoint / 'model.safetensors'
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match='truncated or altered'):
        read_manifest(checkpoint)
    weights.write_bytes(whole[:-1] + b'!')
    with pytest.raises(CheckpointError, match=r'model\.safetensors .* sha256'):
        read_manifest(checkpoint)
    weights.unlink()
    with pytest.raises(CheckpointError, match='missing'):
        read_manifest(checkpoint)


@pytest.mark.parametrize(
    'change',
    [
        {'schema': 99},
        {'files': {}},
        {'files': {'../secret': '0'}},
        {'files': {'/etc/passwd': '0'}},
        {'unknown': 1},
    ],
)
def test_malformed_manifests_are_refused(checkpoint, change):
    path = checkpoint / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError):
        read_manifest(checkpoint)


@pytest.mark.parametrize('text', ['', '[1, 2]', '{"name": "tiny"', '\x00'])
def test_manifest_that_is_no_manifest_is_refused(checkpoint, text):
    (checkpoint / MANIFEST_NAME).write_text(text)
    with pytest.raises(CheckpointError):
        read_manifest(checkpoint)


def test_missing_directory_and_unfinished_checkpoint_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match='No checkpoint directory'):
        read_manifest(tmp_path / 'nowhere')
    with pytest.raises(CheckpointError, match='not a finished checkpoint'):
        read_manifest(tmp_path)
