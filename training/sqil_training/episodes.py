# SPDX-License-Identifier: Apache-2.0
"""Bridge-shaped episodes on disk, with the pickles replaced by parquet and JSON.

<root>/<task>/<collection>/raw/traj_group{i // 1000}/traj{i}/
    images0/im_{t}.jpg   images1/im_{t}.jpg     one folder per camera of the contract
    lang.txt                                    the instruction
    steps.parquet                               one row per step, see `Episode`
    episode.json                                schema, contract hash, success, seed, origin
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sqil_ros.errors import EpisodeError
from sqil_ros.types import Array, Image, Observation

SCHEMA_VERSION = 1
# Full chroma and high quality: saliency is later computed from the same decoded pictures.
_JPEG = [
    cv2.IMWRITE_JPEG_QUALITY, 95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]  # fmt: skip


@dataclass(frozen=True)
class Episode:
    """T steps of one demonstration.

    Attributes:
        task: task name.
        instruction: sentence given.
        contract: hash of the contract it was recorded under.
        seed: seed of the initial state, -1 on a real robot.
        success: whether the task was achieved.
        origin: who acted (``expert``, ``expert+noise``, ``dagger``, ``teleoperation``).
        stamps_ns: (T,) observation times.
        states: (T, 7) measured, see :class:`sqil_ros.types.Observation`.
        commands: (T, 7) commanded.
        actions: (T, 7) labels to imitate.
        executed: (T, 7) what was really done (differs where noise or a learner acted).
        pictures: per camera, T JPEG files as bytes.
        privileged: named (T, ...) arrays known in simulation only (object poses, key points).
    """

    task: str
    instruction: str
    contract: str
    seed: int
    success: bool
    origin: str
    stamps_ns: np.ndarray
    states: Array
    commands: Array
    actions: Array
    executed: Array
    pictures: tuple[tuple[bytes, ...], ...]
    privileged: dict[str, Array] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)


def encode_picture(image: Image) -> bytes:
    """(H, W, 3) uint8 RGB to JPEG bytes."""
    ok, data = cv2.imencode('.jpg', image[:, :, ::-1], _JPEG)
    if not ok:
        raise EpisodeError(f'A picture of shape {image.shape} could not be encoded as JPEG.')
    return data.tobytes()


def decode_picture(data: bytes) -> Image:
    """JPEG bytes to (H, W, 3) uint8 RGB; inverse of :func:`encode_picture` up to JPEG loss.

    Raises:
        EpisodeError: the bytes are not a picture.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise EpisodeError(f'{len(data)} bytes do not decode as a picture; record it again.')
    return np.ascontiguousarray(image[:, :, ::-1])


def episode_folder(root: Path, task: str, collection: str, index: int) -> Path:
    """Folder of episode ``index`` of a collection."""
    return root / task / collection / 'raw' / f'traj_group{index // 1000}' / f'traj{index}'


def write_episode(folder: Path, episode: Episode) -> None:
    """Write ``episode``; ``episode.json`` comes last, so a folder that has it is complete.

    Raises:
        EpisodeError: the folder holds an episode already.
    """
    if (folder / 'episode.json').exists():
        raise EpisodeError(f'{folder} holds an episode already; choose another collection name.')
    for camera, pictures in enumerate(episode.pictures):
        images = folder / f'images{camera}'
        images.mkdir(parents=True, exist_ok=True)
        for t, data in enumerate(pictures):
            (images / f'im_{t}.jpg').write_bytes(data)
    (folder / 'lang.txt').write_text(episode.instruction + '\n', encoding='utf-8')
    columns = {
        't': pa.array(np.arange(len(episode))),
        'stamp_ns': pa.array(episode.stamps_ns),
        'state': _rows(episode.states),
        'command': _rows(episode.commands),
        'action': _rows(episode.actions),
        'executed': _rows(episode.executed),
    }
    for name, values in episode.privileged.items():
        columns[f'privileged.{name}'] = _rows(values.reshape(len(values), -1))
    pq.write_table(pa.table(columns), folder / 'steps.parquet')
    header = {
        'schema': SCHEMA_VERSION,
        'task': episode.task,
        'contract': episode.contract,
        'seed': episode.seed,
        'success': episode.success,
        'origin': episode.origin,
        'steps': len(episode),
        'cameras': len(episode.pictures),
    }
    (folder / 'episode.json').write_text(json.dumps(header, indent=1) + '\n', encoding='utf-8')


def read_episode(folder: Path) -> Episode:
    """Read and check one episode; inverse of :func:`write_episode`.

    Raises:
        EpisodeError: a file is missing, the schema is another, or counts disagree.
    """
    header_file = folder / 'episode.json'
    if not header_file.is_file():
        raise EpisodeError(f'{folder} has no episode.json; the recording was cut off, drop it.')
    header = json.loads(header_file.read_text(encoding='utf-8'))
    if header.get('schema') != SCHEMA_VERSION:
        raise EpisodeError(
            f'{header_file}: schema {header.get("schema")}, this version reads {SCHEMA_VERSION}; '
            'convert the bag again.'
        )
    language = folder / 'lang.txt'
    if not language.is_file() or not language.read_text(encoding='utf-8').strip():
        raise EpisodeError(f'{folder} has no instruction in lang.txt; write one line into it.')
    table = pq.read_table(folder / 'steps.parquet')
    if table.num_rows != header['steps']:
        raise EpisodeError(
            f'{folder}: {table.num_rows} rows in steps.parquet, {header["steps"]} announced; '
            'record it again.'
        )
    pictures = []
    for camera in range(header['cameras']):
        files = [folder / f'images{camera}' / f'im_{t}.jpg' for t in range(header['steps'])]
        absent = [file.name for file in files if not file.is_file()]
        if absent:
            raise EpisodeError(f'{folder}/images{camera} lacks {absent[0]}; record it again.')
        pictures.append(tuple(file.read_bytes() for file in files))
    return Episode(
        task=header['task'],
        instruction=language.read_text(encoding='utf-8').splitlines()[0].strip(),
        contract=header['contract'],
        seed=header['seed'],
        success=header['success'],
        origin=header['origin'],
        stamps_ns=table['stamp_ns'].to_numpy(),
        states=_matrix(table, 'state'),
        commands=_matrix(table, 'command'),
        actions=_matrix(table, 'action'),
        executed=_matrix(table, 'executed'),
        pictures=tuple(pictures),
        privileged={
            name.removeprefix('privileged.'): _matrix(table, name)
            for name in table.column_names
            if name.startswith('privileged.')
        },
    )


def episode_folders(root: Path) -> Iterator[Path]:
    """Every complete episode under ``root``, in a stable order."""
    for header in sorted(root.glob('*/*/raw/traj_group*/traj*/episode.json')):
        yield header.parent


def episode_name(folder: Path) -> str:
    """What an episode is called wherever its tree lies: ``task/collection/raw/group/traj``."""
    return '/'.join(folder.parts[-5:])


def observation_at(episode: Episode, step: int) -> Observation:
    """What the policy saw at a step, pictures decoded."""
    return Observation(
        images=tuple(decode_picture(camera[step]) for camera in episode.pictures),
        state=episode.states[step],
        command=episode.commands[step],
        instruction=episode.instruction,
        stamp_ns=int(episode.stamps_ns[step]),
    )


def episode_digest(episode: Episode) -> str:
    """Fingerprint (hex) of everything that a policy sees and that is its label."""
    digest = hashlib.sha256(episode.instruction.encode())
    for values in (episode.states, episode.commands, episode.actions):
        digest.update(np.ascontiguousarray(values).tobytes())
    for camera in episode.pictures:
        for picture in camera:
            digest.update(hashlib.sha256(picture).digest())
    return digest.hexdigest()


def _rows(values: Array) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(values, dtype=np.float64).ravel()), values.shape[1]
    )


def _matrix(table: pa.Table, name: str) -> Array:
    column = table[name].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float64).reshape(table.num_rows, -1)
