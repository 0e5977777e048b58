# SPDX-License-Identifier: Apache-2.0
"""The description of the graph: its arguments, and that everything it names exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from sqil_ros.errors import ParameterError
from sqil_ros.graph import (
    POLICY_ARGUMENTS,
    SIMULATION_ARGUMENTS,
    Options,
    Process,
    RosNode,
    environment,
    policy_graph,
    simulation_graph,
)
from sqil_ros.share import share_directory
from sqil_ros.supervisor import command

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))


def everything() -> tuple[Process, ...]:
    return policy_graph(Options.parse({'record': 'bag', 'namespace': '/left/'}))


def nodes() -> dict[str, RosNode]:
    return {node.name: node for node in everything() if isinstance(node, RosNode)}


def source(module: str) -> Path:
    path = ROOT.joinpath(*module.split('.'))
    return path / '__main__.py' if path.is_dir() else path.with_suffix('.py')


def test_simulation_is_the_default_and_never_moves_a_real_arm_unasked() -> None:
    simulated = policy_graph(Options.parse({}))
    assert simulated[:2] == simulation_graph(Options.parse({}))
    real = policy_graph(Options.parse({'use_sim': 'false', 'robot_ip': '192.168.56.101'}))
    assert {node.name for node in real} == {'ur5_robot', 'vla_policy'}
    by_name = {node.name: node for node in real if isinstance(node, RosNode)}
    assert by_name['ur5_robot'].parameters['dry_run'] is True
    assert by_name['ur5_robot'].parameters['robot_ip'] == '192.168.56.101'


@pytest.mark.parametrize(
    ('given', 'named'),
    [
        ({'use_sim': 'false'}, 'robot_ip'),
        ({'use_sim': 'yes'}, 'true, false'),
        ({'ur_type': 'ur10'}, 'ur5e, ur5'),
        ({'log_level': 'loud'}, 'debug, info'),
        ({'params_file': 'nowhere.yaml'}, 'nowhere.yaml'),
        ({'robotip': '1.2.3.4'}, 'robot_ip'),
    ],
)
def test_a_bad_argument_is_refused_with_the_mend(given: dict[str, str], named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        Options.parse(given)


def test_the_namespace_reaches_every_node() -> None:
    assert {node.namespace for node in nodes().values()} == {'left'}
    for node in nodes().values():
        assert '__ns:=/left' in command(node)


def test_parameters_keep_their_types_on_the_command_line() -> None:
    node = RosNode(
        'n', 'm', params_file=Path('p.yaml'), parameters={'a': '1e3', 'b': True, 'c': 2}
    )
    line = command(node)
    assigned = dict(word.split(':=', 1) for word in line if ':=' in word and '__' not in word)
    assert {name: yaml.safe_load(text) for name, text in assigned.items()} == node.parameters


@pytest.mark.parametrize('process', everything(), ids=lambda process: process.name)
def test_every_process_can_be_started(process: Process) -> None:
    """Its module exists and has a main; a node's is one that CMakeLists.txt installs."""
    path = source(process.module)
    assert path.is_file()
    tree = ast.parse(path.read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert 'main' in defined | imported
    if isinstance(process, RosNode):
        assert path.match('sqil_ros/nodes/*_node.py')


def texts_of(module: str) -> set[str]:
    """Texts, keywords and fields in a node's module and in the parameter module it imports."""
    tree = ast.parse(source(module).read_text())
    found = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    found |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
    found |= {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith('sqil_ros.nodes'):
            inner = [str(node.module), *(f'{node.module}.{alias.name}' for alias in node.names)]
            for name in inner:
                if name != module and name.endswith('_parameters') and source(name).is_file():
                    found |= texts_of(name)
    return found


@pytest.mark.parametrize('node', nodes().values(), ids=lambda node: node.name)
def test_every_parameter_is_declared(node: RosNode) -> None:
    sections = yaml.safe_load(node.params_file.read_text())
    configured = sections.get(f'/**/{node.name}', {}).get('ros__parameters', {})
    missing = {*node.parameters, *configured} - texts_of(node.module)
    assert not missing, f'{node.module} declares no {sorted(missing)}'


def test_the_parameter_file_speaks_of_our_nodes_only() -> None:
    sections = yaml.safe_load((share_directory() / 'config' / 'ur5_policy.yaml').read_text())
    assert set(sections) <= {f'/**/{name}' for name in nodes()}


def test_the_environment_names_existing_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('FASTRTPS_DEFAULT_PROFILES_FILE', raising=False)
    assert Path(environment()['FASTRTPS_DEFAULT_PROFILES_FILE']).is_file()
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', 'mine.xml')
    assert 'FASTRTPS_DEFAULT_PROFILES_FILE' not in environment()


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_files_use_the_description(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert any(
        isinstance(node, ast.FunctionDef) and node.name == 'generate_launch_description'
        for node in tree.body
    )
    assert any(
        isinstance(node, ast.ImportFrom) and node.module == 'sqil_ros.graph' for node in tree.body
    )


def test_both_launch_files_are_there() -> None:
    assert {path.name for path in LAUNCH_FILES} >= {'ur5_policy.launch.py', 'ur5_sim.launch.py'}


@pytest.mark.parametrize(
    'argument', [*POLICY_ARGUMENTS, *SIMULATION_ARGUMENTS], ids=lambda a: a.name
)
def test_arguments_are_described_and_their_defaults_allowed(argument) -> None:
    assert argument.description.endswith('.')
    assert not argument.choices or argument.default in argument.choices
