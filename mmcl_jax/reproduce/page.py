"""The table as one HTML page without network or scripts, for light and dark mode, wide screens and phones."""

import jax

from mmcl_jax.evaluation.results.provenance import provenance
from mmcl_jax.page.html import Child, Html, document, element, folded, fragment, section, table
from mmcl_jax.page.style import STYLE
from mmcl_jax.page.wording import clipped, count, counted
from mmcl_jax.reproduce.analyses.figures import figure_of_models, figure_of_person
from mmcl_jax.reproduce.beside import beside
from mmcl_jax.reproduce.charts import curves, strips
from mmcl_jax.reproduce.outcome import TableOutcome
from mmcl_jax.reproduce.plan import read_training
from mmcl_jax.reproduce.reading import (
    ABSENT,
    HOLDS,
    OPPOSITE,
    PARTLY,
    UNDECIDED,
    JudgedClaim,
    Tally,
    above_reference,
    judge,
    repeats,
    verdict_rule,
)
from mmcl_jax.reproduce.spec import TableColumn, TableRow
from mmcl_jax.reproduce.text import described, differences

_BADGES = {HOLDS: "badge yes", PARTLY: "badge yes", OPPOSITE: "badge no", UNDECIDED: "badge", ABSENT: "badge"}


# What the page needs beyond the style sheet of the data card, whose colours it shares.
_STYLE = """
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
.eye { width: 100%; max-width: 24rem; margin-bottom: .75rem; image-rendering: pixelated; }
#differences th, #differences td { white-space: nowrap; }
"""


def render_page(outcome: TableOutcome, command: str) -> str:
    """Return the page as text; write it as UTF-8."""
    parts = [
        ("table", "Table", _table(outcome)),
        ("reading", "Reading", _reading(outcome)),
        ("figure", "Figure", _figure(outcome)),
        ("pictures", "Picture", _charts(outcome)),
        ("differences", "Differences", _differences(outcome)),
        ("beside", "More", _beside(outcome)),
        ("made", "How it was made", _made(outcome, command)),
    ]
    parts = [(key, text, part) for key, text, part in parts if part is not None]
    links = [element("li", element("a", text, href=f"#{key}")) for key, text, _ in parts]
    body = element(
        "body",
        element("header", _headline(outcome), element("nav", element("ul", links), aria_label="Sections")),
        element("main", [part for *_, part in parts]),
        element("footer", "Made by ", element("code", "mmcl reproduce"), " from the evaluations in results.json."),
    )
    title, images = f"{clipped(outcome.title)}: {outcome.plan.table.name}", outcome.plan.table.figure == "person"
    return document(title, STYLE + _STYLE, body, images=images)


def _headline(outcome: TableOutcome) -> Html:
    plan = outcome.plan
    records = [read_training(training) for training in plan.trainings]
    hours = (sum(record["seconds"] for record in records if record) + sum(outcome.seconds.values())) / 3600
    time = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    tally = Tally.of(judge(outcome))
    partly = f"{tally.partly} for the methods here, " if tally.partly else ""
    tiles = [
        ("Claims that hold", f"{tally.holds} of {tally.claims}", f"{partly}{tally.opposite} opposite"),
        (
            "Pretraining seeds",
            count(outcome.seeds),
            (f"{counted(plan.folds, 'fold')}, " if plan.folds else "") + counted(len(plan.trainings), "pretraining"),
        ),
        ("Methods", count(len(plan.rows)), f"{counted(len(plan.evaluations), 'evaluation')}"),
        ("Time", time, f"{jax.devices()[0].device_kind}"),
    ]
    return fragment(
        element("p", plan.table.source, class_="eyebrow"),
        element("h1", outcome.title),
        element("p", f"{described(outcome)}.", class_="headline"),
        element(
            "dl",
            [
                element("div", element("dt", name), element("dd", element("b", value), element("small", detail)))
                for name, value, detail in tiles
            ],
            class_="tiles",
        ),
    )


def _table(outcome: TableOutcome) -> Html:
    columns = outcome.plan.table.columns
    best = {column.key: _best(outcome, column) for column in columns}

    def cell(row: TableRow, column: TableColumn) -> Child:
        theirs, text = outcome.published(row, column), outcome.written(row, column)
        ours = element("b", text) if row.key == best[column.key] else text
        return [ours, element("small", str(theirs), class_="theirs") if theirs else None]

    rows = [
        [element("b", row.label) if row.key == outcome.plan.table.reference else row.label]
        + [cell(row, column) for column in columns]
        for row in outcome.plan.rows
    ]
    what = "Tests by the metric in the heading" if outcome.mixed else f"Test {outcome.main.name} {outcome.main.unit}"
    lead = f"{what}; the best of a column is bold."
    if outcome.has_published_rows:
        lead += f" Below ours in grey: {outcome.published_as}."
    return section(
        "table",
        "Table",
        element("p", lead, class_="lead"),
        element("p", outcome.caution, class_="lead caution") if outcome.caution else None,
        table(
            outcome.plan.table.title,
            ["Method", *(column.heading for column in columns)],
            rows,
            numeric=range(1, len(columns) + 1),
        ),
        element("p", outcome.spread_note, class_="calm narrow"),
        element("p", outcome.protocol_note, class_="calm narrow"),
    )


def _best(outcome: TableOutcome, column: TableColumn) -> str:
    """Return the key of the row with the best mean; a row that diverged is the best only if all did.

    It is "" in a column where neither higher nor lower is better.
    """
    if not outcome.measure(column).ranked:
        return ""
    sign = -1 if outcome.measure(column).lower else 1
    means = {row.key: sign * spread.mean for row in outcome.plan.rows if (spread := outcome.spread(row, column))}
    return max(means, key=lambda key: (means[key] == means[key], means[key]), default="")


def _reading(outcome: TableOutcome) -> Html:
    above = above_reference(outcome)
    return section(
        "reading",
        "Reading",
        element("p", verdict_rule(outcome), class_="lead"),
        element("ul", [_claim(judged) for judged in judge(outcome)], class_="claims"),
        element("h3", "Above the reference row on average") if above else None,
        element("ul", [element("li", sentence) for sentence in above], class_="plain") if above else None,
        None if above else element("p", "No row is above the reference row on average.", class_="calm"),
    )


def _claim(judged: JudgedClaim) -> Html:
    whose = "Claim of ours" if judged.claim.ours else "Claim of the paper"
    return element(
        "li",
        element("p", element("span", judged.verdict, class_=_BADGES[judged.verdict]), element("small", whose)),
        element("h3", f"{judged.claim.text}."),
        element("ul", [element("li", line) for line in judged.numbers], class_="plain"),
    )


def _charts(outcome: TableOutcome) -> Html | None:
    columns = outcome.plan.table.columns
    if outcome.plan.table.curves:
        whole = [column for column in columns if not column.hidden[1]]
        hidden = [column for column in columns if column.hidden[1]]
        groups: dict[str, list[TableColumn]] = {}
        for column in hidden or whole:
            groups.setdefault(column.hidden[0] or column.protocol, []).append(column)
        charts = [
            curves(outcome, [*(whole if hidden else []), *group], group[0].heading.partition(",")[0])
            for group in groups.values()
        ]
        measure = outcome.main
        what = "Percent" if measure.percent else f"{measure.name.capitalize()} (lower is better)"
        over = repeats(2, outcome.repeat).partition(" ")[2]
        share = "the table that is hidden" if hidden else "training labels"
        lead = f"{what} over the share of {share}; bars are one standard deviation over {over}."
    else:
        charts = [strips(outcome, column) for column in columns]
        lead = f"A thin line is a {outcome.repeat}, a thick one the mean."
        if outcome.own_target and outcome.has_published_rows:
            lead += " A dashed line is the published mean."
    if not any(charts):
        return None
    return section("pictures", "Picture", element("p", lead, class_="lead"), element("div", charts, class_="charts"))


_FIGURES = {
    "models": (
        figure_of_models,
        "The features with the largest share of all absolute attributions of a model, the mean over seeds, in percent. "
        "Planted ones are bold, and their bars have the second colour.",
    ),
    "person": (
        figure_of_person,
        "A test person, the one with the most tortuous vessels, of the first seed: the features that raise the loss "
        "the most, then those that lower it. Planted ones are bold, and their bars have the second colour.",
    ),
}


def _figure(outcome: TableOutcome) -> Html | None:
    if not outcome.plan.table.figure:
        return None
    draw, lead = _FIGURES[outcome.plan.table.figure]
    drawn = draw(outcome)
    if not drawn:
        return None
    return section("figure", "Figure", element("p", lead, class_="lead"), element("div", drawn, class_="charts"))


def _differences(outcome: TableOutcome) -> Html | None:
    rows = differences(outcome)
    if not rows:
        return None
    reference = outcome.plan.table.row(outcome.plan.table.reference).label
    lead = (
        f"How much less error each row has than {reference}, in percent of the latter's"
        if outcome.main.lower
        else f"Each row minus {reference} in points"
    )
    if outcome.mixed:
        lead = f"How much better each row is than {reference}, in the unit beside the column"
    by = f"paired by pretraining {outcome.repeat}" if outcome.plan.folds == 0 else f"paired by {outcome.repeat}"
    lead = f"{lead}, {by}."
    return section(
        "differences",
        "Differences",
        element("p", lead, class_="lead"),
        table("Differences", [text[0].upper() + text[1:] for text in rows[0]], rows[1:], numeric=(2, 3, 4)),
    )


def _beside(outcome: TableOutcome) -> Html | None:
    made = beside(outcome)
    if not made:
        return None
    parts = [
        [
            element("h3", one.title),
            element("p", one.lead, class_="calm narrow"),
            table(
                one.title,
                [text[0].upper() + text[1:] for text in one.rows[0]],
                one.rows[1:],
                numeric=range(1, len(one.rows[0])),
            ),
        ]
        for one in made
    ]
    return section("beside", "More", *(child for part in parts for child in part))


def _made(outcome: TableOutcome, command: str) -> Html:
    plan, made = outcome.plan, provenance(command)
    runs = [
        [training.directory.name, count(record["steps"]), f"{record['seconds']:,.0f} s", record["device"]]
        for training in plan.trainings
        if (record := read_training(training))
    ]
    facts = [
        ("Versions", f"mmcl_jax {made['mmcl_jax']}, JAX {made['jax']}, Python {made['python']}"),
        ("Device", f"{counted(made['devices'], 'device')} ({made['device']}), {made['cores']} cores"),
        ("Store", f"{plan.store.directory.name}, fingerprint {plan.store.fingerprint[:12]}…"),
        ("Configs", f"variant {outcome.variant}; all of them are in results.json"),
    ]
    return section(
        "made",
        "How it was made",
        element("pre", element("code", command)) if command else None,
        element(
            "dl", [element("div", element("dt", name), element("dd", value)) for name, value in facts], class_="facts"
        ),
        folded(
            counted(len(runs), "pretraining"),
            table("Pretrainings", ["Run", "Steps", "Time", "Device"], runs, numeric=(1, 2)),
        ),
    )
