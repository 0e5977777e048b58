# SPDX-License-Identifier: Apache-2.0
"""The toy sink: repeatable, fair to every task, and solvable by an expert that only looks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqil_ros.errors import SceneError
from sqil_ros.kinematics import ARMS
from sqil_ros.sim.arm import SimulatedArm
from sqil_ros.sim.expert import expert_action
from sqil_ros.sim.layout import SOURCE_AREA, TARGET_AREA, random_layout
from sqil_ros.sim.objects import TASK_OBJECTS
from sqil_ros.sim.tasks import MAX_STEPS, TASKS, SuccessJudge, done_now, task_by_name
from sqil_ros.sim.toy_sink import ToySink
from sqil_ros.types import Action

pytestmark = pytest.mark.sim


@pytest.fixture(scope='module')
def scene():
    sink = ToySink()
    yield sink
    sink.close()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 100_000))
def test_layouts_are_repeatable_and_leave_room(seed):
    layout = random_layout(seed)
    assert layout == random_layout(seed)
    for a, b in itertools.combinations(TASK_OBJECTS, 2):
        first, second = layout[a.name], layout[b.name]
        apart = np.hypot(first.x - second.x, first.y - second.y)
        assert apart > a.radius + b.radius
    for item in TASK_OBJECTS:
        area = SOURCE_AREA if item.name in ('eggplant', 'purple_cup') else TARGET_AREA
        place = layout[item.name]
        assert area[0] <= place.x <= area[1] and area[2] <= place.y <= area[3]


def test_the_same_seed_gives_the_same_scene_to_the_bit(scene):
    scene.reset(7)
    first = scene.qpos()
    scene.reset(8)
    scene.reset(7)
    np.testing.assert_array_equal(scene.qpos(), first)


def test_every_object_of_every_task_is_there_and_at_rest(scene):
    for seed in range(5):
        scene.reset(seed)
        layout = random_layout(seed)
        for name, pose in scene.state().objects.items():
            moved = np.hypot(pose.position[0] - layout[name].x, pose.position[1] - layout[name].y)
            assert moved < 0.01
            assert -0.005 < pose.position[2] < 0.03


def test_no_task_is_done_before_it_begins(scene):
    for seed in range(20):
        scene.reset(seed)
        assert not any(done_now(task, scene.state()) for task in TASKS)


@pytest.mark.parametrize('task', TASKS, ids=lambda task: task.name)
def test_the_expert_solves_every_task(scene, task):
    arm = SimulatedArm(scene)
    tool_down = np.array(scene.contract.tool_down)
    for seed in (10000, 10001):
        arm.reset(seed)
        judge = SuccessJudge(task)
        for _ in range(MAX_STEPS):
            action = expert_action(
                task, scene.state(), arm.command, arm.gripper_command, tool_down
            )
            arm.step(action)
            if judge.update(scene.state()):
                break
        else:
            pytest.fail(f'seed {seed} not solved in {MAX_STEPS} steps')
        assert done_now(task, scene.state()) is True  # it travels as JSON


def test_standing_still_or_flailing_solves_nothing(scene):
    rng = np.random.default_rng(0)
    arm = SimulatedArm(scene)
    for scale in (0.0, 0.02):
        arm.reset(3)
        judges = [SuccessJudge(task) for task in TASKS]
        for _ in range(25):
            arm.step(Action(rng.normal(size=6) * scale * [1, 1, 1, 2, 2, 2], rng.random()))
            assert not any(judge.update(scene.state()) for judge in judges)


def test_the_arm_goes_where_it_is_told(scene):
    arm = SimulatedArm(scene)
    arm.reset(1)
    start = scene.tcp()
    for _ in range(4):
        arm.step(Action(np.array([0.01, 0.02, -0.01, 0, 0, 0.05]), 1.0))
    for _ in range(5):
        arm.step(Action(np.zeros(6), 1.0))
    assert np.linalg.norm(scene.tcp().position - arm.command.position) < 2e-3
    moved = scene.tcp().position - start.position
    # The first second is a ramp, so the steps are shortened; the direction is kept.
    assert moved[1] == pytest.approx(2 * moved[0], abs=3e-3)
    assert moved[2] == pytest.approx(-moved[0], abs=3e-3)


def test_pictures_show_the_scene_and_its_changes(scene):
    scene.reset(4)
    image, wrist = scene.render()
    assert image.shape == wrist.shape == (128, 128, 3) and image.dtype == np.uint8
    assert image.std() > 20 and wrist.std() > 20
    before = image.copy()
    scene.reset(5)
    assert np.abs(scene.render()[0].astype(int) - before).mean() > 1.0


def test_projected_points_fall_on_their_objects(scene):
    scene.reset(6)
    image, _ = scene.render()
    plate = scene.state().objects['plate'].position + [0.0, 0.0, 0.008]
    x, y = (scene.project('image', plate[None])[0] * 128).astype(int)
    red, green, blue = image[y, x].astype(int)
    assert red > blue + 60 and green > blue + 40  # yellow


def test_variations_change_the_picture_but_not_the_task():
    nominal = ToySink()
    nominal.reset(11)
    reference = nominal.render()[0].astype(int)
    for name in ('lighting', 'camera', 'texture', 'distractors'):
        varied = ToySink(variation=name)
        varied.reset(11)
        assert np.abs(varied.render()[0].astype(int) - reference).mean() > 0.3, name
        state = varied.state()
        for task in TASKS:
            place = nominal.state().objects[task.source].position
            np.testing.assert_allclose(state.objects[task.source].position, place, atol=2e-3)
        varied.close()
    nominal.close()


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(SceneError, match='lift_eggplant'):
        task_by_name('wash_dishes')
    with pytest.raises(SceneError, match='lighting'):
        ToySink(variation='fog')


def test_the_simulated_arm_is_the_arm_of_the_kinematics(scene):
    """MuJoCo's flange and the Denavit-Hartenberg flange agree to the tolerance of Menagerie."""
    scene.reset(2)
    site = scene._data.site('g_pinch').xpos
    assert np.linalg.norm(site - scene.tcp().position) < 2e-3
    assert scene.contract.robot in ARMS


def test_the_wrench_is_what_pushes_on_the_gripper(scene):
    scene.reset(3)
    np.testing.assert_array_equal(scene.tcp_wrench(), np.zeros(6))
    joints = np.array(scene.contract.home)
    for _ in range(900):
        joints[1] += 0.001
        scene.step(joints, 1.0, 0.008)
        wrench = scene.tcp_wrench()
        if wrench[2] > 20.0:
            break
    assert wrench[2] > 20.0, 'the counter pushes upwards'
    scene.reset(3)
    np.testing.assert_array_equal(scene.tcp_wrench(), np.zeros(6))
