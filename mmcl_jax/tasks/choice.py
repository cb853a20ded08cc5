"""Which task a label is."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.schema import Column
from mmcl_jax.errors import check
from mmcl_jax.tasks.classes import Class
from mmcl_jax.tasks.multi_label import MultiLabel
from mmcl_jax.tasks.number import Number
from mmcl_jax.tasks.numbers import Numbers
from mmcl_jax.tasks.ordinal import Ordinal
from mmcl_jax.tasks.segmentation import Segmentation
from mmcl_jax.tasks.task import Task

TASKS: dict[str, type[Task]] = {task.name: task for task in (Class, Ordinal, Number, MultiLabel, Numbers, Segmentation)}


def fitting(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return the names of the tasks that label columns can be, the default first; none if they do not go together.

    Example:
      >>> fitting([Column(name="grade", kind="ordinal", categories=("mild", "severe", "worst"))])
      ('ordinal', 'class')
      >>> fitting([Column(name="cad", kind="boolean", categories=("no", "yes")), Column(name="age", kind="continuous")])
      ()
    """
    if len(columns) > 1:
        if all(column.coded and len(column.categories) == 2 for column in columns):
            return ("multi_label",)
        return () if any(column.coded for column in columns) else ("numbers",)
    (column,) = columns
    if not column.coded:
        return ("number",)
    # Two grades have no order that two classes lack.
    return ("ordinal", "class") if column.kind == "ordinal" and len(column.categories) > 2 else ("class",)


def task_of(
    columns: Sequence[Column], name: str | None = None, *, val: np.ndarray | None = None, label: str | None = None
) -> Task:
    """Return the task of predicting label columns: of one, or of several together.

    Args:
      columns: the labels.
      name: of the task, where a label can be more than one: an ordinal label is "ordinal", or a "class" without order.
      val: their values `[N]` or `[N, K]` in the validation split, which say whether its metric can choose settings.
      label: what they are called together; by default their names, joined by "+".

    Raises:
      UserError: the labels do not go together, or are no such task.
    """
    label = label or "+".join(column.name for column in columns)
    known = fitting(columns)
    kinds = ", ".join(f"{column.name} is {column.kind}" for column in columns)
    check(
        len(known) > 0,
        f"--label {label}: several labels are one task if all have two classes, or all are numbers ({kinds}); "
        "separate other labels by commas.",
    )
    check(name is None or name in TASKS, f"--task: there is no task {name!r}; choose from {', '.join(TASKS)}.")
    name = name or known[0]
    check(
        name in known, f"--task {name}: does not fit the label {label!r} ({kinds}), which can be {' or '.join(known)}."
    )
    if name in ("class", "ordinal"):
        make = Class if name == "class" else Ordinal
        one_class = val is not None and len(np.unique(val)) == 1
        return make(label=label, classes=len(columns[0].categories), one_class=one_class)
    if name == "number":
        return Number(label=label)
    names = tuple(column.name for column in columns)
    if name == "numbers":
        return Numbers(label=label, names=names)
    one_class = val is not None and not any({0.0, 1.0} <= set(of_label.tolist()) for of_label in val.T)
    return MultiLabel(label=label, names=names, one_class=one_class)
