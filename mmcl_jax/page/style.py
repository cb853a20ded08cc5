"""The style sheet of the page: light and dark, wide screen, phone and paper.

Series have the colours of Wong (Nature Methods 8, 441), which colour-blind readers can tell apart; some are made darker
or lighter, so that each has a contrast of 3 or more with the paper. No chart relies on colour alone.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --wash: #f5f6f8; --line: #d9dde3; --ink: #1a1e24; --soft: #545d69; --track: #e6e9ee;
  --accent: #0064a0; --bin: #3d8cc4; --gap: #767f8c; --alarm: #a63c06; --alarm-wash: #fdf3ec;
  --s0: #0072b2; --s1: #c47700; --s2: #00875f; --s3: #b45c93;
  --s4: #2b93cf; --s5: #d55e00; --s6: #8a7f00; --s7: #68707c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --wash: #1d2127; --line: #353b44; --ink: #e8eaee; --soft: #a7b0bc; --track: #2b3038;
    --accent: #6fb7ec; --bin: #4a9bd6; --gap: #8d97a5; --alarm: #ff9d66; --alarm-wash: #2b2019;
    --s0: #4aa3de; --s1: #e8a33a; --s2: #2fb98c; --s3: #d98fbb;
    --s4: #8cccf2; --s5: #f07a2e; --s6: #d6cb4a; --s7: #9aa3af;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", "Noto Sans", sans-serif; font-variant-numeric: tabular-nums;
}
main, header, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; overflow-wrap: anywhere; }
h1, h2, h3, h4, p, ul, ol, dl, dd, figure { margin: 0; padding: 0; }
ul, ol { list-style: none; }
header { padding-top: 3rem; }
.eyebrow { color: var(--soft); font-size: .8125rem; letter-spacing: .08em; text-transform: uppercase; }
h1 { font-size: clamp(1.75rem, 5vw, 2.75rem); line-height: 1.12; letter-spacing: -.02em; font-weight: 700; }
h2 { font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; margin-bottom: .75rem; }
h3 { font-size: 1rem; line-height: 1.35; }
h4 { font-size: .8125rem; color: var(--soft); font-weight: 600; margin: .875rem 0 .25rem; }
.headline { font-size: 1.125rem; color: var(--soft); max-width: 46rem; margin-top: .75rem; }
.part { padding-top: 3.25rem; }
.lead { color: var(--soft); max-width: 46rem; margin-bottom: 1.25rem; }
.narrow { max-width: 42rem; }
.calm, .moments, .more, .why { color: var(--soft); font-size: .875rem; }
.more { margin-top: .5rem; }
.name { white-space: pre-wrap; }
.bars + .moments { margin-top: .375rem; }
.number { text-align: right; white-space: nowrap; }
.kind { color: var(--soft); font-size: .75rem; font-weight: 400; border: 1px solid var(--line); border-radius: 1rem;
  padding: .0625rem .5rem; white-space: nowrap; }
.aloud { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
a { color: var(--accent); }
code, pre { font: .875rem/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: .5rem; padding: .875rem 1rem;
  margin: .75rem 0; white-space: pre-wrap; }
nav { margin-top: 1.75rem; border-bottom: 1px solid var(--line); padding-bottom: .75rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.125rem; font-size: .875rem; }
nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1rem; margin-top: 1.75rem; }
.tiles > div { background: var(--wash); border-radius: .75rem; padding: .875rem 1rem; }
.tiles dt { color: var(--soft); font-size: .8125rem; }
.tiles dd b { display: block; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.02em; font-weight: 650;
  overflow-wrap: normal; }
.tiles dd small { color: var(--soft); font-size: .8125rem; }
.tiles .broad { grid-column: span 2; }
.tiles .strip { margin: .625rem 0 .25rem; height: .75rem; }
.hero { display: grid; grid-template-columns: repeat(8, 1fr); gap: .5rem; margin-top: 1.75rem; }
.hero img { display: block; width: 100%; height: auto; aspect-ratio: 1; object-fit: cover; border-radius: .5rem;
  background: var(--track); }
.warnings { counter-reset: warning; display: grid; gap: .5rem; }
.warnings li { counter-increment: warning; display: grid; grid-template-columns: 1.75rem 1fr;
  background: var(--alarm-wash); border-left: 3px solid var(--alarm); border-radius: 0 .5rem .5rem 0;
  padding: .625rem .875rem; }
.warnings li::before { content: counter(warning); color: var(--alarm); font-weight: 700; }
.flow { display: grid; gap: .875rem; margin-bottom: 1.5rem; }
.flow li, .bars li { display: grid; grid-template-columns: 1fr auto; gap: .125rem .75rem; align-items: end; }
.flow .strip, .bars .strip { grid-column: 1 / -1; }
.flow small { color: var(--alarm); }
.bars { display: grid; gap: .5rem; font-size: .875rem; }
.bars .number { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17.5rem, 100%), 1fr)); gap: 1rem; }
.cards.wide { grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); }
.cards > li { border: 1px solid var(--line); border-radius: .75rem; padding: .875rem 1rem; min-width: 0; display: flex;
  flex-direction: column; gap: .625rem; break-inside: avoid; }
.cards .foot { margin-top: auto; display: grid; grid-template-columns: 1fr auto; gap: .25rem .75rem; color: var(--soft);
  font-size: .8125rem; border-top: 1px solid var(--line); padding-top: .5rem; }
.foot .strip, .foot small { grid-column: 1 / -1; }
.notes { color: var(--alarm); font-size: .8125rem; display: grid; gap: .125rem; }
.ends { display: flex; justify-content: space-between; gap: 1rem; font-size: .8125rem; border-top: 1px solid var(--gap);
  padding-top: .1875rem; }
.large { font-size: 1.75rem; line-height: 1.2; letter-spacing: -.015em; }
.alarm { color: var(--alarm); font-weight: 600; font-size: .875rem; }
.single { max-width: 34rem; }
.entry { display: grid; gap: .75rem; margin-top: 1.75rem; }
.entry > div { max-width: 34rem; }
.single h3 { margin-bottom: .5rem; }
.label + .label { margin-top: 2rem; }
.label h3 { font-size: 1.125rem; margin-bottom: .5rem; }
.label .bars { margin: .75rem 0 1rem; }
svg { display: block; }
.histogram { width: 100%; height: 4.25rem; }
.strip { width: 100%; height: .5rem; background: var(--track); border-radius: .25rem; }
.label .bars .strip, .tall .strip { height: 1rem; }
.bin { fill: var(--bin); stroke: var(--paper); stroke-width: 1px; vector-effect: non-scaling-stroke; }
.bin:hover, .segment:hover { opacity: .75; }
.median { stroke: var(--ink); stroke-width: 1.5px; stroke-dasharray: 3 2; vector-effect: non-scaling-stroke; }
.segment { stroke: var(--paper); stroke-width: 1px; vector-effect: non-scaling-stroke; }
.gap { fill: var(--gap); }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); }
.s4 { fill: var(--s4); } .s5 { fill: var(--s5); } .s6 { fill: var(--s6); } .s7 { fill: var(--s7); }
.swatch { display: inline-block; width: .75rem; height: .75rem; margin-right: .25rem; flex: none; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .875rem; margin-bottom: .625rem; }
.legend li { display: flex; align-items: center; min-width: 0; }
.tall { margin-bottom: 1rem; }
.scroll { overflow-x: auto; margin: .5rem 0 1.25rem; }
.scroll:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; overflow-wrap: break-word; }
caption { text-align: left; font-weight: 600; padding-bottom: .375rem; }
th, td { text-align: left; vertical-align: top; padding: .4375rem .875rem .4375rem 0;
  border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-size: .8125rem; font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 500; min-width: 7rem; }
th.number { min-width: 0; }
td .strip { min-width: 6rem; margin-top: .5rem; }
td { min-width: 3.5rem; } td:last-child:not(.number) { min-width: 11rem; }
details .scroll { max-height: 32rem; overflow: auto; margin-bottom: .25rem; }
details { border: 1px solid var(--line); border-radius: .75rem; padding: .625rem 1rem; margin-top: 1rem; }
summary { cursor: pointer; font-weight: 600; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(12rem, 100%), 1fr)); gap: .875rem 1.5rem;
  margin-bottom: 1.5rem; }
.facts dt { color: var(--soft); font-size: .8125rem; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)); gap: .875rem;
  margin-top: 1.5rem; }
.sheet.large { grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); }
.sheet img { display: block; width: 100%; height: auto; border-radius: .375rem; background: var(--track); }
.sheet .pixels, .hero .pixels { image-rendering: pixelated; }
.sheet figcaption { color: var(--soft); font-size: .75rem; line-height: 1.35; margin-top: .25rem; }
.sheet li { break-inside: avoid; min-width: 0; }
footer { padding-top: 3rem; padding-bottom: 3rem; color: var(--soft); font-size: .8125rem; }
@media (max-width: 30rem) {
  main, header, footer { padding-left: 1rem; padding-right: 1rem; }
  header { padding-top: 1.75rem; } .part { padding-top: 2.5rem; }
  .tiles { grid-template-columns: 1fr 1fr; gap: .625rem; } .tiles .broad { grid-column: 1 / -1; }
  .hero { grid-template-columns: repeat(4, 1fr); }
  .tiles dd b { font-size: 1.375rem; }
  table { font-size: .8125rem; } th, td { padding-right: .625rem; } tbody th { min-width: 4rem; }
  td { min-width: 2.5rem; } td:last-child:not(.number) { min-width: 7.5rem; }
  thead th, thead .number { font-size: .75rem; white-space: normal; vertical-align: bottom; }
  details { padding: .5rem .75rem; }
  .sheet { grid-template-columns: repeat(auto-fill, minmax(5rem, 1fr)); gap: .625rem; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  :root { color-scheme: light; }
  body { font-size: 10pt; } nav { display: none; } header { padding-top: 0; } .part { padding-top: 1.5rem; }
  h2, h3, caption, thead { break-after: avoid; } tr, .warnings li, .tiles > div { break-inside: avoid; }
  .tiles > div, .warnings li { border: 1px solid var(--line); }
  .scroll, details .scroll { overflow: visible; max-height: none; }
}
"""
