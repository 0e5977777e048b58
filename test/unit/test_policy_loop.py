# SPDX-License-Identifier: Apache-2.0
import threading

import numpy as np
import pytest

from sqil_ros.align import Frame, Sample, TickClock
from sqil_ros.contract import Contract
from sqil_ros.errors import ObservationError, ParameterError, StaleObservation
from sqil_ros.inference import InferenceThread
from sqil_ros.observation import FreshnessLimits, build_observation
from sqil_ros.policy.scripted import CirclePolicy, ImageMeanPolicy
from sqil_ros.policy_loop import PolicyLoop
from sqil_ros.types import ActionChunk, Pose

CONTRACT = Contract.load()
MS = 1_000_000
LIMITS = FreshnessLimits(image_ms=300.0, sample_ms=300.0)
DOWN = Pose(np.array([0.45, 0.1, 0.2]), np.array(CONTRACT.tool_down))
WHITE = np.full((128, 128, 3), 255, np.uint8)


# -- observation ----------------------------------------------------------------------------


def frame(stamp_ns=1000 * MS, **changes):
    held = {
        'wrist': Sample(stamp_ns, WHITE // 2),
        'robot/tcp_pose': Sample(stamp_ns, DOWN),
        'robot/target_pose': Sample(stamp_ns, Pose(DOWN.position + 0.01, DOWN.quaternion)),
        'robot/gripper': Sample(stamp_ns, 0.75),
        'robot/target_gripper': Sample(stamp_ns, 1.0),
    }
    return Frame(Sample(stamp_ns, WHITE), held | changes)


def test_observation_has_the_contracts_order_and_conventions():
    observation = build_observation(CONTRACT, frame(), 'lift the eggplant', LIMITS)
    assert [image[0, 0, 0] for image in observation.images] == [255, 127]
    np.testing.assert_allclose(observation.state, [0.45, 0.1, 0.2, 0, 0, 0, 0.75], atol=1e-12)
    np.testing.assert_allclose(observation.command, [0.46, 0.11, 0.21, 0, 0, 0, 1.0], atol=1e-12)
    assert observation.stamp_ns == 1000 * MS


def test_measured_opening_stands_in_for_a_missing_command():
    observation = build_observation(
        CONTRACT, frame(**{'robot/target_gripper': None}), 'lift', LIMITS
    )
    assert observation.command[6] == 0.75


@pytest.mark.parametrize(
    'channel', ['wrist', 'robot/tcp_pose', 'robot/target_pose', 'robot/gripper']
)
def test_missing_and_stale_channels_are_named(channel):
    with pytest.raises(ObservationError, match=channel):
        build_observation(CONTRACT, frame(**{channel: None}), 'lift', LIMITS)
    old = Sample(600 * MS, frame().held[channel].value)
    with pytest.raises(StaleObservation, match=f'{channel}.* 400 ms .* 300 ms'):
        build_observation(CONTRACT, frame(**{channel: old}), 'lift', LIMITS)


@pytest.mark.parametrize('opening', [float('nan'), -1.0, 255.0])
@pytest.mark.parametrize('channel', ['robot/gripper', 'robot/target_gripper'])
def test_opening_of_another_scale_is_refused(channel, opening):
    with pytest.raises(ObservationError, match=rf'{channel}.* 0 \(closed\) to 1'):
        build_observation(CONTRACT, frame(**{channel: Sample(1000 * MS, opening)}), 'lift', LIMITS)


def test_old_image_and_missing_instruction_are_refused():
    with pytest.raises(StaleObservation, match='The image is 301 ms old'):
        build_observation(CONTRACT, frame(), 'lift', LIMITS, now_ns=1301 * MS)
    with pytest.raises(ObservationError, match='instruction'):
        build_observation(CONTRACT, frame(), '  ', LIMITS)


def test_freshness_limits_must_be_positive():
    with pytest.raises(ParameterError, match='above 0'):
        FreshnessLimits(image_ms=0.0)


# -- loop -----------------------------------------------------------------------------------


class World:
    """A loop with a hand-driven clock and helpers that feed it."""

    def __init__(self, policy=None, chunk_steps=0):
        self.now_ns = 1000 * MS
        self.policy = policy or ImageMeanPolicy()
        self.loop = PolicyLoop(
            CONTRACT, TickClock.from_rates(5.0, 15.0), LIMITS, lambda: self.now_ns, 30.0,
            chunk_steps,
        )  # fmt: skip
        self.loop.set_instruction('lift the eggplant')

    def robot(self):
        for channel, value in (
            ('robot/tcp_pose', DOWN),
            ('robot/target_pose', DOWN),
            ('robot/gripper', 1.0),
        ):
            self.loop.push(channel, Sample(self.now_ns, value))

    def images(self):
        self.loop.push_image('wrist', Sample(self.now_ns, WHITE))
        self.loop.push_image('image', Sample(self.now_ns, WHITE))

    def tick(self, milliseconds=200):
        self.now_ns += milliseconds * MS
        self.robot()
        self.images()
        return self.loop.step(self.policy)


def test_every_tick_gives_one_action():
    world = World()
    steps = [world.tick() for _ in range(5)]
    assert all(step.refusal == '' for step in steps)
    np.testing.assert_allclose(steps[0].actions[0, :3], 0.005)
    assert {'image_age', 'policy', 'preprocess', 'decode'} <= set(steps[0].spans)
    assert world.loop.counters.ticks == 5
    assert world.loop.counters.missed == 0
    assert world.loop.step(world.policy) is None


def test_images_between_ticks_are_no_steps():
    world = World()
    steps = [world.tick(67) for _ in range(30)]
    assert sum(step is not None for step in steps) == 10


def test_waiting_for_the_robot_is_named_and_misses_nothing():
    world = World()
    for _ in range(4):
        world.now_ns += 200 * MS
        world.images()
        assert world.loop.step(world.policy) is None  # poses may still be on their way
        world.now_ns += 31 * MS
        step = world.loop.step(world.policy)
        assert 'robot/tcp_pose' in step.refusal
        assert step.actions is None
    world.tick(2000)
    assert (world.loop.counters.ticks, world.loop.counters.missed) == (1, 0)


def test_gap_in_the_images_is_missed_ticks():
    world = World()
    world.tick()
    world.tick(1000)
    assert world.loop.counters.missed == 4


def test_refused_tick_after_the_first_action_is_missed():
    world = World()
    world.tick()
    world.loop.set_instruction('')
    assert 'instruction' in world.tick().refusal
    world.loop.set_instruction('lift')
    assert world.tick().refusal == ''
    assert (world.loop.counters.ticks, world.loop.counters.missed) == (2, 1)


def test_image_of_another_size_stops_the_steps_until_a_good_one_comes():
    world = World()
    world.tick()
    world.loop.refuse_image('wrist', ObservationError('Camera wrist sends 640x480'))
    world.now_ns += 200 * MS
    world.robot()
    world.loop.push_image('image', Sample(world.now_ns, WHITE))
    world.now_ns += 31 * MS
    step = world.loop.step(world.policy)
    assert step.actions is None
    assert '640x480' in step.refusal
    assert world.loop.refusals
    assert world.tick().refusal == ''
    assert not world.loop.refusals


def test_image_from_the_future_is_refused_instead_of_waited_for():
    world = World()
    with pytest.raises(StaleObservation, match=r'5000 ms ahead .* 100 ms'):
        world.loop.push_image('image', Sample(world.now_ns + 5000 * MS, WHITE))
    assert world.tick().refusal == ''


def test_restart_resets_the_policy_before_its_next_step():
    world = World(CirclePolicy(steps=8))
    first = world.tick().actions
    assert not np.array_equal(world.tick().actions, first)
    world.loop.restart()
    np.testing.assert_array_equal(world.tick(10).actions, first)  # at once, no full period
    assert world.loop.counters.missed == 0


def test_action_that_is_not_finite_is_a_refusal():
    class Broken(ImageMeanPolicy):
        def act(self, observation):
            return ActionChunk(np.full((1, 7), np.nan))

    world = World(Broken())
    step = world.tick()
    assert step.actions is None
    assert 'finite' in step.refusal


# -- chunks ---------------------------------------------------------------------------------


class Planner(ImageMeanPolicy):
    """Answers with three actions that say which answer they are of, and which place they have."""

    def __init__(self, profile='fp'):
        super().__init__(profile)
        self.asked = 0

    def act(self, observation):
        self.asked += 1
        return ActionChunk(
            np.array([[0.001 * self.asked, 0.001 * k, *[0.0] * 5] for k in range(3)])
        )


def executed(steps):
    """(answer, place) of every action that was executed."""
    assert all(step.actions[0, 1] == 0.001 * step.chunk_index for step in steps)
    return [(round(1000 * step.actions[0, 0]), step.chunk_index) for step in steps]


def test_a_chunk_is_executed_one_action_a_tick_before_the_policy_is_asked_again():
    world = World(Planner())
    steps = [world.tick() for _ in range(7)]
    assert executed(steps) == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0)]
    assert [len(step.actions) for step in steps[:3]] == [3, 2, 1]
    assert world.policy.asked == 3 and world.loop.counters.ticks == 7
    assert 'policy' in steps[0].spans and 'policy' not in steps[1].spans


@pytest.mark.parametrize('chunk_steps, asked', [(1, 6), (2, 3), (3, 2), (100, 2)])
def test_a_part_of_a_chunk_may_be_executed(chunk_steps, asked):
    world = World(Planner(), chunk_steps)
    for _ in range(6):
        world.tick()
    assert world.policy.asked == asked


def test_a_plan_for_another_instruction_episode_or_profile_is_void():
    world = World(Planner())
    world.tick()
    world.loop.set_instruction('stack the cups')
    assert executed([world.tick(), world.tick()]) == [(2, 0), (2, 1)]
    world.loop.restart()
    assert executed([world.tick()]) == [(3, 0)]
    world.policy = Planner('int4_rtn')
    assert executed([world.tick(), world.tick()]) == [(1, 0), (1, 1)]


def test_ticks_that_pass_while_the_policy_thinks_cost_no_action_of_its_plan():
    class Slow(Planner):
        def act(self, observation):
            world.now_ns += 535 * MS
            return super().act(observation)

    world = World(Slow())
    until_the_next_image = (200, 65, 200)
    steps = [world.tick(milliseconds) for milliseconds in 2 * until_the_next_image]
    assert executed(steps) == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert world.loop.counters.missed == 4
    assert executed([world.tick(), world.tick(265)]) == [(3, 0), (4, 0)], 'one more was missed'


def test_a_plan_is_void_after_a_tick_that_was_missed_or_refused():
    world = World(Planner())
    world.tick()
    assert executed([world.tick(1000)]) == [(2, 0)], 'its time has passed'
    world.loop.refuse_image('wrist', ObservationError('Camera wrist sends 640x480'))
    world.now_ns += 200 * MS
    world.robot()
    world.loop.push_image('image', Sample(world.now_ns, WHITE))
    world.now_ns += 31 * MS
    assert world.loop.step(world.policy).actions is None
    assert executed([world.tick(), world.tick()]) == [(3, 0), (3, 1)]


def test_planned_actions_are_refused_on_stale_samples_like_all_others():
    world = World(Planner())
    world.tick()
    world.now_ns += 400 * MS
    world.images()
    world.now_ns += 31 * MS
    assert 'robot/' in world.loop.step(world.policy).refusal


def test_fewer_than_no_steps_of_a_chunk_are_refused():
    with pytest.raises(ParameterError, match='chunk_steps is -1'):
        World(chunk_steps=-1)


# -- thread ---------------------------------------------------------------------------------


def test_thread_acts_on_what_is_pushed_and_stops():
    world = World()
    steps, seen = [], threading.Event()

    def on_step(step):
        steps.append(step)
        seen.set()

    thread = InferenceThread(world.loop, lambda: world.policy, on_step, pytest.fail)
    thread.start()
    for _ in range(3):
        seen.clear()
        world.now_ns += 200 * MS
        world.robot()
        world.images()
        assert seen.wait(10.0)
    assert thread.stop(10.0)
    assert [step.refusal for step in steps] == ['', '', '']


def test_patience_ends_without_any_further_sample():
    world = World()
    seen = threading.Event()
    refusals = []

    def on_step(step):
        refusals.append(step.refusal)
        seen.set()

    thread = InferenceThread(world.loop, lambda: world.policy, on_step, pytest.fail)
    thread.start()
    world.images()
    world.now_ns += 31 * MS
    assert seen.wait(10.0)
    assert 'robot/tcp_pose' in refusals[0]
    assert thread.stop(10.0)


def test_broken_policy_ends_the_thread_and_is_reported():
    class Broken(ImageMeanPolicy):
        def act(self, observation):
            raise RuntimeError('out of memory')

    world = World(Broken())
    failures, seen = [], threading.Event()

    def on_failure(error):
        failures.append(error)
        seen.set()

    thread = InferenceThread(world.loop, lambda: world.policy, pytest.fail, on_failure)
    thread.start()
    world.robot()
    world.images()
    assert seen.wait(10.0)
    assert 'out of memory' in str(failures[0])
    assert thread.stop(10.0)
