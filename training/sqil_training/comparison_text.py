# SPDX-License-Identifier: Apache-2.0
"""A comparison as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SIGNIFICANT = 0.05


def comparison_text(content: Mapping[str, Any], title: str, chart: str) -> str:
    """The page of one comparison.

    Args:
        content: of the file that :class:`~sqil_training.comparison_file.ComparisonFile` wrote.
        title: of the page.
        chart: link to its picture.
    """
    condition, profiles = content['condition'], content['profiles']
    seeds = condition['seeds']
    parts = [
        f'# {title}',
        f'{len(seeds)} initial states a task, seeds {seeds[0]} to {seeds[-1]}, the same for every '
        'policy. Success with Wilson 95 % intervals; everything right of it is a mean over the '
        'successes: actions, root mean square jerk, reversals of direction, distance of the '
        "first grip from the expert's.",
        _profile_table(condition['tasks'], profiles),
        f'![Success of every policy]({chart})',
    ]
    parts += [part for table in content.get('tables', ()) for part in _choice(table, content)]
    if seeds := content.get('over_seeds'):
        parts += [
            '## Over training seeds',
            'The same method trained again; success of every seed. Differences of means with '
            'bootstrap 95 % intervals over seeds and states, drawn crossed.',
            _seed_table(seeds),
        ]
    if content['tests']:
        parts += [
            f'## {content["tests"][0]["a"]} against the others',
            'Exact McNemar tests, corrected together by Holm. Ratios are of means over the '
            'states from which both succeeded, with bootstrap 95 % intervals.',
            _test_table(content['tests']),
        ]
    beside = [row for row in profiles if row.get('beside')]
    if beside:
        first = beside[0]['beside']['open_loop']
        parts += [
            '## Beside success',
            f'Mean absolute differences of actions, normalised to [-1, 1], on {first["frames"]} '
            'held-out frames: to what was demonstrated, to what full precision does, and the '
            'latter weighted by saliency; share of frames on which the gripper is commanded as '
            'by full precision. Time of a whole control step, measured in turns.',
            _beside_table(beside),
        ]
    parts += ['## Made by', _made_by(content)]
    return '\n\n'.join(parts) + '\n'


def _profile_table(tasks: Sequence[str], profiles: Sequence[Mapping[str, Any]]) -> str:
    head = ['policy', 'success', *tasks, 'actions', 'jerk [m/s³]', 'reversals [1/s]', 'grip [s]']
    rows = [
        [
            profile['profile'],
            f'{profile["success"]:.1%} {_interval(profile["interval"])}',
            *(f'{profile["tasks"][task]["success"]:.1%}' for task in tasks),
            _number(profile['steps'], '.1f'),
            _number(profile['jerk'], '.3f'),
            _number(profile['reversals'], '.4f'),
            _number(profile['grip_lag_s'], '.2f'),
            '–' if profile['disk_bytes'] is None else f'{profile["disk_bytes"] / 1e6:.2f}',
        ]
        for profile in sorted(profiles, key=lambda profile: -profile['success'])
    ]
    return _table([*head, 'MB on disk'], rows)


def _choice(table: Mapping[str, Any], content: Mapping[str, Any]) -> tuple[str, str]:
    """Heading and table of one choice of an ablation; its base has no test."""
    profiles = {profile['profile']: profile for profile in content['profiles']}
    tests = {test['b']: test for test in content['tests']}
    rows = []
    for row in table['rows']:
        profile, test = profiles[row['profile']], tests.get(row['profile'])
        rows.append(
            [
                f'**{row["value"]}**' if test is None else row['value'],
                f'{profile["success"]:.1%} {_interval(profile["interval"])}',
                '–' if test is None else _other_way(test),
                '–' if test is None else f'{test["p_holm"]:.2g}',
            ]
        )
    head = [table['knob'], 'success', 'difference to the base', 'p (Holm)']
    return f'## {table["knob"]}: {table["meaning"]}', _table(head, rows)


def _other_way(test: Mapping[str, Any]) -> str:
    """The difference of b to a; 0.0 - x, for -x would print a difference of nothing as -0.0 %."""
    low, high = test['interval']
    return f'{0.0 - test["difference"]:+.1%} {_interval([0.0 - high, 0.0 - low], "+.1%")}'


def _seed_table(rows: Sequence[Mapping[str, Any]]) -> str:
    def shares(values: Sequence[float]) -> str:
        return ', '.join(f'{value:.1%}' for value in values)

    head = ['method', 'success', 'against', 'success', 'seeds', 'difference']
    cells = [
        [
            row['a'],
            shares(row['success_a']),
            row['b'],
            shares(row['success_b']),
            ', '.join(map(str, row['seeds'])),
            f'{row["difference"]:+.1%} {_interval(row["interval"], "+.1%")}',
        ]
        for row in rows
    ]
    return _table(head, cells)


def _test_table(tests: Sequence[Mapping[str, Any]]) -> str:
    head = ['against', 'difference', 'only it', 'only the other', 'p', 'p (Holm)', '', 'jerk']
    rows = [
        [
            test['b'],
            f'{test["difference"]:+.1%} {_interval(test["interval"], "+.1%")}',
            str(test['only_a']),
            str(test['only_b']),
            f'{test["p"]:.2g}',
            f'{test["p_holm"]:.2g}',
            'significant' if test['p_holm'] < _SIGNIFICANT else '',
            _ratio(test['jerk_ratio']),
            _ratio(test['reversals_ratio']),
        ]
        for test in tests
    ]
    return _table([*head, 'reversals'], rows)


def _beside_table(profiles: Sequence[Mapping[str, Any]]) -> str:
    head = ['policy', 'to demonstration', 'to fp', 'weighted', 'gripper', 'p50 [ms]', 'p99 [ms]']
    rows = []
    for profile in profiles:
        found, latency = profile['beside']['open_loop'], profile['beside']['latency']
        weighted = found['to_full_weighted']
        rows.append(
            [
                profile['profile'],
                f'{found["to_demonstration"]["action_error"]:.4f}',
                f'{found["to_full"]["action_error"]:.4f}',
                _number(weighted and weighted['action_error'], '.4f'),
                f'{found["to_full"]["gripper_agreement"]:.2%}',
                f'{latency["p50_ms"]:.1f}',
                f'{latency["p99_ms"]:.1f}',
                f'{latency["ratio_full"]:.2f}',
                latency['back_end'],
            ]
        )
    return _table([*head, 'faster than fp', 'back-end'], rows)


def _made_by(content: Mapping[str, Any]) -> str:
    """Who made what; a study's own command trained and evaluated all of it."""
    if study := content.get('study'):
        return f'- all of it: `{study["command"]}`, finished at {study["commit"][:12]}'
    made: dict[tuple[str, str], list[str]] = {}
    for profile in content['profiles']:
        by = profile['made_by']
        made.setdefault((by['command'], by['commit'][:12]), []).append(profile['profile'])
    return '\n'.join(
        f'- {", ".join(names)}: `{command}` at {commit}'
        for (command, commit), names in made.items()
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _interval(interval: Sequence[float], form: str = '.1%') -> str:
    return f'[{interval[0]:{form}}, {interval[1]:{form}}]'


def _ratio(ratio: Sequence[float] | None) -> str:
    return '–' if ratio is None else f'{ratio[0]:.2f} {_interval(ratio[1:], ".2f")}'


def _number(value: float | None, form: str) -> str:
    return '–' if value is None else f'{value:{form}}'
