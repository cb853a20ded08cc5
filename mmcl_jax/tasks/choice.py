"""The tasks by name, and the task that label columns are."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.schema import Column
from mmcl_jax.errors import check, check_name
from mmcl_jax.tasks.classes import Class
from mmcl_jax.tasks.detection.detection import CocoDetection, Detection, FrocDetection
from mmcl_jax.tasks.dice import Dice
from mmcl_jax.tasks.masks import Masks
from mmcl_jax.tasks.multi_label import MultiLabel
from mmcl_jax.tasks.number import Number
from mmcl_jax.tasks.numbers import Numbers
from mmcl_jax.tasks.ordinal import Ordinal
from mmcl_jax.tasks.ordinal_logits import OrdinalLogits
from mmcl_jax.tasks.segmentation import Segmentation
from mmcl_jax.tasks.task import Task

_DETECTION = (Detection, CocoDetection, FrocDetection)
_ALL = (Class, Ordinal, OrdinalLogits, Number, MultiLabel, Numbers, Segmentation, Masks, Dice, *_DETECTION)
TASKS: dict[str, type[Task]] = {task.name: task for task in _ALL}


def fitting(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return the names of the tasks that label columns can be, the default first; () if they are no task together.

    Example:
      >>> fitting([Column(name="grade", kind="ordinal", categories=("mild", "severe", "worst"))])
      ('ordinal', 'ordinal_logits', 'class')
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
    # Two grades are the same task as two classes.
    grades = column.kind == "ordinal" and len(column.categories) > 2
    return ("ordinal", "ordinal_logits", "class") if grades else ("class",)


def task_of(
    columns: Sequence[Column], name: str | None = None, *, val: np.ndarray | None = None, label: str | None = None
) -> Task:
    """Return the task of predicting one label column, or several columns together.

    Args:
      columns: the labels.
      name: of the task, for labels that can be several: an ordinal label can also be "ordinal_logits", decoded as
        ContIG does, or a "class", without its order.
      val: the labels `[N]` or `[N, K]` of the validation split, which decide whether the AUROC or kappa is defined.
      label: the name of the columns together; by default their names, joined by "+".

    Raises:
      UserError: the labels are no task together, or not the task `name`.
    """
    label = label or "+".join(column.name for column in columns)
    options = fitting(columns)
    kinds = ", ".join(f"{column.name} is {column.kind}" for column in columns)
    check(
        len(options) > 0,
        f"--label {label}: labels joined by '+' must all have two classes, or all be numbers, but {kinds}; separate "
        "them by commas to predict each by itself.",
    )
    name = name or options[0]
    check_name(name, TASKS.keys(), "--task: there is no task")
    check(
        name in options,
        f"--task {name}: the label {label!r} ({kinds}) is no such task; choose --task {' or --task '.join(options)}.",
    )
    if name in ("class", "ordinal", "ordinal_logits"):
        makes: dict[str, type[Class | Ordinal]] = {task.name: task for task in (Class, Ordinal, OrdinalLogits)}
        make = makes[name]
        one_class = val is not None and len(np.unique(val)) == 1
        return make(label=label, classes=len(columns[0].categories), one_class=one_class)
    if name == "number":
        return Number(label=label)
    names = tuple(column.name for column in columns)
    if name == "numbers":
        return Numbers(label=label, names=names)
    one_class = val is not None and not any({0.0, 1.0} <= set(of_label.tolist()) for of_label in val.T)
    return MultiLabel(label=label, names=names, one_class=one_class)


def is_dense(task: Task) -> bool:
    """Return whether a task predicts pixels or boxes of an image, from maps."""
    return isinstance(task, Segmentation | Masks | Detection)
