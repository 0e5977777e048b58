# SPDX-License-Identifier: Apache-2.0
"""Saliency scores as a page for people: one file with everything in it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape

from sqil_ros.report.style import STYLE
from sqil_ros.saliency import threshold
from sqil_training.episodes import Episode, encode_picture
from sqil_training.score_charts import score_curve, score_histogram
from sqil_training.score_pictures import Moment, gripper_events
from sqil_training.scores import EpisodeScores, Scores

_STYLE = """
.note { color: var(--soft); font-size: 14px; margin: 8px 0 0; }
.episode { margin: 0 0 16px; padding: 14px 18px 18px; }
.episode figcaption { margin: 0 0 12px; font-size: 14px; }

.moments {
  display: grid; grid-template-columns: repeat(9, 1fr); gap: 4px; margin-top: 14px;
}
.moment { font-size: 12px; color: var(--soft); text-align: center; }
.moment img { border-radius: 4px; margin-bottom: 4px; }
.moment.heavy { color: var(--accent); font-weight: 650; }
"""


@dataclass(frozen=True)
class Shown:
    """An episode that the page shows.

    Attributes:
        episode: as demonstrated.
        scores: of its frames.
        moments: frames with heat maps.
    """

    episode: Episode
    scores: EpisodeScores
    moments: Sequence[Moment]


def score_page(scores: Scores, shown: Sequence[Shown]) -> str:
    """The page.

    Args:
        scores: of the whole data set.
        shown: episodes to look at more closely.
    """
    limit = threshold(scores.values, scores.top)
    heavy = int((scores.values > limit).sum())
    settings = ', '.join(f'{name} {value}' for name, value in asdict(scores.key.settings).items())
    title = 'Where and when the policy looks'
    sections = [
        f'<h1>{title}</h1>',
        f'<p class="soft">State Importance Scores of {len(scores.episodes)} episodes, '
        f'{len(scores.values)} frames; {escape(settings)}</p>',
        '<h2>Scores</h2>',
        f'<div class="card">{score_histogram(scores.values, limit)}</div>',
        f'<p class="note">{heavy} frames lie above the threshold and count {scores.beta:g} times; '
        'the axis is logarithmic.</p>',
        '<h2>Episodes</h2>',
        '<p class="soft">Red lines: the commanded gripper opens or closes. Coloured ground: '
        'frames that count more. Each frame has its own scale of heat, shared by its cameras: '
        'where the picture glows, the answer depends on it; the number below says how much.</p>',
        *(_figure(one, limit) for one in shown),
    ]
    body = '\n'.join(sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title><style>{STYLE}{_STYLE}</style></head>\n'
        f'<body><main>{body}</main></body></html>\n'
    )


def _figure(one: Shown, limit: float) -> str:
    events = gripper_events(one.episode.commands[:, 6])
    curve = score_curve(one.scores.scores, limit, events, [moment.step for moment in one.moments])
    pictures = ''.join(_column(moment, limit) for moment in one.moments)
    return (
        f'<figure class="card episode"><figcaption>{escape(one.episode.instruction)} '
        f'<span class="soft">{escape(one.scores.name)}</span></figcaption>'
        f'{curve}<div class="moments">{pictures}</div></figure>'
    )


def _column(moment: Moment, limit: float) -> str:
    pictures = ''.join(
        f'<img alt="Step {moment.step}, camera {i + 1}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(encode_picture(overlay)).decode()}">'
        for i, overlay in enumerate(moment.overlays)
    )
    heavy = ' heavy' if moment.score > limit else ''
    return f'<div class="moment{heavy}">{pictures}step {moment.step}<br>{moment.score:.3g}</div>'
