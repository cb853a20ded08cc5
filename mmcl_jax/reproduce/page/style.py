"""What the page needs beyond the style sheet of the data card, whose colours it shares."""

MORE_STYLE = """
:root { --yes: #00674a; --yes-wash: #e9f6f1; }
@media (prefers-color-scheme: dark) { :root { --yes: #58d0a8; --yes-wash: #16271f; } }
.theirs { display: block; color: var(--soft); font-size: .8125rem; font-weight: 400; }
.caution { border-left: 3px solid var(--gap); padding-left: .75rem; }
.claims { display: grid; gap: .75rem; margin-bottom: 1.5rem; }
.claims > li { border: 1px solid var(--line); border-radius: .75rem; padding: .75rem 1rem; break-inside: avoid; }
.claims small { color: var(--soft); }
.claims h3 { margin: .375rem 0 .25rem; }
.badge { display: inline-block; border-radius: 1rem; padding: .0625rem .625rem; margin-right: .625rem;
  font-size: .8125rem; font-weight: 650; background: var(--wash); color: var(--soft); border: 1px solid var(--line); }
.badge.yes { background: var(--yes-wash); color: var(--yes); border-color: var(--yes); }
.badge.no { background: var(--alarm-wash); color: var(--alarm); border-color: var(--alarm); }
.plain { font-size: .9375rem; color: var(--soft); display: grid; gap: .125rem; margin-top: .25rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 2rem 3rem; }
.charts h3 { margin-bottom: .75rem; }
.axis { grid-column: 1 / -1; width: 100%; height: 1rem; background: var(--wash); border-radius: .25rem;
  overflow: visible; }
.axis line { vector-effect: non-scaling-stroke; }
.tick { stroke: var(--bin); stroke-width: 1.5px; }
.mean { stroke: var(--soft); stroke-width: 4px; } .lead-mean { stroke: var(--accent); stroke-width: 5px; }
.paper-mean { stroke: var(--s1); stroke-width: 2.5px; stroke-dasharray: 3 2; }
.curves { width: 100%; height: auto; max-width: 40rem; }
.curves text { fill: var(--soft); font: 12.5px system-ui, sans-serif; }
.rule { stroke: var(--line); stroke-width: 1px; }
.line { fill: none; stroke-linejoin: round; }
.key { width: 1.875rem; height: .625rem; margin-right: .375rem; flex: none; }
.curves + .legend { margin-top: .5rem; }
.l0 { stroke: var(--s0); } .l1 { stroke: var(--s1); } .l2 { stroke: var(--s2); } .l3 { stroke: var(--s3); }
.l4 { stroke: var(--s4); } .l5 { stroke: var(--s5); } .l6 { stroke: var(--s6); } .l7 { stroke: var(--s7); }
#differences th, #differences td { white-space: nowrap; }
"""
