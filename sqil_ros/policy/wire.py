# SPDX-License-Identifier: Apache-2.0
"""What travels between a node and its policy's process, as bytes; every pair is an inverse."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sqil_ros import errors
from sqil_ros.errors import SqilError
from sqil_ros.policy.base import PolicyDescription
from sqil_ros.types import ActionChunk, Array, Image, Observation

RESET = b'reset'
LOOK = b'look '
DONE = b'{}'


@dataclass(frozen=True)
class LoadRequest:
    """Which policy a process serves; the first message to it. See ``load_policy``.

    A process in the ``background`` leaves the processor to whoever else wants it.
    """

    checkpoint: str
    profile: str
    contract: str
    device: str
    threads: int
    engine: str
    background: bool = False


@dataclass(frozen=True)
class LiveSaliency:
    """What an answer hung on.

    Attributes:
        score: State Importance Score, see :class:`sqil_ros.saliency.PictureSaliency`.
        maps: (cameras, N, N) local saliency.
        picture: (H, W, 3) uint8 RGB, the cameras' pictures side by side under their maps.
    """

    score: float
    maps: Array
    picture: Image


def load_request_to_bytes(request: LoadRequest) -> bytes:
    """Inverse of :func:`load_request_from_bytes`."""
    return json.dumps(asdict(request)).encode()


def load_request_from_bytes(data: bytes) -> LoadRequest:
    """Inverse of :func:`load_request_to_bytes`."""
    return LoadRequest(**json.loads(data))


def observation_to_bytes(observation: Observation) -> bytes:
    """One line of JSON, then state, command and pictures as they lie in memory."""
    head = {
        'instruction': observation.instruction,
        'stamp_ns': observation.stamp_ns,
        'shapes': [image.shape for image in observation.images],
    }
    numbers = np.concatenate([observation.state, observation.command]).astype('<f8')
    pictures = [np.ascontiguousarray(image, np.uint8).tobytes() for image in observation.images]
    return b''.join([json.dumps(head).encode(), b'\n', numbers.tobytes(), *pictures])


def observation_from_bytes(data: bytes) -> Observation:
    """Inverse of :func:`observation_to_bytes`; the arrays are read-only."""
    end = data.index(b'\n')
    head = json.loads(data[:end])
    numbers = np.frombuffer(data, '<f8', 14, end + 1)
    at, images = end + 1 + numbers.nbytes, []
    for shape in head['shapes']:
        image = np.frombuffer(data, np.uint8, int(np.prod(shape)), at).reshape(shape)
        images.append(image)
        at += image.nbytes
    return Observation(
        tuple(images), numbers[:7], numbers[7:], head['instruction'], head['stamp_ns']
    )


def look_to_bytes(observation: Observation, side: int) -> bytes:
    """The question what the answer to ``observation`` hangs on, on a grid of ``side`` cells."""
    return LOOK + str(side).encode() + b'\n' + observation_to_bytes(observation)


def look_from_bytes(data: bytes) -> tuple[Observation, int]:
    """Inverse of :func:`look_to_bytes`."""
    head, _, observation = data.partition(b'\n')
    return observation_from_bytes(observation), int(head.removeprefix(LOOK))


def saliency_to_bytes(saliency: LiveSaliency) -> bytes:
    """One line of JSON, then the picture as it lies in memory."""
    head = _answer(score=saliency.score, maps=saliency.maps.tolist(), shape=saliency.picture.shape)
    return head + b'\n' + np.ascontiguousarray(saliency.picture, np.uint8).tobytes()


def saliency_from_bytes(data: bytes) -> LiveSaliency:
    """Inverse of :func:`saliency_to_bytes`, or raises what :func:`error_to_bytes` was given."""
    head, _, pixels = data.partition(b'\n')
    answer = _read(head)
    picture = np.frombuffer(pixels, np.uint8).reshape(answer['shape'])
    return LiveSaliency(answer['score'], np.array(answer['maps'], np.float64), picture)


def chunk_to_bytes(chunk: ActionChunk) -> bytes:
    """JSON; a double survives it unchanged, NaN and infinity too."""
    return _answer(actions=np.asarray(chunk.actions).tolist(), spans=dict(chunk.spans))


def chunk_from_bytes(data: bytes) -> ActionChunk:
    """Inverse of :func:`chunk_to_bytes`, or raises what :func:`error_to_bytes` was given."""
    answer = _read(data)
    return ActionChunk(np.array(answer['actions'], np.float64), answer['spans'])


def description_to_bytes(description: PolicyDescription) -> bytes:
    """Inverse of :func:`description_from_bytes`."""
    return _answer(**asdict(description))


def description_from_bytes(data: bytes) -> PolicyDescription:
    """Inverse of :func:`description_to_bytes`, or raises what :func:`error_to_bytes` was given."""
    return PolicyDescription(**_read(data))


def error_to_bytes(error: Exception) -> bytes:
    """An answer that raises when it is read: a named error as itself, others as RuntimeError."""
    named = isinstance(error, SqilError)
    return json.dumps(
        {
            'error': type(error).__name__ if named else 'RuntimeError',
            'message': str(error) if named else repr(error),
        }
    ).encode()


def check_done(data: bytes) -> None:
    """Raise what :func:`error_to_bytes` was given, if it is that and not :data:`DONE`."""
    _read(data)


def _answer(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _read(data: bytes) -> dict[str, Any]:
    answer = json.loads(data)
    if 'error' in answer:
        raise getattr(errors, answer['error'], RuntimeError)(answer['message'])
    return answer
