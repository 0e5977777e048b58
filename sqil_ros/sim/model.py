# SPDX-License-Identifier: Apache-2.0
"""The toy-sink scene as a MuJoCo model: counter, sink, UR5e with 2F-85, objects, cameras.

The world frame is REP-103 ``base_link``: origin at the robot's foot, x forward, z up.
"""

from __future__ import annotations

import mujoco
import numpy as np

from sqil_ros.sim.meshes import simplified_model
from sqil_ros.sim.objects import DISTRACTORS, EVERYTHING, TASK_OBJECTS, add_object

GEOM = mujoco.mjtGeom
TIMESTEP_S = 0.002
GRIPPER = 'g_'
JOINTS = (
    'shoulder_pan_joint',
    'shoulder_lift_joint',
    'elbow_joint',
    'wrist_1_joint',
    'wrist_2_joint',
    'wrist_3_joint',
)


def build_model(distractors: bool = False) -> mujoco.MjModel:
    """Compile the scene.

    Args:
        distractors: add objects that no task needs.

    Raises:
        SceneError: the robot's assets are not installed.
    """
    spec = mujoco.MjSpec()
    spec.modelname = 'toy_sink'
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0
    # Few triangles: on a software renderer their number sets the frame rate.
    spec.visual.quality.numquads = 1
    spec.visual.quality.numslices = 20
    spec.visual.quality.numstacks = 10
    spec.visual.headlight.ambient = [0.35, 0.35, 0.35]
    spec.visual.headlight.diffuse = [0.35, 0.35, 0.35]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    _add_kitchen(spec)
    _add_robot(spec)
    for i, item in enumerate(TASK_OBJECTS + (DISTRACTORS if distractors else ())):
        add_object(spec.worldbody, item, (-2.0 - 0.3 * i, 0.0))
    return spec.compile()


def _add_kitchen(spec: mujoco.MjSpec) -> None:
    spec.add_texture(
        name='counter',
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=[0.78, 0.72, 0.63],
        width=64,
        height=64,
    )
    counter = spec.add_material(name='counter')
    textures = list(counter.textures)
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = 'counter'
    counter.textures = textures
    world = spec.worldbody
    world.add_light(
        name='lamp', pos=[0.6, -0.3, 1.6], dir=[-0.1, 0.15, -1.0], diffuse=[0.55] * 3,
        specular=[0.1] * 3, castshadow=False,
    )  # fmt: skip
    world.add_geom(
        name='counter', type=GEOM.mjGEOM_BOX, size=[0.50, 0.65, 0.02], pos=[0.42, 0.0, -0.02],
        material='counter', friction=[0.9, 0.01, 0.0005],
    )  # fmt: skip
    scenery = {'contype': 0, 'conaffinity': 0}
    world.add_geom(
        type=GEOM.mjGEOM_PLANE, size=[3.0, 3.0, 0.1], pos=[0.0, 0.0, -0.75],
        rgba=[0.42, 0.40, 0.38, 1.0],
    )  # fmt: skip
    world.add_geom(
        type=GEOM.mjGEOM_CYLINDER, size=[0.09, 0.355, 0.0], pos=[0.0, 0.0, -0.385],
        rgba=[0.3, 0.3, 0.32, 1.0], **scenery,
    )  # fmt: skip
    # The sink is an inlay flush with the counter, so that objects may lie across its edge.
    world.add_geom(
        type=GEOM.mjGEOM_BOX, size=[0.15, 0.13, 0.0004], pos=[0.50, 0.15, 0.0],
        rgba=[0.62, 0.64, 0.67, 1.0], **scenery,
    )  # fmt: skip
    world.add_geom(
        type=GEOM.mjGEOM_BOX, size=[0.13, 0.11, 0.0008], pos=[0.50, 0.15, 0.0],
        rgba=[0.50, 0.52, 0.55, 1.0], **scenery,
    )  # fmt: skip
    for start, end, radius in (
        ((0.78, 0.20, 0.0), (0.78, 0.20, 0.20), 0.014),
        ((0.78, 0.20, 0.20), (0.70, 0.19, 0.22), 0.010),
    ):
        world.add_geom(
            type=GEOM.mjGEOM_CAPSULE, fromto=[*start, *end], size=[radius, 0.0, 0.0],
            rgba=[0.75, 0.76, 0.78, 1.0],
        )  # fmt: skip
    add_camera(world, 'image', (1.08, -0.38, 0.72), (0.46, -0.03, 0.07), 40.0)


def add_camera(
    body: mujoco.MjsBody,
    name: str,
    position: tuple[float, float, float],
    target: tuple[float, float, float],
    fovy_deg: float,
    up: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> None:
    """Add a camera at ``position`` that looks at ``target``, both in the body's frame [m]."""
    body.add_camera(name=name, pos=position, quat=look_at(position, target, up), fovy=fovy_deg)


def look_at(
    position: tuple[float, ...], target: tuple[float, ...], up: tuple[float, ...]
) -> list[float]:
    """Quaternion (w, x, y, z) of a MuJoCo camera: it looks along -z with y upwards."""
    backward = np.subtract(position, target)
    backward = backward / np.linalg.norm(backward)
    right = np.cross(up, backward)
    right = right / np.linalg.norm(right)
    rotation = np.column_stack([right, np.cross(backward, right), backward])
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    return quaternion.tolist()


def _add_robot(spec: mujoco.MjSpec) -> None:
    arm = mujoco.MjSpec.from_file(str(simplified_model('ur5e')))
    hand = mujoco.MjSpec.from_file(str(simplified_model('2f85')))
    palm = next(body for body in hand.bodies if body.name == 'base')
    add_camera(
        palm, 'wrist', (-0.085, 0.0, 0.050), (-0.004, 0.0, 0.165), 70.0, up=(-1.0, 0.0, 0.3)
    )
    arm.attach(hand, prefix=GRIPPER, site=arm.site('attachment_site'))
    # Menagerie keeps UR's `base`; half a turn about z makes it REP-103 `base_link`.
    half_turn = spec.worldbody.add_frame(quat=[0.0, 0.0, 0.0, 1.0])
    spec.attach(arm, prefix='', frame=half_turn)
    for body in spec.bodies:
        if _belongs_to_robot(body):
            body.gravcomp = 1.0
    for actuator in spec.actuators:
        if actuator.name.startswith(GRIPPER):
            continue
        stiffness = 1500.0 if 'wrist' in actuator.name else 4000.0
        actuator.gainprm[0] = stiffness
        actuator.biasprm[1] = -stiffness
        actuator.biasprm[2] = -0.08 * stiffness
    for geom in spec.geoms:
        if geom.name.startswith(f'{GRIPPER}right_pad') or geom.name.startswith(
            f'{GRIPPER}left_pad'
        ):
            geom.condim = 4
            geom.friction = [1.0, 0.02, 0.0005]
        if geom.contype == 1 and _belongs_to_robot(geom.parent):
            geom.contype = geom.conaffinity = EVERYTHING


def _belongs_to_robot(body: mujoco.MjsBody) -> bool:
    while body.name != 'world':
        if body.name == 'base' or body.name.startswith(GRIPPER):
            return True
        body = body.parent
    return False


def gripper_opening(driver_angle: float) -> float:
    """Opening (1 = open) of the 2F-85 for the angle of its driver joint [rad]."""
    return 1.0 - driver_angle / 0.8


def gripper_control(opening: float) -> float:
    """Actuator control 0..255 for an opening; inverse sense, as on the Robotiq socket."""
    return 255.0 * (1.0 - opening)
