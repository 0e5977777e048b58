# SPDX-License-Identifier: Apache-2.0
"""A LIBERO task as a plant: its physics, its initial states, its cameras, its word on success.

LIBERO's initial states are plain arrays in .npz files here, which its loader opens without pickle.
"""

from __future__ import annotations

import atexit

import mujoco
import numpy as np
from libero.libero.benchmark import get_benchmark
from libero.libero.envs.env_wrapper import ControlEnv

from sqil_ros.contract import Contract
from sqil_ros.errors import SceneError
from sqil_ros.geometry import quat_from_matrix
from sqil_ros.sim.tasks import SceneState
from sqil_ros.types import Array, Image, Pose
from sqil_training.libero.names import distinct
from sqil_training.libero.suite import LiberoTask

SETTLE_STEPS = 10
"""Control steps before the policy takes over; LIBERO drops the objects from a little above."""
_DRAWS = 20
_FLUNG_M = 0.03  # a bowl that settles on the ramekin slides by half of that
_STAND_STILL = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])
_FULLY_OPEN_M = 0.08
_GRIP_SITE = 'gripper0_grip_site'
_VISUAL = mujoco.MjvOption()
_VISUAL.geomgroup[0] = 0  # robosuite's collision geometry is drawn in group 0


class LiberoScene:
    """The scene of one task. Not thread safe; rendering stays on the thread that starts it."""

    def __init__(self, task: LiberoTask, contract: Contract) -> None:
        """Build the scene, which takes seconds.

        Raises:
            SceneError: LIBERO's task of that number is another.
        """
        suite = get_benchmark(task.suite)()
        found = suite.get_task(task.index).name
        if found != task.libero_name:
            raise SceneError(
                f'LIBERO calls task {task.index} {found!r}, this package expects '
                f'{task.libero_name!r}; install the version of constraints-libero.txt.'
            )
        self.task, self.contract = task, contract
        self.initial_states = np.asarray(suite.get_task_init_states(task.index))
        self._control = ControlEnv(
            suite.get_task_bddl_file_path(task.index),
            use_camera_obs=False,
            has_offscreen_renderer=False,
            ignore_done=True,
        )
        self._env = self._control.env
        # A hard reset builds the same model again. Sensors would be read 25 times a control step.
        self._env.hard_reset = False
        for name in list(self._env._observables):
            for attribute in ('enabled', 'active'):
                self._env.modify_observable(name, attribute, False)
        self._base = np.array(self._env.robots[0].base_pos)
        self._renderer: mujoco.Renderer | None = None

    # ---- physics ---------------------------------------------------------------------------

    def place(self, seed: int) -> None:
        """Put the objects where LIBERO's own sampler puts them for ``seed``.

        The sampler lets two things share a place, from where the first step flings them apart;
        such a draw is followed by the next.

        Raises:
            SceneError: no draw has lasted.
        """
        self._control.seed(seed)
        for _ in range(_DRAWS):
            self._reset()
            drawn = self._places()
            self._settle()
            if np.abs(self._places() - drawn)[:, :2].max() < _FLUNG_M:
                return
        raise SceneError(
            f'LIBERO draws {_DRAWS} placements of {self.task.name} for seed {seed}, in none of '
            f'which do all things stay within {_FLUNG_M} m; take another seed.'
        )

    def restore(self, index: int) -> None:
        """Start from LIBERO's initial state ``index``.

        Raises:
            SceneError: there is no such state.
        """
        if not 0 <= index < len(self.initial_states):
            raise SceneError(
                f'LIBERO has initial states 0 to {len(self.initial_states) - 1} of '
                f'{self.task.name}, not {index}; ask for fewer episodes.'
            )
        self._control.seed(0)
        self._reset()
        self._control.set_init_state(self.initial_states[index])
        self._settle()

    def step(self, command: Array) -> None:
        """One control step of 50 ms.

        Args:
            command: (7,) robosuite's OSC_POSE action in -1..1: translation, rotation vector and
                gripper, 1 = close.
        """
        self._env.step(command)

    def success(self) -> bool:
        """Whether LIBERO says that the task is done."""
        return bool(self._control.check_success())

    # ---- what the expert sees --------------------------------------------------------------

    def tcp(self) -> Pose:
        """Measured grip site seen from the robot's base."""
        site = self._data.site(_GRIP_SITE)
        return Pose(site.xpos - self._base, quat_from_matrix(site.xmat.reshape(3, 3)))

    def gripper_opening(self) -> float:
        """Measured opening of the gripper, 1 = open."""
        left, right = (self._data.joint(f'gripper0_finger_joint{i}').qpos[0] for i in (1, 2))
        return float(np.clip((left - right) / _FULLY_OPEN_M, 0.0, 1.0))

    def state(self) -> SceneState:
        """Poses of the gripper and of every object, as ``distinct`` names them."""
        objects = {}
        bodies = self._env.obj_body_id
        for name, body in zip(distinct(tuple(bodies)), bodies.values(), strict=True):
            w, x, y, z = self._data.xquat[body]
            position = self._data.xpos[body] - self._base
            objects[name] = Pose(position, np.array([x, y, z, w]))
        return SceneState(self.tcp(), self.gripper_opening(), objects)

    # ---- pictures --------------------------------------------------------------------------

    def render(self) -> tuple[Image, ...]:
        """A picture of every camera of the contract, (H, W, 3) uint8 RGB each."""
        if self._renderer is None:
            height, width = self.contract.image_height, self.contract.image_width
            # A buffer larger than the picture costs as if all of it were drawn.
            self._model.vis.global_.offheight, self._model.vis.global_.offwidth = height, width
            # Smooth edges would take 1.7 times as long where a processor draws.
            self._model.vis.quality.offsamples = 0
            self._renderer = mujoco.Renderer(self._model, height, width)
            # Runs before the end of EGL, which MuJoCo has registered by now; after it would fail.
            atexit.register(self._renderer.close)
        pictures = []
        for camera in self.contract.cameras:
            self._renderer.update_scene(self._data, camera=camera.topic, scene_option=_VISUAL)
            pictures.append(self._renderer.render())
        return tuple(pictures)

    def project(self, points: Array) -> Array:
        """Where each camera sees (N, 3) points of the robot's base frame [m].

        Returns:
            (cameras, N, 2) pixel coordinates, x right and y down, in 0..1 where in view.
        """
        return np.stack([self._project(camera.topic, points) for camera in self.contract.cameras])

    def close(self) -> None:
        """Free renderer and simulation."""
        if self._renderer is not None:
            atexit.unregister(self._renderer.close)
            self._renderer.close()
            self._renderer = None
        self._control.close()

    @property
    def _model(self) -> mujoco.MjModel:
        return self._control.sim.model._model

    @property
    def _data(self) -> mujoco.MjData:
        return self._control.sim.data._data

    def _reset(self) -> None:
        # LIBERO's sampler puts a thing on a fixture as if that stood where a new model has it.
        for fixture in self._env.fixtures_dict.values():
            body = self._model.body(fixture.root_body).id
            self._model.body_pos[body] = 0.0
            self._model.body_quat[body] = (1.0, 0.0, 0.0, 0.0)
        self._control.reset()

    def _places(self) -> Array:
        return self._data.xpos[list(self._env.obj_body_id.values())]

    def _settle(self) -> None:
        for _ in range(SETTLE_STEPS):
            self.step(_STAND_STILL)

    def _project(self, camera: str, points: Array) -> Array:
        view = self._data.camera(camera)
        local = (points + self._base - view.xpos) @ view.xmat.reshape(3, 3)
        scale = 0.5 / np.tan(0.5 * np.radians(self._model.camera(camera).fovy[0]))
        # A point behind the camera is in nobody's view.
        depth = np.where(local[:, 2] < 0.0, -local[:, 2], np.nan)
        x, y = 0.5 + scale * local[:, 0] / depth, 0.5 - scale * local[:, 1] / depth
        return np.nan_to_num(np.column_stack([x, y]), nan=-1.0)
