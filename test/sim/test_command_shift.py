# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sqil_training.command_shift import shifted
from sqil_training.demonstrator import EpisodeRecorder
from sqil_training.toy_sink_domain import TOY_SINK, eggplant_axis

from sqil_ros.contract import Contract, pose_from_state
from sqil_ros.sim.arm import SimulatedArm
from sqil_ros.sim.expert import expert_action
from sqil_ros.sim.tasks import TASKS
from sqil_ros.sim.toy_sink import ToySink

pytestmark = pytest.mark.sim
CONTRACT = Contract.load()


@pytest.fixture(scope='module')
def steps():
    """What was recorded at every step of an episode, with the true state the expert saw."""
    arm = SimulatedArm(ToySink(CONTRACT))
    recorder = EpisodeRecorder(arm, TASKS[0], 5, 'test')
    states = []
    while not recorder.over:
        _, action = recorder.label()
        states.append(arm.scene.state())
        recorder.execute(action)
    return recorder.episode(), states


@pytest.mark.parametrize('task', range(len(TASKS)))
def test_the_answer_to_another_command_is_the_experts(steps, task):
    episode, states = steps
    rng = np.random.default_rng(0)
    axes = TOY_SINK.axis(episode)
    changed = 0
    for t, state in enumerate(states):
        proprio = np.concatenate([episode.states[t], episode.commands[t]])
        if task != 0 and proprio[13] < 0.5:
            continue  # only questions with an open gripper are asked about other tasks
        objects = episode.privileged['objects'][t].reshape(-1, 3)
        label = episode.privileged['labels'][t].reshape(-1, 7)[task]
        other, answer = shifted(
            TOY_SINK.expert, CONTRACT, proprio, objects, axes[t], task, label, rng
        )
        np.testing.assert_array_equal(other[:7], proprio[:7])
        if np.array_equal(other, proprio):
            np.testing.assert_array_equal(answer, label)
            continue
        changed += 1
        command, gripper = pose_from_state(CONTRACT, other[7:])
        truth = expert_action(TASKS[task], state, command, gripper, np.array(CONTRACT.tool_down))
        np.testing.assert_allclose(answer, [*truth.delta, truth.gripper], atol=1e-3)
        assert command.position[2] > 0.0
    assert changed > 5


def test_a_label_that_the_record_does_not_explain_is_left_alone(steps):
    episode, _ = steps
    proprio = np.concatenate([episode.states[0], episode.commands[0]])
    objects = episode.privileged['objects'][0].reshape(-1, 3)
    label = np.full(7, 0.01)
    other, answer = shifted(
        TOY_SINK.expert, CONTRACT, proprio, objects, 0.0, 0, label, np.random.default_rng(0)
    )
    np.testing.assert_array_equal(other, proprio)
    np.testing.assert_array_equal(answer, label)


def test_the_eggplants_axis_is_told_by_the_answers(steps):
    episode, states = steps
    _, _, z, w = states[0].objects['eggplant'].quaternion
    yaw = (2.0 * np.arctan2(z, w) + 0.5 * np.pi) % np.pi - 0.5 * np.pi
    np.testing.assert_allclose(TOY_SINK.axis(episode)[:10], yaw, atol=0.02)


def test_an_axis_that_no_answer_tells_is_unknown():
    cut_short = np.tile([0.0, 0.0, 0.0, 0.0, 0.0, 0.12, 1.0], (3, 1))
    assert np.isnan(eggplant_axis(np.zeros((3, 7)) + [0, 0, 0, 0, 0, 0, 1.0], cut_short)).all()
