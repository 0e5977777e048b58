# SPDX-License-Identifier: Apache-2.0
"""The contract: topics, rates, frames, cameras and the action convention, and their hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

from sqil_ros.errors import ContractMismatch
from sqil_ros.geometry import (
    pose_from_vector,
    quat_conjugate,
    quat_from_rotvec,
    quat_multiply,
    rotvec_from_quat,
)
from sqil_ros.share import share_directory
from sqil_ros.types import Array, Pose

DEFAULT_PATH = share_directory() / 'config' / 'contract.yaml'


@dataclass(frozen=True)
class Camera:
    """A camera's name in episodes and the topic it arrives on."""

    name: str
    topic: str


@dataclass(frozen=True)
class Contract:
    """See ``config/contract.yaml`` for what each field means. Lengths in metres, angles in rad."""

    robot: str
    frame: str
    rate_hz: float
    action_delay_s: float
    cameras: tuple[Camera, ...]
    image_height: int
    image_width: int
    image_encoding: str
    rotation: str
    gripper: str
    state: str
    tool_down: tuple[float, float, float, float]
    tcp_offset: tuple[float, ...]
    home: tuple[float, ...]

    @classmethod
    def load(cls, path: Path = DEFAULT_PATH) -> Contract:
        """Read and check a contract file.

        Raises:
            ContractMismatch: the file is missing, or a field is unknown, absent or malformed.
        """
        if not path.is_file():
            raise ContractMismatch(f'No contract at {path}; pass the path of a contract.yaml.')
        return cls.parse(path.read_text(encoding='utf-8'), str(path))

    @classmethod
    def parse(cls, text: str, source: str) -> Contract:
        """Read YAML or JSON that came from ``source``.

        Raises:
            ContractMismatch: a field is unknown, absent or malformed.
        """
        raw = yaml.safe_load(text)
        wanted = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(raw, dict) or set(raw) != wanted:
            found = set(raw) if isinstance(raw, dict) else set()
            raise ContractMismatch(
                f'{source}: missing fields {sorted(wanted - found)}, unknown fields '
                f'{sorted(found - wanted)}; a contract has exactly {sorted(wanted)}.'
            )
        raw['cameras'] = tuple(Camera(**camera) for camera in raw['cameras'])
        for name, lengths in (('tool_down', (4,)), ('tcp_offset', (6,)), ('home', (6, 7))):
            raw[name] = tuple(float(value) for value in raw[name])
            if len(raw[name]) not in lengths:
                raise ContractMismatch(
                    f'{source}: {name} has {len(raw[name])} values; it needs '
                    f'{" or ".join(map(str, lengths))}.'
                )
        return cls(**raw)

    def to_json(self) -> str:
        """Every field in a canonical order; :meth:`parse` reads it back."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(',', ':'))

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over the canonical JSON of every field."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def period_s(self) -> float:
        """Seconds between two control steps."""
        return 1.0 / self.rate_hz

    @cached_property
    def tcp(self) -> Pose:
        """Tool centre point seen from the flange."""
        return pose_from_vector(np.array(self.tcp_offset))

    def require_hash(self, found: str, holder: str) -> None:
        """Refuse data made under another contract.

        Raises:
            ContractMismatch: ``found`` is not this contract's hash; ``holder`` says whose it is.
        """
        if found != self.hash:
            raise ContractMismatch(
                f'{holder} was made under contract {found}, but this robot runs contract '
                f'{self.hash}; use data of this robot, or start with the contract.yaml it was '
                'made with.'
            )


def state_from_pose(contract: Contract, pose: Pose, gripper_opening: float) -> Array:
    """(7,) policy state (or command) of a TCP pose in ``base_link`` and a gripper opening."""
    tilt = quat_multiply(pose.quaternion, quat_conjugate(np.array(contract.tool_down)))
    return np.concatenate([pose.position, rotvec_from_quat(tilt), [gripper_opening]])


def pose_from_state(contract: Contract, state: Array) -> tuple[Pose, float]:
    """Inverse of :func:`state_from_pose`."""
    rotation = quat_multiply(quat_from_rotvec(state[3:6]), np.array(contract.tool_down))
    return Pose(np.array(state[:3], dtype=float), rotation), float(state[6])
