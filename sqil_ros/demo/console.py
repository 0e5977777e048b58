# SPDX-License-Identifier: Apache-2.0
"""What the demo says while it runs: lines that last, and one line that lives."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from sqil_ros.demo.outcome import Outcome, percentiles
from sqil_ros.demo.plan import Episode

_GREEN, _RED, _DIM, _BOLD, _PLAIN = '\x1b[32m', '\x1b[31m', '\x1b[2m', '\x1b[1m', '\x1b[0m'
_BAR = 16


class Console:
    """Writes to a terminal, or plain lines to a file or a pipe."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to ``stream``, stdout by default."""
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()

    def say(self, text: str = '') -> None:
        """A line that lasts."""
        self._clear()
        print(text, file=self._stream, flush=True)

    def title(self, text: str) -> None:
        """A line that stands out."""
        self.say(self._in(_BOLD, text))

    @contextmanager
    def stage(self, text: str) -> Iterator[None]:
        """Something that takes a while; the line gets a tick and its duration."""
        start_s = time.monotonic()
        self._live(f'  … {text}')
        yield
        self.say(f'  {self._in(_GREEN, "✓")} {text:<70}{time.monotonic() - start_s:5.1f} s')

    def progress(self, number: str, episode: Episode, steps: int, most: int) -> None:
        """The live line of the present episode."""
        done = round(_BAR * min(1.0, steps / most))
        bar = '━' * done + self._in(_DIM, '━' * (_BAR - done))
        self._live(f'{self._head(number, episode)}  {bar} {steps:3d}')

    def ended(self, number: str, episode: Episode, outcome: Outcome) -> None:
        """The lasting line of an episode."""
        word = self._in(_GREEN, '✓ done  ') if outcome.success else self._in(_RED, '✗ failed')
        p50 = percentiles(outcome.latency_ms)['p50']
        latency = '' if p50 is None else f'{p50:4.0f} ms'
        self.say(
            f'{self._head(number, episode)}  {word}  {outcome.steps:3d} steps '
            f'{outcome.seconds:5.1f} s  {latency}'
        )
        if outcome.fault:
            self.say(f'         {self._in(_RED, outcome.fault)}')

    def _head(self, number: str, episode: Episode) -> str:
        return f'  {number:>5}  {episode.task.instruction:<38} {self._in(_DIM, str(episode.seed))}'

    def _live(self, text: str) -> None:
        if self._terminal:
            # A line that wraps cannot be taken back.
            visible = len(text) - sum(map(len, (_DIM, _PLAIN))) * text.count(_PLAIN)
            if visible < shutil.get_terminal_size().columns:
                print(f'\r\x1b[2K{text}', end='', file=self._stream, flush=True)

    def _clear(self) -> None:
        if self._terminal:
            print('\r\x1b[2K', end='', file=self._stream)

    def _in(self, colour: str, text: str) -> str:
        return f'{colour}{text}{_PLAIN}' if self._terminal else text
