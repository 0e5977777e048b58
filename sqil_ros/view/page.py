# SPDX-License-Identifier: Apache-2.0
"""The page of the view: no assets from elsewhere, and it survives a restart of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sqil_ros.report.style import STYLE

_STYLE = """
main { padding-top: 28px; }
.kicker { color: var(--soft); font-size: 14px; display: flex; gap: 8px; align-items: center; }
.kicker i { width: 9px; height: 9px; border-radius: 50%; background: var(--bad); }
.kicker i.on { background: var(--good); }
h1 { min-height: 1.2em; }
h1::first-letter { text-transform: uppercase; }
.cameras { display: grid; gap: 14px; grid-template-columns: 1fr 1fr; margin: 18px 0 14px; }
.cameras figure { margin: 0; position: relative; }
.cameras img { border-radius: 12px; aspect-ratio: 1; background: var(--track); object-fit: cover; }
.cameras figcaption {
  position: absolute; left: 12px; bottom: 12px; padding: 1px 10px; border-radius: 99px;
  font-size: 13px; color: #fff; background: rgb(0 0 0 / 55%);
}
.tile b { font-size: 22px; overflow-wrap: anywhere; }
.notice { margin: 14px 0 0; border-color: var(--bad); color: var(--bad); }
.columns { display: grid; gap: 14px; grid-template-columns: 1fr 1fr; margin-top: 14px; }
.columns h2 { margin: 0 0 12px; font-size: 16px; }
.row { display: grid; grid-template-columns: 1fr auto; gap: 4px 14px; align-items: center; }
.row + .row { margin-top: 9px; }
.dots { display: flex; flex-wrap: wrap; gap: 5px; }
.dots span {
  width: 22px; height: 22px; border-radius: 6px; font-size: 13px; line-height: 22px;
  text-align: center; color: var(--card); background: var(--soft);
}
.dots .success { background: var(--good); }
.dots .failure { background: var(--bad); }
.dots .running {
  background: none; box-shadow: inset 0 0 0 2px var(--accent); color: var(--accent);
}
td.bar { width: 34%; }
td.bar div { height: 6px; border-radius: 3px; background: var(--accent); min-width: 1px; }
td { padding: 5px 10px; white-space: nowrap; }
@media (max-width: 720px) { .columns, .cameras { grid-template-columns: 1fr; } }
"""

_BODY = """
<main>
  <div class="kicker"><i id="live"></i><span id="live-word">waiting for a graph</span></div>
  <h1 id="instruction">&nbsp;</h1>
  <div class="cameras">{cameras}</div>
  <div class="tiles">
    <div class="card tile"><b id="policy">–</b><span id="policy-note">policy</span></div>
    <div class="card tile"><b id="robot">–</b><span>robot</span></div>
    <div class="card tile">
      <b id="latency">–</b><span id="latency-note">image to command</span>
    </div>
    <div class="card tile"><b id="missed">–</b><span id="missed-note">ticks missed</span></div>
  </div>
  <div class="card notice" id="notice" hidden></div>
  <div class="columns">
    <div class="card"><h2>Episodes</h2><div id="episodes" class="soft">none yet</div></div>
    <div class="card">
      <h2>Where the milliseconds go</h2><div id="stages" class="soft">no action yet</div>
    </div>
  </div>
</main>
"""

_SCRIPT = """
'use strict';
const byId = id => document.getElementById(id);
const put = (id, text) => { byId(id).textContent = text; };
const make = (tag, name, text) => {
  const e = document.createElement(tag);
  e.className = name;
  e.textContent = text;
  return e;
};

// One request at a time and camera: a slow network gets fewer pictures, not late ones.
function follow(img) {
  const again = ms => setTimeout(() => { img.src = img.dataset.src + '?' + Date.now(); }, ms);
  img.onload = () => again(60);
  img.onerror = () => again(1000);
  again(0);
}

function showEpisodes(episodes) {
  const groups = new Map();
  for (const e of episodes) groups.set(e.instruction, [...(groups.get(e.instruction) || []), e]);
  const rows = [...groups].map(([instruction, group]) => {
    const row = make('div', 'row', ''), dots = make('div', 'dots', '');
    const marks = {success: '✓', failure: '×', running: '…', discarded: '–'};
    for (const e of group) {
      const dot = make('span', e.state, marks[e.state]);
      dot.title = 'seed ' + e.seed + ', ' + e.state + (e.message ? ': ' + e.message : '');
      dots.append(dot);
    }
    row.append(make('span', '', instruction), dots);
    return row;
  });
  const done = episodes.filter(e => e.state === 'success').length;
  const ended = episodes.filter(e => e.state !== 'running').length;
  rows.push(make('div', 'row soft', done + ' of ' + ended + ' done'));
  byId('episodes').className = '';
  byId('episodes').replaceChildren(...rows);
}

function showStages(stages) {
  const table = make('table', '', ''), most = Math.max(...stages.map(s => s.p50), 1);
  const head = make('tr', '', '');
  for (const word of ['stage', '', 'p50', 'p99 ms']) head.append(make('th', '', word));
  table.append(head);
  for (const s of stages) {
    const row = make('tr', s.stage === 'image_to_command' ? 'sum' : '', '');
    const cell = make('td', 'bar', ''), bar = make('div', '', '');
    bar.style.width = 100 * s.p50 / most + '%';
    cell.append(bar);
    row.append(make('td', '', s.stage.replaceAll('_', ' ')), cell,
               make('td', '', s.p50.toFixed(0)), make('td', '', s.p99.toFixed(0)));
    table.append(row);
  }
  byId('stages').className = '';
  byId('stages').replaceChildren(table);
}

function show(state) {
  const ages = Object.values(state.picture_age_s), live = ages.length && Math.min(...ages) < 1;
  byId('live').className = live ? 'on' : '';
  put('live-word', live ? 'live' : ages.length ? 'the cameras are silent' : 'waiting for a graph');
  const p = state.policy, r = state.robot, notices = [];
  if (p) {
    put('instruction', p.instruction || 'No instruction yet');
    put('policy', p.profile || p.state);
    const swap = p.requested_profile && p.requested_profile !== p.profile;
    put('policy-note', 'policy, ' + (swap ? 'loading ' + p.requested_profile : p.state) +
        (p.weight_mib ? ', ' + p.weight_mib + ' MiB' : ''));
    put('missed', String(p.missed_ticks));
    put('missed-note', 'of ' + (p.ticks + p.missed_ticks) + ' ticks missed');
    if (p.message) notices.push(p.message);
  }
  if (r) {
    put('robot', r.mode);
    byId('robot').className = r.mode === 'fault' ? 'bad' : r.mode === 'armed' ? 'good' : '';
    if (r.fault) notices.push(r.fault + ': ' + r.message);
  }
  if (state.latency) {
    const total = state.latency.find(s => s.stage === 'image_to_command');
    if (total) {
      put('latency', total.p50.toFixed(0) + ' ms');
      put('latency-note', 'image to command, p99 ' + total.p99.toFixed(0));
    }
    showStages(state.latency);
  }
  byId('notice').hidden = !notices.length;
  put('notice', notices.join(' '));
  if (state.episodes.length) showEpisodes(state.episodes);
}

async function poll() {
  try {
    show(await (await fetch('state.json')).json());
  } catch (error) {
    byId('live').className = '';
    put('live-word', 'the server is gone; start make view again');
  }
  setTimeout(poll, 250);
}

document.querySelectorAll('img[data-src]').forEach(follow);
poll();
"""


def page(cameras: Sequence[str]) -> str:
    """The page for these cameras, one picture each."""
    figures = ''.join(
        f'<figure><img data-src="camera/{escape(name)}.jpg" alt="Camera {escape(name)}">'
        f'<figcaption>{escape(name)}</figcaption></figure>'
        for name in cameras
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>sqil_ros live</title><style>{STYLE}{_STYLE}</style></head>\n'
        f'<body>{_BODY.format(cameras=figures)}<script>{_SCRIPT}</script></body></html>\n'
    )
