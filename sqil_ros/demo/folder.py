# SPDX-License-Identifier: Apache-2.0
"""The folder that a demo fills: result, report, bag and the nodes' log."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sqil_ros.errors import ParameterError


@dataclass(frozen=True)
class OutputFolder:
    """Paths in one folder."""

    path: Path

    @property
    def result(self) -> Path:
        """Successes and latencies, for programs."""
        return self.path / 'result.json'

    @property
    def report(self) -> Path:
        """The same for people, with pictures."""
        return self.path / 'report.html'

    @property
    def bag(self) -> Path:
        """Directory that rosbag2 can read."""
        return self.path / 'bag'

    @property
    def log(self) -> Path:
        """What the nodes printed."""
        return self.path / 'log.txt'

    def prepare(self) -> None:
        """Make the folder and remove what an earlier demo left there, and nothing else.

        Raises:
            ParameterError: the bag's place is taken by something that is not a bag.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for file in (self.result, self.report, self.log):
            file.unlink(missing_ok=True)
        if not self.bag.exists():
            return
        strangers = [
            file.name
            for file in self.bag.iterdir()
            if file.suffix != '.mcap' and file.name != 'metadata.yaml'
        ]
        if strangers:
            raise ParameterError(
                f'{self.bag} holds {strangers[0]!r}, which no recorder wrote; move it or choose '
                'another --out.'
            )
        shutil.rmtree(self.bag)
