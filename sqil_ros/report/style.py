# SPDX-License-Identifier: Apache-2.0
"""The look of every page: system fonts, one accent, light or dark as the reader's screen is."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f7f6f3; --card: #ffffff; --ink: #1d2125; --soft: #656b73; --line: #e3e1dc;
  --accent: #0f766e; --good: #1c7c4c; --bad: #b8432f; --track: #ebe9e4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #121417; --card: #1a1d21; --ink: #e9e7e2; --soft: #9aa1a9; --line: #2b3036;
    --accent: #4cc9b8; --good: #5fcf97; --bad: #f0866c; --track: #292e34;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 6px; }
h2 { font-size: 19px; letter-spacing: -0.005em; margin: 44px 0 14px; }
p { margin: 0 0 10px; }
code { font: 0.9em ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', monospace; }
.soft { color: var(--soft); }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 18px 20px;
}
.tiles { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); }
.tile b { display: block; font-size: 30px; font-weight: 650; letter-spacing: -0.02em; }
.tile b, .tile span { line-height: 1.25; }
.tile span { color: var(--soft); font-size: 14px; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 9px 12px; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-size: 13px; font-weight: 550; white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
tr.sum td { font-weight: 650; }
.chip {
  display: inline-block; border-radius: 99px; padding: 1px 10px; font-size: 13px;
  font-weight: 600; border: 1px solid currentColor;
}
.good { color: var(--good); }
.bad { color: var(--bad); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 12px; fill: var(--soft); }
img { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
"""
