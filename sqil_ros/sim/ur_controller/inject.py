# SPDX-License-Identifier: Apache-2.0
"""Command line that injects a fault into a running emulator, or reads its statistics."""

from __future__ import annotations

import argparse
import json
import sys

from sqil_ros.errors import SqilError
from sqil_ros.sim.side_channel import SideChannel
from sqil_ros.sim.ur_controller.faults import KINDS

_EXAMPLES = """examples:
  python -m sqil_ros.sim.ur_controller.inject protective_stop
  python -m sqil_ros.sim.ur_controller.inject --host 127.0.0.3 drop seconds=2
  python -m sqil_ros.sim.ur_controller.inject statistics
"""


def main(arguments: list[str] | None = None) -> int:
    """Inject one fault; 0 if the emulator took it, 2 otherwise."""
    args = _parser().parse_args(arguments)
    channel = SideChannel(args.host)
    try:
        if args.what == 'statistics':
            print(json.dumps(channel.request('statistics'), indent=2))
        else:
            channel.request('fault', kind=args.what, **dict(args.values))
    except SqilError as error:
        print(f'inject: {error}', file=sys.stderr)
        return 2
    finally:
        channel.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    faults = '\n'.join(f'  {kind:16} {meaning}' for kind, meaning in KINDS.items())
    parser = argparse.ArgumentParser(
        prog='python -m sqil_ros.sim.ur_controller.inject',
        description=f'Inject a fault into a running UR controller emulator.\n\nfaults:\n{faults}',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--host', default='127.0.0.2', help='address of the emulator')
    parser.add_argument('what', choices=(*KINDS, 'statistics'), help='fault, or statistics')
    parser.add_argument('values', nargs='*', type=_value, metavar='NAME=NUMBER', help='arguments')
    return parser


def _value(text: str) -> tuple[str, float]:
    name, _, number = text.partition('=')
    try:
        return name, float(number)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=NUMBER') from error


if __name__ == '__main__':
    sys.exit(main())
