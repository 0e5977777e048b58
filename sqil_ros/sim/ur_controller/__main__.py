# SPDX-License-Identifier: Apache-2.0
"""Command line of the UR controller emulator."""

from __future__ import annotations

import argparse
import dataclasses
import ipaddress
import sys
from pathlib import Path

import numpy as np

from sqil_ros.contract import DEFAULT_PATH, Contract
from sqil_ros.errors import SqilError
from sqil_ros.kinematics import ARMS
from sqil_ros.priority import go_first
from sqil_ros.sim.ur_controller.controller import Controller, Settings
from sqil_ros.sim.ur_controller.plant import PLANTS, KinematicPlant, Plant
from sqil_ros.sim.ur_controller.rtde_server import Version
from sqil_ros.sim.ur_controller.server import serve

_NICENESS = -10
_EXAMPLES = """examples:
  python -m sqil_ros.sim.ur_controller                                a UR5e at 127.0.0.2, 125 Hz
  python -m sqil_ros.sim.ur_controller --plant toy_sink               with the kitchen around it
  python -m sqil_ros.sim.ur_controller --host 127.0.0.3 --arm ur5 --version 3.15
                                                                      a second robot, a CB3 UR5
  python -m sqil_ros.sim.ur_controller --rate 500                     e-Series rate
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the emulator; 0 after a normal end, 2 if it cannot start."""
    args = _parser().parse_args(arguments)
    try:
        contract = Contract.load(args.contract)
        settings = Settings(
            args.host, args.rate, args.version, args.arm or contract.robot, args.unlock_delay,
            args.servo_jump_limit,
        )  # fmt: skip
        controller = Controller(settings, _plant(args.plant, contract, settings))
        # It stands for hardware, which would not wait for this processor.
        go_first(_NICENESS)
        serve(controller, args.lifetime, args.watch_parent)
    except SqilError as error:
        print(f'ur_controller: {error}', file=sys.stderr)
        return 2
    return 0


def _plant(name: str, contract: Contract, settings: Settings) -> Plant:
    if name == 'kinematic':
        return KinematicPlant(np.array(contract.home))
    # Only here, because it needs MuJoCo and the robot's meshes.
    from sqil_ros.sim.ur_controller.toy_sink_plant import ToySinkPlant

    return ToySinkPlant(dataclasses.replace(contract, robot=settings.arm))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m sqil_ros.sim.ur_controller',
        description='A UR controller that speaks the real protocols in front of a simulated arm.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--host', type=_address, default='127.0.0.2',
        help='IPv4 address to listen on; two robots need two (default %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--rate', type=float, choices=(125.0, 500.0), default=125.0, metavar='HZ',
        help='control cycles a second, 125 or 500 (default 125)',
    )  # fmt: skip
    parser.add_argument(
        '--version', type=_version, default=(5, 12, 0, 0), metavar='X.Y[.Z[.B]]',
        help='PolyScope version to report; 3.x is a CB3 controller (default 5.12.0.0)',
    )  # fmt: skip
    parser.add_argument(
        '--plant', choices=PLANTS, default='kinematic', help='what the arm moves in'
    )
    parser.add_argument('--arm', choices=tuple(ARMS), help="arm model (default: the contract's)")
    parser.add_argument(
        '--contract', type=Path, default=DEFAULT_PATH, metavar='FILE',
        help='contract whose home pose and robot are used',
    )  # fmt: skip
    parser.add_argument(
        '--unlock-delay', type=_seconds, default=0.0, metavar='S',
        help='refuse to unlock a protective stop for so long (default 0; a real robot: 5)',
    )  # fmt: skip
    parser.add_argument(
        '--servo-jump-limit', type=_seconds, default=float('inf'), metavar='RAD',
        help='stop protectively when a servo target is further away (default: never)',
    )  # fmt: skip
    parser.add_argument(
        '--lifetime', type=_seconds, metavar='S', help='end after so many seconds',
    )  # fmt: skip
    parser.add_argument(
        '--watch-parent', action='store_true', help='end when the process that started this ends'
    )
    return parser


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is not an IPv4 address') from error


def _version(text: str) -> Version:
    parts = text.split('.')
    if not (2 <= len(parts) <= 4 and all(part.isdigit() for part in parts)):
        raise argparse.ArgumentTypeError(f'{text!r} is not a version such as 5.12.0.0')
    major, minor, bugfix, build = (*map(int, parts), 0, 0)[:4]
    return major, minor, bugfix, build


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0.0:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 0 on')
    return value


if __name__ == '__main__':
    sys.exit(main())
