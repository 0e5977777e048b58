#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes `.venv-libero` ready: LIBERO, and beneath it everything that `.venv` has.

LIBERO needs a robosuite of its own time, which has no place in `.venv`; MuJoCo, torch and the rest
are the very same for both. It does nothing while its inputs are what they were.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setup import PYTHON, ROOT, STAMPS, SetupError, files, run, step

JUDGE = ROOT / '.venv-libero'
JUDGE_PYTHON = JUDGE / 'bin' / 'python'
PACKAGES = 'import sysconfig; print(sysconfig.get_paths()["purelib"])'


def main() -> int:
    """Bring `.venv-libero` up to date; `.venv` is."""
    inputs = files('constraints.txt', 'constraints-libero.txt', 'scripts/setup_libero.py')
    try:
        if not JUDGE_PYTHON.is_file():
            (STAMPS / 'libero').unlink(missing_ok=True)
        step('libero', inputs, make_environment)
    except SetupError as error:
        print(f'set-up: {error}', file=sys.stderr)
        return 1
    return 0


def make_environment() -> None:
    """A fresh environment that imports what it lacks itself from `.venv`."""
    shutil.rmtree(JUDGE, ignore_errors=True)
    run(PYTHON, '-m', 'venv', JUDGE)
    beneath = run(PYTHON, '-c', PACKAGES, quiet=True).strip()
    own = Path(run(JUDGE_PYTHON, '-c', PACKAGES, quiet=True).strip())
    (own / 'beneath.pth').write_text(f'import site; site.addsitedir({beneath!r})\n')
    # Every package is named with its version; what .venv has must not be brought in again.
    pins = ROOT / 'constraints-libero.txt'
    run(JUDGE_PYTHON, '-m', 'pip', 'install', '--quiet', '--no-compile', '--no-deps', '-r', pins)
    run(JUDGE_PYTHON, '-c', 'import libero.libero.envs.env_wrapper, sqil_training', quiet=True)


if __name__ == '__main__':
    sys.exit(main())
