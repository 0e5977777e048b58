# SPDX-License-Identifier: Apache-2.0
"""``--contract``, for commands that a checkpoint of another robot can be given to."""

from __future__ import annotations

import argparse
from pathlib import Path

from sqil_ros.contract import DEFAULT_PATH


def add_contract_option(parser: argparse.ArgumentParser) -> None:
    """Let ``parser`` take the file of the contract that checkpoint and data were made under."""
    parser.add_argument(
        '--contract', type=Path, default=DEFAULT_PATH,
        help="of checkpoint and data; the UR5e's if left out",
    )  # fmt: skip
