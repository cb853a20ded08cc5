"""The section of collapse meters: how far the embeddings are spread, in how many directions, and where pairs lie."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.sources.features import unit_rows
from mmcl_jax.evaluation.sources.pairs import compared
from mmcl_jax.objectives import COLLAPSED
from mmcl_jax.page.html import Html, element, section, table
from mmcl_jax.page.lines import line_chart
from mmcl_jax.report.sections.curves import lines_of, logged
from mmcl_jax.report.subject import Group, paragraph

_PAIRS = 1000  # rows whose distances to one another are averaged


def meters(groups: Sequence[Group]) -> Html:
    """Return the section."""
    charts = []
    for heading, prefix in (("Deviation", "deviation/"), ("Effective rank", "rank/")):
        keys = [key for key in logged(groups) if key.startswith(prefix)]
        lines = [
            line
            for dash, key in enumerate(keys)
            for line in lines_of(key, groups, dash=dash, words=key.removeprefix(prefix))
        ]
        charts.append(line_chart(heading, lines, x="step"))
    lead = (
        "Deviation is 0 when all embeddings of a view are one point (a collapse) and about 1 when they are spread over "
        f"the sphere; below {COLLAPSED:g} counts as collapsed. The effective rank is the number of directions that "
        "they use."
    )
    absent = None if any(charts) else paragraph("No step with a deviation or a rank is logged.", kind="calm")
    return section(
        "meters",
        "Collapse meters",
        element("p", lead, class_="lead"),
        absent,
        element("div", charts, class_="charts"),
        _alignment(groups),
    )


def _alignment(groups: Sequence[Group]) -> Html | None:
    """Return the alignment and uniformity of what each experiment compares, measured on the rows of the page."""
    rows, notes = [], []
    for group in groups:
        subject = group.first
        try:
            for first, second in compared(subject.run.config, subject.run.inputs):
                indices = subject.rows([first.partition(":")[0], second.partition(":")[0]])
                sides = [unit_rows(subject.features(key, indices, projected=True)) for key in (first, second)]
                near = float(np.square(sides[0] - sides[1]).sum(axis=1).mean())
                spread = [f"{uniformity(side[:_PAIRS]):.2f}" for side in sides]
                rows.append([group.name, f"{first} and {second}", f"{near:.3f}", *spread])
        except UserError as error:
            notes.append(paragraph(str(error)))
    if not rows:
        return element("div", notes) if notes else None
    head = ["Experiment", "Compared", "Alignment", "Uniformity, first", "Uniformity, second"]
    note = (
        "Alignment is the mean squared distance of a row's own pair, 0 to 4, lower is better; uniformity is the "
        "logarithm of the mean of exp(-2 d²) over pairs of rows, 0 when they coincide and about -4 at best (Wang and "
        "Isola, ICML 2020). Of plain views of the rows that the map shows."
    )
    caption = "Alignment and uniformity"
    return element(
        "div",
        table(caption, head, rows, numeric={2, 3, 4}, captioned=True),
        element("p", note, class_="calm narrow"),
        notes,
    )


def uniformity(unit: np.ndarray) -> float:
    """Return the uniformity of embeddings `[n, d]` of length 1: log mean exp(-2 |x - y|²) over pairs; NaN for one.

    Example:
      >>> round(uniformity(np.eye(3)), 3)  # all squared distances are 2
      -4.0
    """
    if len(unit) < 2:
        return float("nan")
    values = np.asarray(unit, np.float64)
    squares = np.maximum(2 - 2 * values @ values.T, 0)
    return float(np.log(np.exp(-2 * squares[np.triu_indices(len(values), 1)]).mean()))
