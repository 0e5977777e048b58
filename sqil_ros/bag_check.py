# SPDX-License-Identifier: Apache-2.0
"""Can a policy learn from this recording? Refuses what nobody could make episodes of."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError

from sqil_ros.bag import contract_of, typestore_with
from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.errors import EpisodeError, SqilError
from sqil_ros.observation import GRIPPER, TARGET_POSE, TCP_POSE
from sqil_ros.preprocess import image_from_buffer
from sqil_ros.share import share_directory

INSTRUCTION = 'instruction'
_SAY_IT = (
    'Publish one text on the latched topic `instruction` before the demonstration begins; a '
    'recording without it cannot be mended.'
)
_START_FIRST = 'Start the nodes that publish it before the recorder, or name their --namespace.'
_EXAMPLES = """examples:
  sqil-check-bag out/demo/bag
  sqil-check-bag bags/monday --namespace /left --contract our_robot.yaml
"""


@dataclass(frozen=True)
class BagSummary:
    """What a usable recording holds.

    Attributes:
        seconds: from the first message to the last.
        instructions: every text in order, without repetition.
        counts: messages per needed topic.
    """

    seconds: float
    instructions: tuple[str, ...]
    counts: Mapping[str, int]


def check_bag(bag: Path, contract: Contract, namespace: str = '') -> BagSummary:
    """Look at everything a converter needs, and at one image of each camera.

    Args:
        bag: directory of a recording.
        contract: of the robot that shall learn.
        namespace: of the robot's topics, such as ``/left``.

    Raises:
        ContractMismatch: not closed, without a contract, or of another robot.
        EpisodeError: damaged, or a needed topic or the instruction is missing.
        ObservationError: an image of another size or encoding.
    """
    contract.require_hash(contract_of(bag)[0], f'Bag {bag}')
    cameras = {f'{namespace}/{camera.topic}': camera.name for camera in contract.cameras}
    instruction = f'{namespace}/{INSTRUCTION}'
    state = [f'{namespace}/{topic}' for topic in (TCP_POSE, TARGET_POSE, GRIPPER)]
    try:
        with Reader(bag) as reader:
            found = {c.topic: c for c in reader.connections if c.msgcount}
            _require(bag, [*cameras, *state], found, _START_FIRST)
            _require(bag, [instruction], found, _SAY_IT)
            for topic, camera in cameras.items():
                _check_image(contract, camera, next(_messages(reader, found[topic])))
            texts = [message.data.strip() for message in _messages(reader, found[instruction])]
            seconds = reader.duration / 1e9
    except ReaderError as error:
        raise EpisodeError(f'{bag} cannot be read ({error}); copy it again.') from error
    spoken = tuple(dict.fromkeys(filter(None, texts)))
    if not spoken:
        raise EpisodeError(f'{bag} has only empty instructions. {_SAY_IT}')
    counts = {topic: found[topic].msgcount for topic in [*cameras, instruction, *state]}
    return BagSummary(seconds, spoken, counts)


def _require(bag: Path, topics: Sequence[str], found: Mapping[str, Connection], mend: str) -> None:
    missing = [topic for topic in topics if topic not in found]
    if missing:
        raise EpisodeError(f'{bag} has no message on {", ".join(missing)}. {mend}')


def _messages(reader: Reader, connection: Connection) -> Iterator[Any]:
    store = typestore_with('sqil_ros', share_directory() / 'msg')
    for _, _, raw in reader.messages([connection]):
        yield store.deserialize_cdr(raw, connection.msgtype)


def _check_image(contract: Contract, camera: str, message: Any) -> None:
    image_from_buffer(
        contract,
        camera,
        message.data,
        height=message.height,
        width=message.width,
        step=message.step,
        encoding=message.encoding,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print what a recording holds; the status is 1 when it cannot be used."""
    parser = argparse.ArgumentParser(
        description=f'sqil-check-bag: {__doc__}',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('bag', type=Path, help='directory of a recording')
    parser.add_argument('--namespace', default='', help="of the robot's topics")
    parser.add_argument('--contract', type=Path, default=DEFAULT_PATH, help="the package's")
    arguments = parser.parse_args(argv)
    try:
        contract = Contract.load(arguments.contract)
        summary = check_bag(arguments.bag, contract, arguments.namespace.rstrip('/'))
    except SqilError as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    print(f'{arguments.bag}: {summary.seconds:.1f} s, usable')
    for topic, count in summary.counts.items():
        print(f'  {count:6d}  {topic}')
    for text in summary.instructions:
        print(f'  instruction: {text}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
