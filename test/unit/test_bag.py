# SPDX-License-Identifier: Apache-2.0
import threading
from pathlib import Path

import pytest
from rosbags.rosbag2 import Reader, Writer

from sqil_ros.bag import BagWriter, contract_of, offered_qos, typestore_with
from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.errors import ContractMismatch, ParameterError

CONTRACT = Contract.load()
MESSAGES = Path(DEFAULT_PATH).parent.parent / 'msg'
TEXT = DEFAULT_PATH.read_text()


def make(path, on_failure=pytest.fail, queue_size=1000):
    store = typestore_with('sqil_ros', MESSAGES)
    return store, BagWriter(path, CONTRACT, TEXT, store, on_failure, queue_size)


def test_what_is_written_is_read_back_with_the_contract(tmp_path):
    store, bag = make(tmp_path / 'bag')
    bag.add_topic('/instruction', 'std_msgs/msg/String', [offered_qos(True, True)])
    bag.add_topic('/event', 'sqil_ros/msg/EpisodeEvent', [offered_qos(True, False)])
    string = store.types['std_msgs/msg/String']
    raw = bytes(store.serialize_cdr(string('lift the eggplant'), 'std_msgs/msg/String'))
    for index in range(100):
        assert bag.write('/instruction', 1000 + index, raw)
    assert bag.close() == {'/instruction': 100, '/event': 0}

    with Reader(tmp_path / 'bag') as reader:
        rows = list(reader.messages())
        kinds = {connection.msgtype for connection in reader.connections}
    assert [time_ns for _, time_ns, _ in rows] == [1000 + index for index in range(100)]
    assert store.deserialize_cdr(rows[0][2], 'std_msgs/msg/String').data == 'lift the eggplant'
    assert contract_of(tmp_path / 'bag') == (CONTRACT.hash, TEXT)
    assert kinds == {'std_msgs/msg/String', 'sqil_ros/msg/EpisodeEvent'}


def test_bag_without_contract_or_index_is_refused(tmp_path):
    with pytest.raises(ContractMismatch, match='not closed'):
        contract_of(tmp_path)
    with Writer(tmp_path / 'foreign', version=9):
        pass
    with pytest.raises(ContractMismatch, match='carries no contract'):
        contract_of(tmp_path / 'foreign')


def test_existing_path_is_refused_and_left_alone(tmp_path):
    path = tmp_path / 'bag'
    path.mkdir()
    (path / 'precious').write_text('data')
    with pytest.raises(ParameterError, match='exists'):
        make(path)
    assert (path / 'precious').read_text() == 'data'


def test_unknown_type_is_refused_by_name(tmp_path):
    _, bag = make(tmp_path / 'bag')
    with pytest.raises(ParameterError, match='acme_msgs/msg/Thing'):
        bag.add_topic('/thing', 'acme_msgs/msg/Thing', [])
    bag.close()


def test_full_disk_is_reported_once_and_does_not_hang(tmp_path, monkeypatch):
    failures, seen = [], threading.Event()

    def on_failure(error):
        failures.append(error)
        seen.set()

    _, bag = make(tmp_path / 'bag', on_failure, queue_size=2)
    bag.add_topic('/instruction', 'std_msgs/msg/String', [])

    def refuse(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(bag._writer, 'write', refuse)
    for _ in range(50):
        bag.write('/instruction', 1, b'')
    assert seen.wait(10.0)
    bag.close()
    assert len(failures) == 1


def test_queue_that_is_full_drops_and_counts(tmp_path, monkeypatch):
    _, bag = make(tmp_path / 'bag', queue_size=1)
    bag.add_topic('/instruction', 'std_msgs/msg/String', [])
    go_on = threading.Event()
    monkeypatch.setattr(bag._writer, 'write', lambda *_: go_on.wait(10.0))
    results = [bag.write('/instruction', 1, b'') for _ in range(20)]
    go_on.set()
    assert results.count(False) == bag.dropped >= 17
    bag.close()
