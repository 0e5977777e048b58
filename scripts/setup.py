#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes `.venv` ready: packages, ROS 2, messages, commands, engine, meshes. `make setup` calls it.

Every step is skipped while its inputs are what they were, so that a second run takes a moment.
Where a ROS 2 installation is sourced, its rclpy is used; otherwise ROS 2 Jazzy comes from wheels.

It runs before anything is installed: the standard library has to do.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
ENGINE = ROOT / 'sqil_ros' / 'engine'
STAMPS = VENV / 'stamps'
OLDEST, NEWEST = (3, 10), (3, 12)

COMPILERS = {'cmake': 'cmake', 'g++': 'g++', 'make': 'make'}
RENDERING = ('libegl1', 'libegl-mesa0', 'libgl1-mesa-dri')
RENDER_ONCE = (
    'import os; os.environ.setdefault("MUJOCO_GL", "egl"); import mujoco; mujoco.GLContext(32, 32)'
)


class SetupError(Exception):
    """The set-up cannot go on; the message says what to do."""


def main() -> int:
    """Bring `.venv` up to date."""
    ros = sourced_ros()
    try:
        check_machine(ros)
        venv = step('venv', [sys.version, ros], lambda: make_venv(ros))
        pins = files('constraints.txt', 'requirements/*.txt')
        packages = step('packages', [venv, *pins], lambda: install_packages(ros))
        interfaces = files('msg/*.msg', 'package.xml', 'CMakeLists.txt', 'sqil_ros/__init__.py')
        step('messages', [packages, *interfaces], build_messages)
        commands = files('pyproject.toml', 'scripts/setup.py')
        step('commands', [venv, str(ROOT), *commands], link_checkout)
        if not (ENGINE / 'libsqil_engine.so').is_file():
            (STAMPS / 'engine').unlink(missing_ok=True)
        step('engine', [venv, *files('sqil_ros/engine/native/*')], build_engine)
        step('rendering', [packages], check_rendering)
        step('meshes', [packages, *files('sqil_ros/sim/meshes.py')], make_meshes)
    except SetupError as error:
        print(f'set-up: {error}', file=sys.stderr)
        return 1
    return 0


# ---- steps


def check_machine(ros: str) -> None:
    """Refuse what cannot work, before anything is downloaded."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise SetupError(
            f'Python {sys.version_info[0]}.{sys.version_info[1]} is outside '
            f'{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}; name one that fits, e.g. '
            '`make setup PYTHON=python3.11`.'
        )
    if not ros and platform.machine() != 'x86_64':
        raise SetupError(
            f'the ROS 2 wheels exist for x86_64 only and this machine is '
            f'{platform.machine()}; install ROS 2 Jazzy, source its setup.bash and start again.'
        )


def make_venv(ros: str) -> None:
    """A fresh venv; it sees the system's packages only where ROS is installed there."""
    missing = [package for tool, package in COMPILERS.items() if shutil.which(tool) is None]
    if importlib.util.find_spec('ensurepip') is None:
        missing.append('python3-venv')
    if not Path(sysconfig.get_paths()['include'], 'Python.h').is_file():
        missing.append('python3-dev')
    if missing:
        apt_install(missing, why='building the messages')
    if STAMPS.is_dir():
        shutil.rmtree(VENV)
    run(sys.executable, '-m', 'venv', *(['--system-site-packages'] if ros else []), VENV)


def install_packages(ros: str) -> None:
    """Everything at the versions of constraints.txt."""
    wanted = ['run', 'dev'] if ros else ['run', 'dev', 'ros']
    requirements = [
        part for name in wanted for part in ('-r', ROOT / 'requirements' / f'{name}.txt')
    ]
    # Python compiles what is imported; compiling all that comes with torch takes a minute.
    run(
        PYTHON,
        '-m',
        'pip',
        'install',
        '--quiet',
        '--no-compile',
        '--disable-pip-version-check',
        '-c',
        ROOT / 'constraints.txt',
        *requirements,
    )
    if not ros:
        mend_cmake_paths()


def mend_cmake_paths() -> None:
    """Point the message wheels' cmake files at this Python; they name their builder's."""
    numpy = evaluate('numpy.get_include()')
    python = sysconfig.get_paths()['include']
    builder = r'/opt/python/cp\w+-cp\w+'
    for path in (VENV / 'share').rglob('*.cmake'):
        text = path.read_text()
        mended = re.sub(rf'{builder}/include/python3\.\w+', python, text)
        mended = re.sub(
            rf'{builder}/lib/python3\.\w+/site-packages/numpy/_core/include', numpy, mended
        )
        if mended != text:
            path.write_text(mended)


def build_messages() -> None:
    """Generate msg/ into the venv, where it needs no environment variable to be found."""
    build = VENV / 'build' / 'messages'
    shutil.rmtree(build, ignore_errors=True)
    prefixes = [str(VENV), *os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)]
    environment = {
        'AMENT_PREFIX_PATH': os.pathsep.join(filter(None, prefixes)),
        'CMAKE_PREFIX_PATH': os.pathsep.join(filter(None, prefixes)),
        'PATH': f'{VENV / "bin"}{os.pathsep}{os.environ["PATH"]}',
        'VIRTUAL_ENV': str(VENV),
    }
    run(
        'cmake',
        '-S',
        ROOT,
        '-B',
        build,
        f'-DCMAKE_INSTALL_PREFIX={VENV}',
        '-DPython3_FIND_VIRTUALENV=ONLY',
        '-DBUILD_TESTING=OFF',
        '-DSQIL_MESSAGES_ONLY=ON',
        quiet=True,
        **environment,
    )
    run('cmake', '--build', build, f'-j{os.cpu_count()}', quiet=True, **environment)
    run('cmake', '--install', build, quiet=True, **environment)


def link_checkout() -> None:
    """Let the venv import the checkout, and give it the commands of pyproject.toml.

    `pip install -e` would shadow the messages that cmake installed under the same package name.
    """
    site_packages = Path(evaluate('sysconfig.get_paths()["purelib"]'))
    (site_packages / 'sqil_ros.pth').write_text(f'{ROOT}\n{ROOT / "training"}\n')
    project = (ROOT / 'pyproject.toml').read_text()
    scripts = re.findall(r"^(sqil-[a-z-]+) = '([\w.]+):main'$", project, re.M)
    for name, module in scripts:
        command = VENV / 'bin' / name
        # The guard is for worker processes: ``spawn`` imports their parent's script anew.
        command.write_text(
            f'#!{PYTHON}\nimport sys\n\nfrom {module} import main\n\n'
            "if __name__ == '__main__':\n    sys.exit(main())\n"
        )
        command.chmod(0o755)


def build_engine() -> None:
    """Compile the engine beside its Python modules; without it torch computes."""
    build = ROOT / 'build' / 'engine'
    shutil.rmtree(build, ignore_errors=True)
    try:
        run(
            'cmake',
            '-S',
            ENGINE / 'native',
            '-B',
            build,
            '-DCMAKE_BUILD_TYPE=Release',
            f'-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={ENGINE}',
            quiet=True,
        )
        run('cmake', '--build', build, f'-j{os.cpu_count()}', quiet=True)
    except SetupError as error:
        print(f'set-up: the engine was not built, torch computes: {error}', file=sys.stderr)


def check_rendering() -> None:
    """Make sure that MuJoCo can render without a screen."""
    try:
        run(PYTHON, '-c', RENDER_ONCE, quiet=True)
    except SetupError:
        apt_install(RENDERING, why='rendering without a screen')
        run(PYTHON, '-c', RENDER_ONCE, quiet=True)


def make_meshes() -> None:
    """Simplify the robot's meshes; the renderer's speed depends on their triangles."""
    run(PYTHON, '-m', 'sqil_ros.sim.meshes')


# ---- means


def sourced_ros() -> str:
    """Prefixes of the ROS 2 installation that is sourced, '' for none."""
    if 'ROS_DISTRO' in os.environ and importlib.util.find_spec('rclpy') is not None:
        return os.environ.get('AMENT_PREFIX_PATH', '')
    return ''


def step(name: str, inputs: Iterable[str], action: Callable[[], None]) -> str:
    """Do `action` unless it was done with the same inputs; return their key for later steps."""
    key = hashlib.sha256(json.dumps([name, *inputs]).encode()).hexdigest()
    stamp = STAMPS / name
    if stamp.is_file() and stamp.read_text() == key:
        return key
    stamp.unlink(missing_ok=True)
    print(f'set-up: {name} ...', flush=True)
    start = time.monotonic()
    action()
    STAMPS.mkdir(parents=True, exist_ok=True)
    stamp.write_text(key)
    print(f'set-up: {name} done in {time.monotonic() - start:.0f} s', flush=True)
    return key


def files(*patterns: str) -> list[str]:
    """Names and texts of the files that match."""
    paths = sorted({path for pattern in patterns for path in ROOT.glob(pattern)})
    return [part for path in paths for part in (str(path.relative_to(ROOT)), path.read_text())]


def evaluate(expression: str) -> str:
    """What the venv's Python says about itself."""
    module = expression.split('.')[0]
    return run(PYTHON, '-c', f'import {module}; print({expression})', quiet=True).strip()


def run(*command: object, quiet: bool = False, **environment: str) -> str:
    """Run a command; when quiet, its output is returned, and shown only if it fails."""
    # The ROS wheels mark their environment as prepared; that mark is untrue for another venv.
    inherited = {k: v for k, v in os.environ.items() if k != '_ROS_WHEELS_BOOTSTRAP_COMPLETE'}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**inherited, **environment},
        text=True,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if result.returncode:
        detail = '\n'.join((result.stdout or '').splitlines()[-30:])
        raise SetupError(
            f'`{" ".join(map(str, command))}` ended with {result.returncode}.\n{detail}'.rstrip()
        )
    return result.stdout or ''


def apt_install(packages: Iterable[str], why: str) -> None:
    """Install Debian packages where we may; otherwise say how."""
    command = f'apt-get install -y {" ".join(packages)}'
    if os.geteuid() != 0 or shutil.which('apt-get') is None:
        raise SetupError(f'{why} needs system packages; run `sudo {command}` and start again.')
    run('apt-get', 'update', quiet=True)
    run(*command.split(), quiet=True, DEBIAN_FRONTEND='noninteractive')


if __name__ == '__main__':
    sys.exit(main())
