# SPDX-License-Identifier: Apache-2.0
"""What the documents promise about nodes is what the nodes have."""

import re

import pytest

from sqil_ros.share import share_directory

README = share_directory() / 'README.md'
PARAMETERS = share_directory() / 'docs' / 'parameters.md'


@pytest.fixture
def generated(monkeypatch):
    pytest.importorskip('rclpy')
    pytest.importorskip('sqil_ros.msg')
    from sqil_ros.nodes.parameter_table import document

    return document()


def table_of(text, heading):
    """First cells of the table under a heading, without their back-ticks."""
    body = text.split(f'\n## {heading}\n', 1)[1].split('\n## ', 1)[0]
    return re.findall(r'^\| `([^`]+)`', body, re.M)


def test_the_table_of_parameters_is_up_to_date(generated):
    assert PARAMETERS.read_text() == generated, (
        'run `python -m sqil_ros.nodes.parameter_table docs/parameters.md`'
    )


def test_readme_names_parameters_that_exist(generated):
    declared = {
        name: set(table_of(generated, f'/{name}'))
        for name in ('vla_policy', 'ur5_robot', 'sim_cameras', 'recorder')
    }
    named = re.findall(r'^\| `/(\w+)` \| `([\w.]+)`', README.read_text(), re.M)
    assert len(named) >= 8
    for node, parameter in named:
        assert parameter in declared[node], f'README: /{node} declares no {parameter!r}'


def test_readme_lists_every_topic_that_is_recorded_with_its_type():
    from sqil_ros.nodes.recorder_node import _DEFAULT_TOPICS

    assert set(_DEFAULT_TOPICS) <= set(table_of(README.read_text(), 'Topics'))


def test_readme_lists_every_service_of_the_robot_node():
    source = (share_directory() / 'sqil_ros' / 'nodes' / 'robot_node.py').read_text()
    services = set(table_of(README.read_text(), 'Services'))
    for name in ('arm', 'stop', 'home', 'reset_fault', 'dry_run'):
        assert f'ur5_robot/{name}' in services
        assert name in source
