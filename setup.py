# SPDX-License-Identifier: Apache-2.0
"""Plain pip installation; everything that can be said declaratively is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup


def shared_files() -> list[tuple[str, list[str]]]:
    """Configuration and models, installed under share/sqil_ros as ament does."""
    folders: dict[str, list[str]] = {}
    for top in ('config', 'launch', 'models'):
        for path in sorted(Path(top).rglob('*')):
            if path.is_file():
                folders.setdefault(f'share/sqil_ros/{path.parent}', []).append(str(path))
    return [('share/sqil_ros', ['package.xml']), *folders.items()]


setup(
    packages=[*find_packages(include=['sqil_ros*']), *find_packages('training')],
    package_dir={'sqil_training': 'training/sqil_training'},
    data_files=shared_files(),
)
