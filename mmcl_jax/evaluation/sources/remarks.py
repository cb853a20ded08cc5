"""What to know about scores before they are read."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.page.wording import clipped, counted
from mmcl_jax.training.runs.run import Run

_SHOWN = 5  # classes that a sentence names


def remarks_on(data: LabelledStore, budgets: Sequence[Budget]) -> list[str]:
    """Return a sentence on classes that a split lacks, and on budgets that a class is too small for."""
    label = clipped(data.task.label)
    said = []
    absent = data.absent(np.arange(len(data.targets["train"]))[None])
    ends = {
        "train": "a head cannot learn {them}, and their rows of other splits count as errors",
        "val": "settings are chosen by the other classes",
        "test": "top-1 is over all rows, and the other metrics over the classes that have rows",
    }
    for split, texts in absent.items():
        classes = counted(len(texts), "class", "classes")
        end = ends[split].format(them="it" if len(texts) == 1 else "them")
        said.append(f"The split {split!r} has no row of {classes} of {label!r} ({names(texts)}): {end}.")
    for budget in budgets:
        if short := data.short(budget):
            rows = ", ".join(f"{clipped(text)!r} has {count}" for text, count in list(short.items())[:_SHOWN])
            more = "" if len(short) <= _SHOWN else f", and {len(short) - _SHOWN} more have fewer too"
            said.append(
                f"--per-class {budget.per_class}: of smaller classes all training rows are taken ({rows}{more})."
            )
        if budget.subset is not None:
            lacking = data.absent(data.draws(budget, seed=0, count=1)).get("train", [])
            if set(lacking) - set(absent.get("train", [])):
                classes = counted(len(lacking), "class", "classes")
                said.append(f"--subset {budget.subset}: it has no row of {classes} of {label!r} ({names(lacking)}).")
    return said


def missing_folds(runs: Sequence[Run], store: Store) -> list[str]:
    """Return a sentence on every experiment and seed that has runs of some folds of the store and not of the others."""
    folds: dict[tuple[str, int], set[int]] = {}
    for run in runs:
        if run.inputs.fold is not None:
            folds.setdefault((run.config.name, run.config.seed), set()).add(run.inputs.fold)
    said = []
    for (name, seed), there in folds.items():
        if lacking := sorted(set(range(len(store.folds))) - there):
            which = f"the fold{'s' if len(lacking) > 1 else ''} {', '.join(map(str, lacking))}"
            over = f"{len(there)} of {len(store.folds)} folds"
            said.append(f"{name}, seed {seed}, has no run of {which}: its scores are over {over}.")
    return said


def left_out(data: LabelledStore, part: LabelledStore, given: str) -> list[str]:
    """Return a sentence on rows with the label that lack an input, if `part` is of these data and has fewer rows."""
    if (data.task.label, data.fold) != (part.task.label, part.fold) or data is part:
        return []
    counts = {split: len(data.rows[split]) - len(part.rows[split]) for split in SPLITS}
    said = ", ".join(f"{count} of {split}" for split, count in counts.items() if count)
    return [f"--input {given}: rows with the label {clipped(data.task.label)!r} that lack it are left out ({said})."]


def names(texts: Sequence[str]) -> str:
    """Return some of the texts, quoted, and how many more there are."""
    more = "" if len(texts) <= _SHOWN else f" and {len(texts) - _SHOWN} more"
    return ", ".join(repr(clipped(text)) for text in texts[:_SHOWN]) + more
