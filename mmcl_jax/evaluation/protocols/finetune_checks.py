"""What must hold before supervised training starts."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmcl_jax.encoders import Model
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.batches import Examples
from mmcl_jax.tasks.task import Task


def check_inputs(model: Model, splits: Mapping[str, Examples], *, task: Task, modalities: tuple[str, ...]) -> None:
    """Raises `UserError` if the splits `train`, `val` and `test` do not fit the model's encoders or the task."""
    check(len(modalities) > 0, "modalities: name at least one.")
    check(len(set(modalities)) == len(modalities), f"modalities: {', '.join(modalities)} names one twice.")
    for modality in modalities:
        known = ", ".join(model.encoders)
        check(modality in model.encoders, f"modalities: the run has no encoder of {modality!r}; it has {known}.")
    for split, examples in splits.items():
        where = f"The split {split!r}"
        targets = np.asarray(examples.targets)
        check(len(targets) > 0, f"{where} has no row with the label {task.label!r}.")
        finite = np.issubdtype(targets.dtype, np.number) and bool(np.isfinite(targets).all())
        check(finite, f"{where} has rows without a number as label {task.label!r}; leave them out.")
        if task.kind == "classification":
            codes = bool(np.isin(targets, np.arange(task.classes)).all())
            check(codes, f"{where} has labels {task.label!r} that are no class codes below {task.classes}.")
        for modality in modalities:
            check(modality in examples.inputs, f"{where} has no {modality!r} to predict from.")
            rows = len(examples.inputs[modality])
            check(rows == len(targets), f"{where} has {rows} rows of {modality!r} and {len(targets)} labels.")


def check_numbers(
    learning_rates: Sequence[float],
    seeds: Sequence[tuple[int, int]],
    *,
    max_epochs: int,
    batch_size: int,
    patience: int,
) -> None:
    """Raises `UserError` if nothing could be trained with these."""
    check(len(learning_rates) > 0 and min(learning_rates) > 0, "learning_rates: give at least one, all above 0.")
    check(len(seeds) > 0, "seeds: give at least one.")
    for name, value in {"max_epochs": max_epochs, "batch_size": batch_size, "patience": patience}.items():
        check(value > 0, f"{name}: must be positive, not {value}.")
