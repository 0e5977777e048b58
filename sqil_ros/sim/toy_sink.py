# SPDX-License-Identifier: Apache-2.0
"""The toy sink as a plant: physics behind joint commands, cameras, and the judge's view."""

from __future__ import annotations

import mujoco
import numpy as np

from sqil_ros.contract import Contract
from sqil_ros.geometry import base_link_from_base
from sqil_ros.kinematics import ARMS, forward
from sqil_ros.sim.layout import random_layout
from sqil_ros.sim.model import GRIPPER, JOINTS, build_model, gripper_control, gripper_opening
from sqil_ros.sim.objects import DISTRACTORS, TASK_OBJECTS
from sqil_ros.sim.tasks import SceneState
from sqil_ros.sim.variation import Appearance, apply_variation, require_variation
from sqil_ros.types import Array, Image, Pose

CAMERAS = ('image', f'{GRIPPER}wrist')
_SETTLE_STEPS = 100
# The 2F-85 closes in about 0.6 s; the actuator's own law would snap shut at once.
_GRIPPER_SPEED = 1.0 / 0.6


class ToySink:
    """The scene of one robot. Not thread safe; rendering stays on the thread that starts it."""

    def __init__(
        self,
        contract: Contract | None = None,
        variation: str = 'nominal',
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        """Build the scene with the arm at home and the objects out of sight.

        Args:
            contract: robot, home and image size; the default contract if None.
            variation: one of ``sqil_ros.sim.variation.VARIATIONS``.
            height: image height in pixels, the contract's if None.
            width: image width in pixels, the contract's if None.

        Raises:
            SceneError: unknown variation, or the robot's assets are missing.
        """
        self.contract = contract or Contract.load()
        self.variation = require_variation(variation)
        self._items = TASK_OBJECTS + (DISTRACTORS if variation == 'distractors' else ())
        self._model = build_model(distractors=variation == 'distractors')
        self._data = mujoco.MjData(self._model)
        self._height = height or self.contract.image_height
        self._width = width or self.contract.image_width
        self._nominal = Appearance.of(self._model)
        self._renderer: mujoco.Renderer | None = None
        self._driver = self._model.joint(f'{GRIPPER}right_driver_joint').qposadr[0]
        self._on_gripper = np.array(
            [self._model.body(body).name.startswith(GRIPPER) for body in self._model.geom_bodyid]
        )
        self._opening_command = 1.0
        self._place_arm()

    # ---- physics -------------------------------------------------------------------------

    def reset(self, seed: int, keep_arm: bool = False) -> None:
        """Put the objects to the seed's places and let them settle.

        Args:
            seed: decides the layout and the variation.
            keep_arm: leave the arm where it is (a robot that homes itself) instead of at home.
        """
        if not keep_arm:
            self._place_arm()
        layout = random_layout(seed, distractors=self.variation == 'distractors')
        for item in self._items:
            place = layout[item.name]
            joint = self._data.joint(item.name)
            joint.qpos[:3] = place.x, place.y, item.rest_height
            joint.qpos[3:] = np.cos(0.5 * place.yaw), 0.0, 0.0, np.sin(0.5 * place.yaw)
            joint.qvel[:] = 0.0
        self.dress(seed)
        for _ in range(_SETTLE_STEPS):
            mujoco.mj_step(self._model, self._data)

    def dress(self, seed: int) -> None:
        """Give the scene the looks that its variation has for ``seed``."""
        apply_variation(self._model, self._nominal, self.variation, seed)
        if self._renderer is not None:
            texture = self._model.texture('counter').id
            mujoco.mjr_uploadTexture(self._model, self._renderer._mjr_context, texture)

    def step(self, q_command: Array, opening_command: float, dt: float) -> None:
        """Run the physics for ``dt`` seconds.

        Args:
            q_command: (6,) joint angles [rad] the arm's servos hold.
            opening_command: gripper opening wanted, 1 = open.
            dt: a multiple of the physics time step [s].
        """
        travel = _GRIPPER_SPEED * dt
        self._opening_command += float(
            np.clip(opening_command - self._opening_command, -travel, travel)
        )
        self._data.ctrl[:6] = q_command
        self._data.ctrl[6] = gripper_control(self._opening_command)
        mujoco.mj_step(self._model, self._data, max(1, round(dt / self._model.opt.timestep)))

    def joints(self) -> tuple[Array, Array]:
        """Measured joint angles [rad] and speeds [rad/s], (6,) each."""
        return self._data.qpos[:6].copy(), self._data.qvel[:6].copy()

    def gripper_opening(self) -> float:
        """Measured opening of the gripper, 1 = open."""
        return float(np.clip(gripper_opening(self._data.qpos[self._driver]), 0.0, 1.0))

    def gripper_object_detected(self) -> bool:
        """Whether the closing fingers were stopped by something."""
        return self.gripper_opening() - self._opening_command > 0.05

    def tcp_wrench(self) -> Array:
        """(6,) contact force [N] and torque [Nm] on the gripper about the TCP, ``base_link``."""
        tcp = self._data.site(f'{GRIPPER}pinch').xpos
        wrench, contact = np.zeros(6), np.zeros(6)
        ours = self._on_gripper[self._data.contact.geom]
        for i in np.flatnonzero(ours[:, 0] != ours[:, 1]):
            mujoco.mj_contactForce(self._model, self._data, i, contact)
            force = self._data.contact.frame[i].reshape(3, 3).T @ contact[:3]
            force = force if ours[i, 1] else -force
            wrench[:3] += force
            wrench[3:] += np.cross(self._data.contact.pos[i] - tcp, force)
        return wrench

    # ---- what the judge and the expert see -------------------------------------------------

    def tcp(self) -> Pose:
        """Measured TCP in ``base_link``, through the nominal kinematics a controller reports."""
        arm = ARMS[self.contract.robot]
        return base_link_from_base(forward(arm, self._data.qpos[:6], self.contract.tcp))

    def state(self) -> SceneState:
        """Poses of the gripper and of every object."""
        objects = {}
        for item in self._items:
            body = self._data.body(item.name)
            w, x, y, z = body.xquat
            objects[item.name] = Pose(body.xpos.copy(), np.array([x, y, z, w]))
        return SceneState(self.tcp(), self.gripper_opening(), objects)

    # ---- pictures --------------------------------------------------------------------------

    def qpos(self) -> Array:
        """Generalised position of the whole scene; a renderer elsewhere needs nothing else."""
        return self._data.qpos.copy()

    def set_qpos(self, qpos: Array) -> None:
        """Show the scene at ``qpos`` without running physics."""
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def render(self) -> tuple[Image, Image]:
        """Third-person and wrist picture, (H, W, 3) uint8 RGB each."""
        if self._renderer is None:
            # A buffer larger than the picture costs as if all of it were drawn.
            self._model.vis.global_.offwidth = self._width
            self._model.vis.global_.offheight = self._height
            self._renderer = mujoco.Renderer(self._model, self._height, self._width)
        pictures = []
        for camera in CAMERAS:
            self._renderer.update_scene(self._data, camera=camera)
            for effect in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._renderer.scene.flags[effect] = 0
            pictures.append(self._renderer.render())
        return pictures[0], pictures[1]

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def project(self, camera: str, points: Array) -> Array:
        """Pixel coordinates (N, 2), x right and y down in 0..1, of (N, 3) world points [m]."""
        view = self._data.camera(camera)
        rotation = view.xmat.reshape(3, 3)
        local = (points - view.xpos) @ rotation
        scale = 0.5 / np.tan(0.5 * np.radians(self._model.camera(camera).fovy[0]))
        depth = np.maximum(-local[:, 2], 1e-3)
        aspect = self._width / self._height
        return np.column_stack(
            [0.5 + scale * local[:, 0] / depth / aspect, 0.5 - scale * local[:, 1] / depth]
        )

    def _place_arm(self) -> None:
        mujoco.mj_resetData(self._model, self._data)
        home = np.array(self.contract.home)
        for name, angle in zip(JOINTS, home, strict=True):
            self._data.joint(name).qpos = angle
        self._data.ctrl[:6] = home
        self._data.ctrl[6] = gripper_control(1.0)
        self._opening_command = 1.0
        mujoco.mj_forward(self._model, self._data)
