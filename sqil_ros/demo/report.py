# SPDX-License-Identifier: Apache-2.0
"""report.html: one file with everything in it, for people."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sqil_ros.demo.outcome import Outcome, Tally, by_task, median_steps, percentiles
from sqil_ros.report.charts import histogram, interval_bar
from sqil_ros.report.style import STYLE
from sqil_ros.sim.tasks import task_by_name

_STYLE = """
.share { width: 24%; min-width: 140px; }
td { white-space: nowrap; }
.note { color: var(--soft); font-size: 14px; margin-top: 8px; }
.episode { margin: 0 0 14px; padding: 14px 16px 16px; }
.episode figcaption {
  display: flex; flex-wrap: wrap; gap: 4px 14px; margin: 0 0 10px; font-size: 14px;
}
.episode img { border-radius: 5px; }
.episode img + img { margin-top: 4px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 20px; font-size: 14px; }
dl, dd { margin: 0; }
dt { color: var(--soft); }
dd { overflow-wrap: anywhere; }
@media print { .episode { break-inside: avoid; } }
"""


def report(outcomes: Sequence[Outcome], result: Mapping[str, Any]) -> str:
    """The page.

    Args:
        outcomes: all episodes, with their films.
        result: what result.json says, provenance included.
    """
    made = result['provenance']
    title = 'A quantised policy on a UR5e: four kitchen tasks'
    sections = [
        f'<h1>{title}</h1>',
        f'<p class="soft">Profile <code>{escape(result["profile"])}</code>, real time over ROS 2, '
        f'{escape(made["date"][:16].replace("T", " "))} UTC</p>',
        _tiles(outcomes, result),
        '<h2>Success</h2>',
        _successes(outcomes),
        '<h2>From image to command</h2>',
        _latency(outcomes),
        *(_films(name, group) for name, group in by_task(outcomes).items()),
        '<h2>How this was made</h2>',
        _provenance(made),
    ]
    body = '\n'.join(sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title><style>{STYLE}{_STYLE}</style></head>\n'
        f'<body><main>{body}</main></body></html>\n'
    )


def _tiles(outcomes: Sequence[Outcome], result: Mapping[str, Any]) -> str:
    tally, latency = Tally.of(outcomes), result['latency_ms']
    missed = result['missed_ticks']
    tiles = (
        (f'{tally.successes}/{tally.episodes}', 'episodes done'),
        (_ms(latency['p50']), 'image to command, median'),
        (_ms(latency['p99']), 'image to command, 99th percentile'),
        (str(missed), f'of {result["ticks"] + missed} control ticks missed'),
    )
    cells = ''.join(f'<div class="card tile"><b>{b}</b><span>{s}</span></div>' for b, s in tiles)
    return f'<div class="tiles" style="margin-top: 24px">{cells}</div>'


def _successes(outcomes: Sequence[Outcome]) -> str:
    rows = [
        _success_row(task_by_name(name).instruction, group)
        for name, group in by_task(outcomes).items()
    ]
    rows.append(_success_row('all', outcomes, kind=' class="sum"'))
    return (
        '<div class="card scroll"><table><thead><tr><th>instruction</th><th>done</th>'
        '<th class="share"></th><th>95 % interval</th><th>steps</th><th>median latency</th></tr>'
        f'</thead><tbody>{"".join(rows)}</tbody></table></div>'
        '<p class="note">Wilson intervals; steps are the median over the successes.</p>'
    )


def _success_row(name: str, outcomes: Sequence[Outcome], kind: str = '') -> str:
    tally = Tally.of(outcomes)
    low, high = tally.interval
    steps = median_steps(outcomes)
    p50 = percentiles([ms for outcome in outcomes for ms in outcome.latency_ms])['p50']
    return (
        f'<tr{kind}><td>{escape(name)}</td><td>{tally.successes}/{tally.episodes}</td>'
        f'<td class="share">{interval_bar(tally.share, low, high)}</td>'
        f'<td>{low:.0%} to {high:.0%}</td><td>{"–" if steps is None else steps}</td>'
        f'<td>{_ms(p50)}</td></tr>'
    )


def _latency(outcomes: Sequence[Outcome]) -> str:
    values = [ms for outcome in outcomes for ms in outcome.latency_ms]
    if not values:
        return '<p class="soft">There was no action.</p>'
    marks = {name: value for name, value in percentiles(values).items() if value is not None}
    return (
        f'<div class="card">{histogram(values, marks, "ms")}</div>'
        f'<p class="note">{len(values)} actions; from the stamp of the image to the publishing of '
        'the action.</p>'
    )


def _films(name: str, outcomes: Sequence[Outcome]) -> str:
    instruction = task_by_name(name).instruction
    return f'<h2>{escape(instruction.capitalize())}</h2>' + ''.join(map(_film, outcomes))


def _film(outcome: Outcome) -> str:
    chip = (
        '<span class="chip good">done</span>'
        if outcome.success
        else '<span class="chip bad">failed</span>'
    )
    fault = f'<span class="bad">{escape(outcome.fault)}</span>' if outcome.fault else ''
    pictures = ''.join(
        f'<img loading="lazy" alt="The episode in pictures, camera {i + 1}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(film).decode()}">'
        for i, film in enumerate(outcome.films)
    )
    return (
        f'<figure class="card episode"><figcaption>{chip}<span>seed {outcome.seed}</span>'
        f'<span class="soft">{outcome.steps} steps</span>'
        f'<span class="soft">{outcome.seconds:.1f} s</span>{fault}</figcaption>'
        f'{pictures}</figure>'
    )


def _provenance(made: Mapping[str, Any]) -> str:
    machine = made['machine']
    facts = {
        'command': f'<code>{escape(made["command"])}</code>',
        'commit': escape(made['commit'] or 'not a git checkout')
        + (' (with changes)' if made['modified'] else ''),
        'machine': escape(f'{machine["processor"]}, {machine["cores"]} cores'),
        'python': escape(made['python']),
        'versions': escape(', '.join(f'{name} {v}' for name, v in made['versions'].items())),
    }
    items = ''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts.items())
    return f'<div class="card"><dl>{items}</dl></div>'


def _ms(value: float | None) -> str:
    return '–' if value is None else f'{value:.0f} ms'
