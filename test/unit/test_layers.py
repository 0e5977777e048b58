# SPDX-License-Identifier: Apache-2.0
"""The layers stay one-way: who imports whom, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {'sqil_ros': ROOT / 'sqil_ros', 'sqil_training': ROOT / 'training' / 'sqil_training'}

# Lowest first. A module of `sqil_ros` that no layer names is a pure function: layer 'pure'.
LAYERS = {
    'vocabulary': {'types', 'errors'},
    'pure': {'safety'},
    'rooms': {'engine', 'policy', 'quant', 'robot', 'sim'},
    'live path': {'inference', 'policy_loop', 'policy_session', 'saliency_thread'},
    'nodes': {'nodes'},
    'programs': {'bench', 'demo', 'doctor', 'report', 'view'},
}
ORDER = list(LAYERS)

# Only nodes may speak ROS, so that everything else runs, and is tested, without it.
ROS_PACKAGES = {
    'rclpy', 'ament_index_python', 'launch', 'launch_ros', 'builtin_interfaces', 'diagnostic_msgs',
    'geometry_msgs', 'lifecycle_msgs', 'rcl_interfaces', 'sensor_msgs', 'std_msgs', 'std_srvs',
}  # fmt: skip


@cache
def modules() -> dict[str, Path]:
    """Dotted name and path of every module of the project."""
    found = {}
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob('*.py')):
            parts = [package, *path.relative_to(folder).with_suffix('').parts]
            found['.'.join(part for part in parts if part != '__init__')] = path
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, anywhere in it, except for type checkers only."""
    tree = ast.parse(modules()[module].read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith('TYPE_CHECKING')
        for statement in node.body
        for inner in ast.walk(statement)
    }
    return frozenset(
        name
        for node in ast.walk(tree)
        if id(node) not in typing_only
        for name in imported_names(node, module)
    )


def imported_names(node: ast.AST, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, (
            f'{module}:{node.lineno}: write absolute imports, as everywhere else'
        )
        for alias in node.names:
            name = f'{node.module}.{alias.name}'
            yield name if name in modules() else str(node.module)


def layer(module: str) -> str:
    room = module.split('.')[1] if '.' in module else '__init__'
    return next((name for name, rooms in LAYERS.items() if room in rooms), 'pure')


def own(package: str) -> list[str]:
    return [module for module in modules() if module.split('.')[0] == package]


@pytest.mark.parametrize('module', own('sqil_ros'))
def test_imports_point_down(module: str) -> None:
    here = ORDER.index(layer(module))
    upward = {
        f'{other} ({layer(other)})'
        for other in imports(module)
        if other in modules() and ORDER.index(layer(other)) > here
    }
    assert not upward, f'{module} ({layer(module)}) imports from a higher layer: {sorted(upward)}'


@pytest.mark.parametrize('module', own('sqil_ros'))
def test_the_package_stands_without_training(module: str) -> None:
    assert not {name for name in imports(module) if name.split('.')[0] == 'sqil_training'}


@pytest.mark.parametrize('module', own('sqil_training'))
def test_training_does_without_nodes(module: str) -> None:
    assert not {name for name in imports(module) if name.startswith('sqil_ros.nodes')}


@pytest.mark.parametrize('module', list(modules()))
def test_only_nodes_speak_ros(module: str) -> None:
    if layer(module) == 'nodes' and module.startswith('sqil_ros.'):
        return
    spoken = {
        name
        for name in imports(module)
        if name.split('.')[0] in ROS_PACKAGES or name.startswith('sqil_ros.msg')
    }
    assert not spoken, f'{module} is outside sqil_ros/nodes and imports {sorted(spoken)}'


def test_no_import_cycles_between_rooms() -> None:
    """Two rooms of one layer may know each other in one direction only."""
    arrows: dict[str, set[str]] = {}
    for module in own('sqil_ros'):
        room = module.split('.')[1] if '.' in module else ''
        others = {name.split('.')[1] for name in imports(module) if name.startswith('sqil_ros.')}
        arrows.setdefault(room, set()).update(others - {room, 'msg'})
    assert not cycle(arrows)


def cycle(arrows: dict[str, set[str]]) -> list[str]:
    """A cycle of the graph as a list of its nodes, empty if there is none."""
    finished: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in finished:
            return []
        for other in sorted(arrows.get(node, ())):
            if found := walk(other, [*path, node]):
                return found
        finished.add(node)
        return []

    return next((found for node in sorted(arrows) if (found := walk(node, []))), [])


def test_a_cycle_is_found() -> None:
    assert cycle({'a': {'b'}, 'b': {'c'}, 'c': {'b'}}) == ['b', 'c', 'b']
    assert cycle({'a': {'b', 'c'}, 'b': {'c'}}) == []
