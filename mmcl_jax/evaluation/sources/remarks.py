"""Remarks that readers of scores should know, such as on classes without rows."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.page.wording import clipped, counted
from mmcl_jax.tasks import MultiLabel
from mmcl_jax.training.runs.run import Run

_SHOWN = 5  # classes that a sentence names


def remarks_on(data: LabelledStore, budgets: Sequence[Budget]) -> list[str]:
    """Return remarks on classes that a split lacks, and on budgets that are larger than a class."""
    label = clipped(data.task.label)
    remarks = []
    absent = data.absent(np.arange(len(data.targets["train"]))[None])
    ends = {
        "train": "a head cannot learn {them}, and their rows of other splits count as errors",
        "val": "settings are chosen by the other classes",
        "test": "top-1 is over all rows, and the other metrics over the classes that have rows",
    }
    if isinstance(data.task, MultiLabel):
        both = [{0.0, 1.0} <= set(values.tolist()) for values in data.targets["test"].T]
        ends["test"] = f"macro averages are over {sum(both)} of {counted(len(both), 'label')}"
    for split, texts in absent.items():
        classes = counted(len(texts), "class", "classes")
        end = ends[split].format(them="it" if len(texts) == 1 else "them")
        remarks.append(f"The split {split!r} has no row of {classes} of {label!r} ({names(texts)}): {end}.")
    for budget in budgets:
        if short := data.short(budget):
            rows = ", ".join(f"{clipped(text)!r} has {count}" for text, count in list(short.items())[:_SHOWN])
            more = "" if len(short) <= _SHOWN else f", and {len(short) - _SHOWN} more"
            remarks.append(
                f"--per-class {budget.per_class}: of smaller classes all training rows are used ({rows}{more})."
            )
        if budget.subset is not None:
            lacking = data.absent(data.draws(budget, seed=0, count=1)).get("train", [])
            if set(lacking) - set(absent.get("train", [])):
                classes = counted(len(lacking), "class", "classes")
                remarks.append(
                    f"--subset {budget.subset}: the subset has no row of {classes} of {label!r} ({names(lacking)})."
                )
    return remarks


def missing_folds(runs: Sequence[Run], store: Store) -> list[str]:
    """Return a remark on every experiment and seed that has runs of only some of the store's folds."""
    folds: dict[tuple[str, int], set[int]] = {}
    for run in runs:
        if run.inputs.fold is not None:
            folds.setdefault((run.config.name, run.config.seed), set()).add(run.inputs.fold)
    remarks = []
    for (name, seed), trained in folds.items():
        if lacking := sorted(set(range(len(store.folds))) - trained):
            which = f"the fold{'s' if len(lacking) > 1 else ''} {', '.join(map(str, lacking))}"
            over = f"{len(trained)} of {len(store.folds)} folds"
            remarks.append(f"{name}, seed {seed}, has no run of {which}: its scores are over {over}.")
    return remarks


def left_out(data: LabelledStore, part: LabelledStore, input: str) -> list[str]:
    """Return a remark on labelled rows that lack an input, if `part` is the part of `data` that has it; else []."""
    if (data.task.label, data.fold) != (part.task.label, part.fold) or data is part:
        return []
    counts = {split: len(data.rows[split]) - len(part.rows[split]) for split in SPLITS}
    by_split = ", ".join(f"{count} of {split}" for split, count in counts.items() if count)
    label = clipped(data.task.label)
    return [f"--input {input}: rows with the label {label!r} that lack this input are left out ({by_split})."]


def names(texts: Sequence[str]) -> str:
    """Return the first texts, quoted, and the number of the others."""
    more = "" if len(texts) <= _SHOWN else f" and {len(texts) - _SHOWN} more"
    return ", ".join(repr(clipped(text)) for text in texts[:_SHOWN]) + more
