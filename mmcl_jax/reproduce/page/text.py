"""The table as Markdown that also reads well in a terminal."""

from collections.abc import Sequence

from mmcl_jax.page.wording import counted
from mmcl_jax.reproduce.outcome import METRICS, TableOutcome, plus_minus, rounded, signed
from mmcl_jax.reproduce.reading import HOW, against, judge


def render_text(outcome: TableOutcome) -> str:
    """Return the numbers, the reading and the differences as text."""
    parts = [
        f"# {outcome.title}",
        f"{described(outcome)}.",
        _aligned(numbers(outcome)),
        " ".join(filter(None, [outcome.spread_is_over, outcome.protocols, outcome.orientation])),
        "## Reading",
        "\n".join(f"- {finding.sentence}" for finding in judge(outcome)),
    ]
    if worse := against(outcome):
        parts += ["Above the reference row on average:", "\n".join(f"- {sentence}" for sentence in worse)]
    parts.append(HOW)
    if rows := differences(outcome):
        parts += [f"## Differences to {_reference(outcome)}", _aligned(rows)]
    return "\n\n".join(parts) + "\n"


def described(outcome: TableOutcome) -> str:
    """Return the table, the data and the metric in a few words."""
    table, store = outcome.plan.table, outcome.plan.store
    name = table.name if outcome.title.startswith(table.title) else f"{table.name}, {table.title.lower()}"
    return (
        f"{name} ({table.source}), on {store.directory.name} ({store.sizes['train']:,} training rows), "
        f"test {METRICS[outcome.metric]} of {outcome.plan.how.label!r} in percent"
    )


def numbers(outcome: TableOutcome) -> list[list[str]]:
    """Return the table with its head: our value in every column, beside the published number if the paper has any."""
    columns, rows = outcome.plan.table.columns, outcome.plan.rows
    theirs = {column.key for column in columns if any(outcome.published(row, column) for row in rows)}
    lines = [["method"]]
    for column in columns:
        lines[0] += [column.heading.lower(), *([outcome.published_as] if column.key in theirs else [])]
    for row in rows:
        line = [row.label]
        for column in columns:
            line.append(plus_minus(outcome.spread(row, column)))
            if column.key in theirs:
                line.append(str(outcome.published(row, column) or "–"))
        lines.append(line)
    return lines


def differences(outcome: TableOutcome) -> list[list[str]]:
    """Compare every row and column with the reference row, below a head; empty if there is no other row."""
    lines = []
    for column in outcome.plan.table.columns:
        for row in outcome.plan.rows:
            if (one := outcome.to_reference(row, column)) is not None:
                interval = "–" if one.seeds < 2 else signed(one).partition(" ")[2]
                wins = f"{one.above} of {counted(one.seeds, 'seed')}"
                lines.append([row.label, column.heading.lower(), f"{rounded(one.mean):+.2f}", interval, wins])
    head = ["method", "column", f"minus {_reference(outcome)}", "95 % interval", "above it at"]
    return [head, *lines] if lines else []


def _reference(outcome: TableOutcome) -> str:
    return outcome.plan.table.row(outcome.plan.table.reference).label


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table: the first is the head, the first column is set left, the others right."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    return "\n".join([line(rows[0]), f"|{'|'.join(rule)}|", *map(line, rows[1:])])
