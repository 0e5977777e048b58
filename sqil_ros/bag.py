# SPDX-License-Identifier: Apache-2.0
"""Write serialised messages to a rosbag2 directory (MCAP) without slowing their source down.

The messages are stored as they came off the wire; nothing is decoded. The contract travels in
the bag's metadata, so that a converter can refuse a bag of another robot.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from sqil_ros.contract import Contract
from sqil_ros.errors import ContractMismatch, ParameterError

CONTRACT_KEY = 'sqil_ros.contract'
CONTRACT_HASH_KEY = 'sqil_ros.contract_hash'
_FOR_EVER = QosTime(0x7FFFFFFF, 0xFFFFFFFF)


def typestore_with(package: str, message_directory: Path) -> Typestore:
    """The message types of ROS 2 Jazzy and those of one more package.

    Args:
        package: its name.
        message_directory: holds its ``.msg`` files.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for path in sorted(message_directory.glob('*.msg')):
        text = path.read_text(encoding='utf-8')
        types.update(get_types_from_msg(text, f'{package}/msg/{path.stem}'))
    store.register(types)
    return store


def contract_of(bag: Path) -> tuple[str, str]:
    """Hash and YAML of the contract under which a bag was recorded.

    Raises:
        ContractMismatch: the bag was not closed, or carries no contract.
    """
    path = bag / 'metadata.yaml'
    if not path.is_file():
        raise ContractMismatch(
            f'{path} is missing; the bag was not closed. Run `ros2 bag reindex`.'
        )
    information = yaml.safe_load(path.read_text(encoding='utf-8'))['rosbag2_bagfile_information']
    custom = information.get('custom_data') or {}
    if CONTRACT_HASH_KEY not in custom:
        raise ContractMismatch(
            f'{bag} carries no contract, so nobody knows its frames and conventions; record with '
            'sqil_ros.nodes.recorder_node.'
        )
    return custom[CONTRACT_HASH_KEY], custom[CONTRACT_KEY]


def offered_qos(reliable: bool, latched: bool, depth: int = 1) -> Qos:
    """What a player must offer so that late joiners get what they got from the live system."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOR_EVER,
        lifespan=_FOR_EVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOR_EVER,
        avoid_ros_namespace_conventions=False,
    )


class BagWriter:
    """A bag, and the thread that writes to it. Its methods may be called from any thread."""

    def __init__(
        self,
        path: Path,
        contract: Contract,
        contract_text: str,
        typestore: Typestore,
        on_failure: Callable[[Exception], None],
        queue_size: int = 1000,
    ) -> None:
        """Create the bag's directory.

        Args:
            path: must not exist yet.
            contract: what the recorded topics follow.
            contract_text: the YAML it was read from.
            typestore: knows every type that will be recorded.
            on_failure: called on the writing thread when the disk refuses; nothing is written
                afterwards.
            queue_size: messages that may wait for the disk.

        Raises:
            ParameterError: ``path`` exists.
        """
        if path.exists():
            raise ParameterError(
                f'The bag {path} exists; nothing is overwritten. Choose another path or move it.'
            )
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.set_custom_data(CONTRACT_KEY, contract_text)
        self._writer.set_custom_data(CONTRACT_HASH_KEY, contract.hash)
        self._writer.open()
        self._typestore = typestore
        self._on_failure = on_failure
        self._connections: dict[str, Connection] = {}
        self._access = threading.Lock()
        self._queue: queue.Queue[tuple[str, int, bytes] | None] = queue.Queue(queue_size)
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name='bag', daemon=True)
        self._thread.start()

    def add_topic(self, topic: str, kind: str, qos: Iterable[Qos]) -> None:
        """Announce a topic before its first message; ``kind`` is like ``std_msgs/msg/String``.

        Raises:
            ParameterError: the type is unknown.
        """
        if kind not in self._typestore.fielddefs:
            raise ParameterError(
                f'{topic} has type {kind}, whose definition is not known here; leave the topic '
                'out or install its package.'
            )
        with self._access:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._typestore, offered_qos_profiles=tuple(qos)
            )

    def write(self, topic: str, time_ns: int, message: bytes) -> bool:
        """Queue one serialised message; ``False`` if the disk is too far behind."""
        try:
            self._queue.put_nowait((topic, time_ns, message))
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def close(self) -> dict[str, int]:
        """Write what is queued and the index; returns the number of messages per topic."""
        self._queue.put(None)
        self._thread.join()
        with self._access:
            counts = {
                topic: self._writer.counts[connection.id]
                for topic, connection in self._connections.items()
            }
            if self._writer.storage is not None:
                self._writer.close()
        return counts

    def _run(self) -> None:
        failed = False
        while (item := self._queue.get()) is not None:
            if failed:
                continue  # keep emptying the queue, so that close() is not left waiting
            topic, time_ns, message = item
            try:
                with self._access:
                    self._writer.write(self._connections[topic], time_ns, message)
            except OSError as error:
                failed = True
                self._on_failure(error)
