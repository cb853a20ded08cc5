"""What the page of a report needs beyond the style sheet of the data card, whose colours it shares."""

from mmcl_jax.page.lines import LINE_STYLE

REPORT_STYLE = (
    LINE_STYLE
    + """
:root { --yes: #00674a; --yes-wash: #e9f6f1; --heat: 60%; }
@media (prefers-color-scheme: dark) { :root { --yes: #58d0a8; --yes-wash: #16271f; --heat: 42%; } }
.calm { max-width: 46rem; } .of { margin: 2rem 0 .75rem; font-size: 1.25rem; }
.absent { border-left: 3px solid var(--gap); padding: .125rem 0 .125rem .75rem; max-width: 46rem; margin: .75rem 0;
  color: var(--soft); }
.absent code { display: block; color: var(--ink); margin-top: .25rem; }
.badge { display: inline-block; border-radius: 1rem; padding: .0625rem .625rem; font-size: .8125rem; font-weight: 650;
  border: 1px solid currentColor; }
.badge.yes { background: var(--yes-wash); color: var(--yes); }
.badge.no { background: var(--alarm-wash); color: var(--alarm); }
.health { margin-top: 1.25rem; display: grid; gap: .375rem; font-size: .9375rem; }
.health li { display: grid; grid-template-columns: 4.25rem 1fr; gap: .625rem; align-items: baseline; }
.health .badge { text-align: center; }
.health .whose { color: var(--soft); }
.tiles dd b { overflow-wrap: anywhere; } .tiles dd small { display: block; line-height: 1.4; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 2rem 2.5rem;
  margin: 1rem 0; }
.charts > * { min-width: 0; } .charts h3, .charts h4 { margin: 0 0 .5rem; }
.map { width: 100%; height: auto; max-width: 34rem; background: var(--wash); border-radius: .75rem; margin: .5rem 0; }
.dot { fill-opacity: .8; } .ring { fill: var(--paper); fill-opacity: .2; stroke-width: 1.5px; }
.other { fill: var(--gap); fill-opacity: .35; }
.maps .legend { font-size: .8125rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1rem 2.5rem;
  align-items: start; margin-bottom: 1.5rem; }
.pair > * { min-width: 0; }
.square { max-width: 21rem; }
.ideal { stroke: var(--gap); stroke-width: 1.5px; stroke-dasharray: 4 3; }
.confusion table { font-size: .8125rem; } .confusion tbody th { min-width: 0; white-space: nowrap; }
.confusion td { padding: 2px; min-width: 0; border-bottom: 0; } .confusion .narrow { max-width: none; }
.heat { display: block; padding: .1875rem .375rem; border-radius: .1875rem; min-width: 1.875rem; text-align: right;
  background: color-mix(in srgb, var(--accent) calc(var(--v) * var(--heat)), var(--paper)); }
.zero { color: var(--soft); }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(28rem, 100%), 1fr)); gap: 1.5rem 2.5rem;
  margin: .75rem 0 1.75rem; }
.strip-of { display: grid; grid-template-columns: repeat(5, minmax(0, 6rem)); gap: .5rem; }
.strip-of img { display: block; width: 100%; height: auto; border-radius: .375rem; background: var(--track); }
.strip-of .pixels { image-rendering: pixelated; }
.strip-of .query img, .strip-of .query .blank { outline: 3px solid var(--accent); outline-offset: 1px; }
.strip-of .hit img, .strip-of .hit .blank { outline: 3px solid var(--yes); outline-offset: 1px; }
.strip-of figcaption { font-size: .75rem; line-height: 1.35; margin-top: .375rem; display: grid; color: var(--soft); }
.strip-of figcaption b { color: var(--ink); font-weight: 600; }
.blank { aspect-ratio: 1; border: 1px dashed var(--gap); border-radius: .375rem; display: grid; place-items: center;
  font-size: .75rem; color: var(--soft); text-align: center; padding: .25rem; }
.cells { display: grid; } .cells dt { display: inline; color: var(--soft); } .cells dd { display: inline; }
.cells dt::after { content: " "; } .cells div { overflow: hidden; text-overflow: ellipsis; }
.explanation { margin-bottom: 2rem; }
.overlays { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(12rem, 100%), 1fr)); gap: 1rem;
  margin: 1rem 0; }
.overlays.large { grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); }
.overlays img { display: block; width: 100%; height: auto; border-radius: .375rem; background: #fff; }
.overlays figcaption { font-size: .75rem; color: var(--soft); margin-top: .25rem; }
@media (max-width: 30rem) {
  .strip-of { gap: .375rem; } .strip-of figcaption { font-size: .6875rem; }
  .health li { grid-template-columns: 3.75rem 1fr; }
}
@media print { .charts > *, .examples > li { break-inside: avoid; } }
"""
)
