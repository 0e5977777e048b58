# SPDX-License-Identifier: Apache-2.0
"""Changes of appearance that a policy should survive, each a pure function of the seed."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from sqil_ros.errors import SceneError

VARIATIONS = ('nominal', 'lighting', 'camera', 'texture', 'distractors')


def require_variation(name: str) -> str:
    """``name`` itself.

    Raises:
        SceneError: there is no such variation.
    """
    if name not in VARIATIONS:
        raise SceneError(f'Unknown variation {name!r}; choose one of {", ".join(VARIATIONS)}.')
    return name


@dataclass(frozen=True)
class Appearance:
    """The nominal look of a model, kept so that every episode starts from it."""

    lamp: np.ndarray
    ambient: np.ndarray
    diffuse: np.ndarray
    camera_position: np.ndarray
    camera_fovy: np.ndarray
    texture: np.ndarray

    @classmethod
    def of(cls, model: mujoco.MjModel) -> Appearance:
        """Copy the look of ``model``."""
        return cls(
            model.light_diffuse.copy(),
            np.array(model.vis.headlight.ambient),
            np.array(model.vis.headlight.diffuse),
            model.cam_pos.copy(),
            model.cam_fovy.copy(),
            model.tex_data.copy(),
        )

    def restore(self, model: mujoco.MjModel) -> None:
        """Give ``model`` its nominal look back."""
        model.light_diffuse[:] = self.lamp
        model.vis.headlight.ambient = self.ambient
        model.vis.headlight.diffuse = self.diffuse
        model.cam_pos[:] = self.camera_position
        model.cam_fovy[:] = self.camera_fovy
        model.tex_data[:] = self.texture


def apply_variation(model: mujoco.MjModel, nominal: Appearance, name: str, seed: int) -> None:
    """Dress ``model`` for an episode; ``distractors`` is a matter of the layout, not of looks."""
    nominal.restore(model)
    rng = np.random.default_rng([seed, 11])
    if name == 'lighting':
        model.light_diffuse[:] = nominal.lamp * rng.uniform(0.4, 1.4)
        model.vis.headlight.ambient = nominal.ambient * rng.uniform(0.6, 1.3)
        model.vis.headlight.diffuse = nominal.diffuse * rng.uniform(0.6, 1.3)
    elif name == 'camera':
        camera = model.camera('image').id
        model.cam_pos[camera] = nominal.camera_position[camera] + rng.uniform(-0.03, 0.03, 3)
        model.cam_fovy[camera] = nominal.camera_fovy[camera] + rng.uniform(-1.5, 1.5)
    elif name == 'texture':
        _paint_counter(model, rng)


def _paint_counter(model: mujoco.MjModel, rng: np.random.Generator) -> None:
    """Stripes of two random tones in random direction, like planks or tiles."""
    texture = model.texture('counter')
    height, width, channels = int(texture.height[0]), int(texture.width[0]), 3
    tones = rng.uniform(90, 230, (2, channels))
    y, x = np.mgrid[0:height, 0:width]
    angle, stripes = rng.uniform(0, np.pi), rng.integers(3, 9)
    phase = (x * np.cos(angle) + y * np.sin(angle)) * stripes / width
    picture = tones[(np.floor(phase) % 2).astype(int)] + rng.normal(0, 6, (height, width, 1))
    start = int(texture.adr[0])
    flat = np.clip(picture, 0, 255).astype(np.uint8).ravel()
    model.tex_data[start : start + flat.size] = flat
