"""The section of results: the tables of `mmcl evaluate`, every seed, and the published numbers of a paper's method."""

from collections.abc import Sequence

from mmcl_jax.evaluation.protocols.options import UNLABELLED
from mmcl_jax.evaluation.results.confounding import confounding_grids
from mmcl_jax.evaluation.results.improvement import improvement_grids
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import (
    NAMES,
    Grid,
    budgets_of,
    by_rate,
    detail_grids,
    grids,
    methods_of,
    shown,
    summarise,
)
from mmcl_jax.page.html import Html, element, folded, name, section, table
from mmcl_jax.page.lines import Line, line_chart
from mmcl_jax.page.wording import clipped, counted
from mmcl_jax.report.scored import Scored
from mmcl_jax.report.sections.configs import closest_shipped
from mmcl_jax.report.subject import Group, how_to_evaluate, paragraph
from mmcl_jax.reproduce.published import TARGETS
from mmcl_jax.reproduce.tables import TABLES

_MOST = 400  # scores that are listed one by one


def results(groups: Sequence[Group], found: Scored) -> Html:
    """Return the section."""
    parts: list[Html] = []
    if found.scores:
        files = ", ".join(clipped(path) for path in found.files)
        parts.append(element("p", f"Scores on the test split, from {files}.", class_="lead"))
        # A label that was predicted as several tasks has tables for each, since they have other metrics.
        for task in dict.fromkeys(score.task for score in found.scores):
            of_task = [score for score in found.scores if score.task == task]
            named = task if _tasks(found.scores, {score.label for score in of_task}) > 1 else ""
            every = [*grids(of_task), *detail_grids(of_task), *improvement_grids(of_task)]
            parts += [_grid(grid, named) for grid in every]
            parts += _hidden(of_task, named)
        parts += [_grid(grid) for grid in confounding_grids(found.scores)]
        parts.append(_each(found.scores))
    else:
        for group in groups:
            parts.append(paragraph(f"{clipped(group.name)} has no score yet.", *how_to_evaluate(group)))
    if found.others:
        parts.append(
            paragraph(
                f"{counted(found.others, 'score')} of other checkpoints, stores or settings "
                f"{'is' if found.others == 1 else 'are'} not shown.",
                kind="calm",
            )
        )
    parts += [part for group in groups if (part := _published(group)) is not None]
    return section("results", "Results", *parts)


def _tasks(scores: Sequence[Score], labels: set[str]) -> int:
    """Return as how many tasks a label was predicted, at most, of some labels."""
    return max(len({score.task for score in scores if score.label == label}) for label in labels)


def _as(task: str) -> str:
    """Return the words for a task behind a title; "" for a label that was predicted as one task alone."""
    return f", as {task.replace('_', ' ')}" if task else ""


def _grid(grid: Grid, task: str = "") -> Html:
    numbers = set(range(grid.labels, len(grid.head)))
    note = element("p", grid.note, class_="calm narrow") if grid.note else None
    rows = [[name(cell) if index < grid.labels else cell for index, cell in enumerate(row)] for row in grid.rows]
    title = grid.title + _as(task)
    content = table(title, [clipped(text) for text in grid.head], rows, numeric=numbers)
    return element("div", element("h3", clipped(title, 200)), content, note)


def _hidden(scores: Sequence[Score], task: str = "") -> list[Html]:
    """Draw the first metric over the share of the table that was hidden, a line per method and budget."""
    charts = []
    whole = {(score.label, score.protocol, score.input, score.missing_by) for score in scores if score.missing}
    for label, protocol, input, by in sorted(whole):
        part = [score for score in scores if (score.label, score.protocol, score.input) == (label, protocol, input)]
        metric, parts = shown(part[0])[0], by_rate(part, by)
        tables = {rate: summarise(of_rate, metric) for rate, of_rate in parts.items()}
        lines = []
        for colour, method in enumerate(methods_of(part)):
            for dash, budget in enumerate(budgets_of(part)):
                cells = {rate: table.get(method, {}).get(budget) for rate, table in tables.items()}
                points = {100 * rate: cell.mean for rate, cell in cells.items() if cell is not None}
                lines.append(Line(f"{method}, {budget}", list(points), list(points.values()), colour, dash))
        heading = f"{NAMES.get(metric, metric)} of {clipped(label)}, {protocol} on {input}, hidden by {by}{_as(task)}"
        if (chart := line_chart(heading, lines, x="percent of the table hidden")) is not None:
            charts.append(chart)
    return [element("div", charts, class_="charts")] if charts else []


def _each(scores: Sequence[Score]) -> Html:
    """List every score, so that means can be checked."""
    rows = []
    for score in [score for score in scores if score.protocol not in UNLABELLED][:_MOST]:
        first, second = shown(score)
        chosen = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in score.chosen.items())
        fold = "" if score.fold is None else f", fold {score.fold}"
        rows.append(
            [
                name(score.method),
                f"{score.seed}{fold}",
                score.protocol,
                score.input,
                score.budget + (f", {100 * score.missing:g} % hidden by {score.missing_by}" if score.missing else ""),
                str(score.draw),
                *(f"{NAMES.get(m, m)} {score.metrics[m]:.3f}" for m in (first, second)),
                chosen,
            ]
        )
    head = ["Features", "Seed", "Protocol", "Input", "Labels", "Draw", "First metric", "Second metric", "Chosen"]
    return folded(counted(len(rows), "score") + ", one by one", table("Every score", head, rows))


def _published(group: Group) -> Html | None:
    """Return the published numbers of a paper's method; None for another experiment, or with other inputs or terms."""
    found = closest_shipped(group.first.run.config)
    if found is None or any(key.startswith(("objective", "inputs", "views")) for key in found.changed):
        return None
    rows = []
    for paper in TABLES.values():
        for row in paper.rows:
            if row.config != found.name.partition(":")[0] or row.overrides:
                continue
            for target, numbers in row.published.items():
                cells = [str(numbers[key]) if key in numbers else "–" for key in ("frozen", "trainable")]
                rows.append([TARGETS[target], *cells, paper.source])
    if not rows:
        return None
    unique = list({tuple(row[:3]): row for row in rows}.values())
    note = (
        "In percent, mean ± standard deviation over five fine-tuning seeds: top-1 accuracy for DVM-CAR, AUROC for UK "
        "Biobank. They are of the paper's own data and encoders, so they are a yardstick only for a store of the same "
        "data."
    )
    return element(
        "div",
        table(
            f"Published numbers of {clipped(group.name)}",
            ["Data", "Linear probe", "Fine-tuning", "Source"],
            unique,
            numeric={1, 2},
            captioned=True,
        ),
        element("p", note, class_="calm narrow"),
    )
