# SPDX-License-Identifier: Apache-2.0
"""The result file of a comparison; it can grow by one profile at a time."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqil_ros.digest import sha256_of, weights_digest
from sqil_ros.errors import SqilError
from sqil_ros.policy.loader import FULL_PRECISION
from sqil_ros.provenance import provenance
from sqil_ros.quant.manifest import MANIFEST_NAME
from sqil_ros.quant.profile import PROFILES_DIRECTORY
from sqil_training.comparison import EXPERT, figures, paired_tests
from sqil_training.evaluation import Condition, Journal
from sqil_training.rollout import Outcome
from sqil_training.training_seeds import over_seeds
from sqil_training.whole_file import whole_file

_MISSING = 'missing'


@dataclass(frozen=True)
class _Found:
    """What a file holds of one profile."""

    weights: dict[str, Any]
    made_by: dict[str, Any]
    notes: dict[str, Any]
    outcomes: Sequence[Outcome]


class ComparisonFile:
    """Profiles that were evaluated from the same states.

    Attributes:
        results: outcomes by profile, those of the file first.
    """

    def __init__(
        self,
        path: Path,
        condition: Condition,
        episodes: Sequence[tuple[str, int]],
        period_s: float,
    ) -> None:
        """Take over what ``path`` holds of the same states and the same weights.

        Raises:
            SqilError: the file is broken, or of other states.
        """
        self._path, self._condition, self._period_s = path, condition, period_s
        self._checkpoint = Path(condition.checkpoint)
        self._shared = {
            'variation': condition.variation,
            'instruction': condition.instruction,
            'images': condition.images,
            'tasks': sorted({task for task, _ in episodes}),
            'seeds': sorted({seed for _, seed in episodes}),
        }
        self.results: dict[str, Sequence[Outcome]] = {}
        self._made_by: dict[str, Any] = {}
        self._weights: dict[str, dict[str, Any]] = {}
        self._notes: dict[str, dict[str, Any]] = {}
        self._refresh()

    def borrow(self, path: Path, profiles: Sequence[str]) -> None:
        """Take over those of ``profiles`` that another comparison of the same states holds.

        Raises:
            SqilError: ``path`` is broken, or of other states.
        """
        for name, found in self._read(path).items():
            if name in profiles and name not in self.results:
                self._keep(name, found)

    def partial(self, profile: str) -> Path:
        """Where the outcomes of a profile are kept until it is finished."""
        return self._path.with_suffix(f'.{profile}.partial.jsonl')

    def complete(
        self,
        profiles: Sequence[str],
        run: Callable[[Condition, Journal], Sequence[Outcome]],
    ) -> dict[str, Any]:
        """Let ``run`` evaluate what is missing, test the first profile against the others.

        Returns:
            The content of the file.
        """
        for name in profiles:
            if name in self.results:
                continue
            policy = EXPERT if name == EXPERT else 'checkpoint'
            condition = replace(self._condition, policy=policy, profile=name)
            journal = Journal(self.partial(name), condition)
            print(name, file=sys.stderr)
            self.add(name, run(condition, journal))
            journal.remove()
        return self.write(profiles[0])

    def add(self, profile: str, outcomes: Sequence[Outcome]) -> None:
        """Keep a finished profile, on disk too, beside those that others finished meanwhile."""
        self._refresh()
        self.results[profile] = outcomes
        self._made_by[profile] = provenance()
        self._weights[profile] = {
            'digest': self._digest(profile), 'disk_bytes': self._bytes(profile)
        }  # fmt: skip
        self.write(profile)

    def note(self, found: Mapping[str, Mapping[str, Any]], reference: str) -> dict[str, Any]:
        """Keep what else was measured of finished profiles, on disk too, over earlier notes.

        Args:
            found: facts by profile.
            reference: see :meth:`write`.

        Returns:
            The content of the file.
        """
        self._refresh()
        for profile, facts in found.items():
            earlier = self._notes.get(profile, {})
            self._notes[profile] = earlier | {**facts, 'made_by': provenance()}
        return self.write(reference)

    def write(self, reference: str) -> dict[str, Any]:
        """Write everything, with ``reference`` tested against the others; returns the content."""
        expert = self.results.get(EXPERT)
        profiles = [
            {'profile': name}
            | self._weights[name]
            | figures(outcomes, expert, self._period_s)
            | {'beside': self._notes.get(name, {}), 'made_by': self._made_by[name]}
            | {'episodes': [asdict(outcome) for outcome in outcomes]}
            for name, outcomes in self.results.items()
        ]
        tests = paired_tests(reference, self.results) if reference != EXPERT else []
        content = {'condition': self._shared, 'tests': tests}
        if rows := over_seeds(reference, self.results):
            content['over_seeds'] = rows
        content['profiles'] = profiles
        with whole_file(self._path) as file:
            file.write(_text(content).encode())
        return content

    def _refresh(self) -> None:
        """What is on disk; another process may have added to it."""
        if self._path.exists():
            for name, found in self._read(self._path).items():
                self._keep(name, found)

    def _keep(self, profile: str, found: _Found) -> None:
        self.results[profile] = found.outcomes
        self._made_by[profile], self._notes[profile] = found.made_by, found.notes
        self._weights[profile] = found.weights

    def _read(self, path: Path) -> dict[str, _Found]:
        """Results of a file, but those whose weights are others in the checkpoint by now.

        A profile that is not there, perhaps because it is not kept, is taken at the file's word.
        """
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            shared, rows = content['condition'], content['profiles']
            found = {
                row['profile']: _Found(
                    {key: row[key] for key in ('digest', 'disk_bytes')},
                    row['made_by'],
                    row.get('beside', {}),
                    [Outcome(**e) for e in row['episodes']],
                )
                for row in rows
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SqilError(
                f'{path} is no comparison ({error!r}); remove it or name another file.'
            ) from error
        if shared != self._shared:
            raise SqilError(
                f'{path} compares {shared["tasks"]} in {len(shared["seeds"])} states a task '
                f'from seed {shared["seeds"][0]} on, under other conditions than asked for; '
                'name another file.'
            )
        return {
            name: one
            for name, one in found.items()
            if self._digest(name) in (one.weights['digest'], _MISSING)
        }

    def _digest(self, profile: str) -> str:
        if profile == EXPERT:
            return ''
        if profile == FULL_PRECISION:
            return weights_digest(self._checkpoint)
        manifest = self._checkpoint / PROFILES_DIRECTORY / profile / MANIFEST_NAME
        return sha256_of(manifest) if manifest.is_file() else _MISSING

    def _bytes(self, profile: str) -> int | None:
        """Bytes of the weight files."""
        if profile == EXPERT:
            return None
        folder = self._checkpoint
        if profile != FULL_PRECISION:
            folder = folder / PROFILES_DIRECTORY / profile
        return sum(file.stat().st_size for file in folder.glob('*.safetensors'))


def _text(content: dict[str, Any]) -> str:
    """JSON with a line for every episode, so that people and ``git diff`` can read it."""
    folded: list[str] = []

    def fold(row: dict[str, Any]) -> str:
        folded.append(json.dumps(row))
        return f'episode {len(folded) - 1}'

    rows = [row | {'episodes': [fold(e) for e in row['episodes']]} for row in content['profiles']]
    text = json.dumps(content | {'profiles': rows}, indent=1)
    return re.sub(r'"episode (\d+)"', lambda found: folded[int(found[1])], text) + '\n'
