"""The table as one HTML page, which needs no network and no script; light and dark, wide screen and phone."""

import jax

from mmcl_jax.evaluation.results.provenance import provenance
from mmcl_jax.page.html import Child, Html, element, folded, fragment, section, table
from mmcl_jax.page.style import STYLE
from mmcl_jax.page.wording import clipped, count, counted
from mmcl_jax.reproduce import ledger
from mmcl_jax.reproduce.outcome import METRICS, TableOutcome, plus_minus
from mmcl_jax.reproduce.page.curves import curves
from mmcl_jax.reproduce.page.strips import strips
from mmcl_jax.reproduce.page.style import MORE_STYLE
from mmcl_jax.reproduce.page.text import described, differences
from mmcl_jax.reproduce.reading import ABSENT, HOLDS, HOW, OPPOSITE, PARTLY, UNDECIDED, Finding, Tally, against, judge
from mmcl_jax.reproduce.tables.spec import TableColumn, TableRow

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_BADGES = {HOLDS: "badge yes", PARTLY: "badge yes", OPPOSITE: "badge no", UNDECIDED: "badge", ABSENT: "badge"}


def render_page(outcome: TableOutcome, command: str) -> str:
    """Return the page as text, to be written as UTF-8."""
    parts = [
        ("table", "Table", _table(outcome)),
        ("reading", "Reading", _reading(outcome)),
        ("pictures", "Picture", _pictures(outcome)),
        ("differences", "Differences", _differences(outcome)),
        ("made", "How it was made", _made(outcome, command)),
    ]
    parts = [(key, text, part) for key, text, part in parts if part is not None]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{clipped(outcome.title)}: {outcome.plan.table.name}"),
        element("style", Html(STYLE + MORE_STYLE)),
    )
    links = [element("li", element("a", text, href=f"#{key}")) for key, text, _ in parts]
    body = element(
        "body",
        element("header", _headline(outcome), element("nav", element("ul", links), aria_label="Sections")),
        element("main", [part for *_, part in parts]),
        element("footer", "Made by ", element("code", "mmcl reproduce"), " from the evaluations in results.json."),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _headline(outcome: TableOutcome) -> Html:
    plan = outcome.plan
    records = [ledger.read(one.record) or {} for one in plan.trainings]
    hours = (sum(one.get("seconds", 0.0) for one in records) + sum(outcome.seconds.values())) / 3600
    trained = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    tally = Tally.of(judge(outcome))
    here = f"{tally.partly} for the methods here, " if tally.partly else ""
    tiles = [
        ("Claims that hold", f"{tally.holds} of {tally.claims}", f"{here}{tally.opposite} opposite"),
        ("Pretraining seeds", count(outcome.seeds), f"{counted(len(plan.trainings), 'pretraining')}"),
        ("Methods", count(len(plan.rows)), f"{counted(len(plan.evaluations), 'evaluation')}"),
        ("Time", trained, f"{jax.devices()[0].device_kind}"),
    ]
    return fragment(
        element("p", plan.table.source, class_="eyebrow"),
        element("h1", outcome.title),
        element("p", f"{described(outcome)}.", class_="headline"),
        element(
            "dl",
            [
                element("div", element("dt", what), element("dd", element("b", value), element("small", more)))
                for what, value, more in tiles
            ],
            class_="tiles",
        ),
    )


def _table(outcome: TableOutcome) -> Html:
    columns = outcome.plan.table.columns
    best = {column.key: _best(outcome, column) for column in columns}

    def cell(row: TableRow, column: TableColumn) -> Child:
        one, theirs = outcome.spread(row, column), outcome.published(row, column)
        text = plus_minus(one)
        ours = element("b", text) if row.key == best[column.key] else text
        return [ours, element("small", str(theirs), class_="theirs") if theirs else None]

    rows = [
        [element("b", row.label) if row.key == outcome.plan.table.reference else row.label]
        + [cell(row, column) for column in columns]
        for row in outcome.plan.rows
    ]
    lead = f"Test {METRICS[outcome.metric]} in percent; the best of a column is bold."
    if outcome.has_published:
        lead += f" Below ours in grey: {outcome.published_as}."
    return section(
        "table",
        "Table",
        element("p", lead, class_="lead"),
        element("p", outcome.orientation, class_="lead caution") if outcome.orientation else None,
        table(
            outcome.plan.table.title,
            ["Method", *(column.heading for column in columns)],
            rows,
            numeric=range(1, len(columns) + 1),
        ),
        element("p", outcome.spread_is_over, class_="calm narrow"),
        element("p", outcome.protocols, class_="calm narrow"),
    )


def _best(outcome: TableOutcome, column: TableColumn) -> str:
    means = {row.key: one.mean for row in outcome.plan.rows if (one := outcome.spread(row, column))}
    return max(means, key=lambda key: (means[key] == means[key], means[key]), default="")


def _reading(outcome: TableOutcome) -> Html:
    worse = against(outcome)
    return section(
        "reading",
        "Reading",
        element("p", HOW, class_="lead"),
        element("ul", [_claim(finding) for finding in judge(outcome)], class_="claims"),
        element("h3", "Above the reference row on average") if worse else None,
        element("ul", [element("li", sentence) for sentence in worse], class_="plain") if worse else None,
        None if worse else element("p", "No row is above the reference row on average.", class_="calm"),
    )


def _claim(finding: Finding) -> Html:
    whose = "Claim of ours" if finding.claim.ours else "Claim of the paper"
    return element(
        "li",
        element("p", element("span", finding.verdict, class_=_BADGES[finding.verdict]), element("small", whose)),
        element("h3", f"{finding.claim.text}."),
        element("ul", [element("li", line) for line in finding.numbers], class_="plain"),
    )


def _pictures(outcome: TableOutcome) -> Html | None:
    columns = outcome.plan.table.columns
    if outcome.plan.table.curves:
        protocols = dict.fromkeys(column.protocol for column in columns)
        charts = [
            curves(outcome, group, group[0].heading.partition(",")[0])
            for protocol in protocols
            if (group := [column for column in columns if column.protocol == protocol])
        ]
        lead = "Percent over the share of training labels; bars are one standard deviation over seeds."
    else:
        charts = [strips(outcome, column) for column in columns]
        lead = "A thin line is a seed, a thick one the mean."
        if outcome.own_target and outcome.has_published:
            lead += " A dashed line is the published mean."
    if not any(charts):
        return None
    return section("pictures", "Picture", element("p", lead, class_="lead"), element("div", charts, class_="charts"))


def _differences(outcome: TableOutcome) -> Html | None:
    rows = differences(outcome)
    if not rows:
        return None
    reference = outcome.plan.table.row(outcome.plan.table.reference).label
    lead = f"Each row minus {reference} in points, paired by pretraining seed."
    return section(
        "differences",
        "Differences",
        element("p", lead, class_="lead"),
        table("Differences", [text[0].upper() + text[1:] for text in rows[0]], rows[1:], numeric=(2, 3, 4)),
    )


def _made(outcome: TableOutcome, command: str) -> Html:
    plan, made = outcome.plan, provenance(command)
    records = [(one, ledger.read(one.record) or {}) for one in plan.trainings]
    runs = [
        [one.directory.name, count(record["steps"]), f"{record['seconds']:,.0f} s", record["device"]]
        for one, record in records
        if record
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
        element("dl", [element("div", element("dt", a), element("dd", b)) for a, b in facts], class_="facts"),
        folded(
            counted(len(runs), "pretraining"),
            table("Pretrainings", ["Run", "Steps", "Time", "Device"], runs, numeric=(1, 2)),
        ),
    )
