"""The table as Markdown, which also reads well in a terminal."""

from collections.abc import Sequence

from mmcl_jax.page.wording import counted
from mmcl_jax.reproduce.beside import beside
from mmcl_jax.reproduce.outcome import TableOutcome, rounded, signed
from mmcl_jax.reproduce.reading import above_reference, judge, repeats, verdict_rule


def render_text(outcome: TableOutcome) -> str:
    """Return the numbers, the verdicts and the differences as text."""
    parts = [
        f"# {outcome.title}",
        f"{described(outcome)}.",
        _aligned(numbers(outcome)),
        " ".join(filter(None, [outcome.spread_note, outcome.protocol_note, outcome.caution])),
        "## Reading",
        "\n".join(f"- {claim.sentence}" for claim in judge(outcome)),
    ]
    if above := above_reference(outcome):
        parts += ["Above the reference row on average:", "\n".join(f"- {sentence}" for sentence in above)]
    parts.append(verdict_rule(outcome))
    if rows := differences(outcome):
        parts += [f"## Differences to {_reference(outcome)}", _aligned(rows)]
    for one in beside(outcome):
        parts += [f"## {one.title}", one.lead, _aligned(one.rows)]
    return "\n\n".join(parts) + "\n"


def described(outcome: TableOutcome) -> str:
    """Return the table, the data and the metric in a few words."""
    table, store = outcome.plan.table, outcome.plan.store
    name = table.name if outcome.title.startswith(table.title) else f"{table.name}, {table.title.lower()}"
    measure, folds = outcome.main, outcome.plan.folds
    rows = f"{len(store.rows_of('train', 0)) if folds else store.sizes['train']:,} training rows"
    rows += f" of the first of {counted(folds, 'fold')}" if folds else ""
    where = f"{name} ({table.source}), on {store.directory.name} ({rows})"
    if table.analyses:
        return f"{where}, by {'the metrics that the columns name' if outcome.mixed else measure.name}"
    if table.own_labels:
        labels = ", ".join(repr(label) for label in dict.fromkeys(column.label for column in table.columns))
        of = "the metrics that the columns name" if outcome.mixed else f"{measure.name} {measure.unit}"
        return f"{where}, tests of {labels} by {of}"
    return f"{where}, test {measure.name} of {outcome.plan.settings.label!r} {measure.unit}"


def numbers(outcome: TableOutcome) -> list[list[str]]:
    """Return the head and the rows: in every column our value, beside the published number where the paper has one."""
    columns, rows = outcome.plan.table.columns, outcome.plan.rows
    theirs = {column.key for column in columns if any(outcome.published(row, column) for row in rows)}
    lines = [["method"]]
    for column in columns:
        lines[0] += [outcome.heading(column), *([outcome.published_as] if column.key in theirs else [])]
    for row in rows:
        line = [row.label]
        for column in columns:
            line.append(outcome.written(row, column))
            if column.key in theirs:
                line.append(str(outcome.published(row, column) or "–"))
        lines.append(line)
    return lines


def differences(outcome: TableOutcome) -> list[list[str]]:
    """Return the head and the rows of the differences to the reference row; empty if there is no other row."""
    lines = []
    for column in filter(lambda column: outcome.measure(column).ranked, outcome.plan.table.columns):
        for row in outcome.plan.rows:
            if (spread := outcome.to_reference(row, column)) is not None:
                interval = "–" if spread.seeds < 2 else signed(spread).partition(" ")[2]
                wins = f"{spread.above} of {repeats(spread.seeds, outcome.repeat)}"
                unit = f" ({outcome.measure(column).difference_unit})" if outcome.mixed else ""
                name = outcome.heading(column) + unit
                lines.append([row.label, name, f"{rounded(spread.mean):+.2f}", interval, wins])
    reference = _reference(outcome)
    how = [f"minus {reference}", "95 % interval", "above it at"]
    if outcome.mixed or outcome.main.lower:
        how = [f"{'' if outcome.mixed else '% '}better than {reference}", "95 % interval", "better at"]
    head = ["method", "column", *how]
    return [head, *lines] if lines else []


def _reference(outcome: TableOutcome) -> str:
    return outcome.plan.table.row(outcome.plan.table.reference).label


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table: the first row is the head; the first column is aligned left, the rest right."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    return "\n".join([line(rows[0]), f"|{'|'.join(rule)}|", *map(line, rows[1:])])
