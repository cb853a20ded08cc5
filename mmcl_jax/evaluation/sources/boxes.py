"""The boxes of a store, as a label to predict."""

import numpy as np

from mmcl_jax.data.schema import SPLITS, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.tasks import TASKS, Detection


def boxes_of(schema: Schema) -> list[str]:
    """Return the names of the entries that are boxes to predict."""
    return [name for name, entry in schema.entries.items() if (entry.role, entry.kind) == ("target", "boxes")]


def read_boxes(
    store: Store, name: str, task: str | None = None, fold: int | None = None
) -> tuple[Detection, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the task of predicting boxes and, per split, the rows `[N]` that have them and the boxes `[N, M, 5]`.

    A row may have the entry and no box; then its image is background.

    Raises:
      UserError: the label is no such task, or a split has no row with the boxes, or no box.
    """
    kinds = {kind: one for kind, one in TASKS.items() if issubclass(one, Detection)}
    check(
        task is None or task in kinds,
        f"--task {task}: the label {name!r} is boxes; choose --task {', '.join(kinds)}.",
    )
    rows, boxes = {}, {}
    for split in SPLITS:
        every = store.read(split, [name], fold=fold)[name]
        rows[split] = np.arange(len(every)) if every.present is None else np.flatnonzero(every.present)
        where = f"--label {name}: the split {split!r} of {store.directory}"
        check(len(rows[split]) > 0, f"{where} has no row with these boxes; prepare the store with other splits.")
        boxes[split] = np.asarray(every[rows[split]], np.float32)
        some = bool((~np.isnan(boxes[split])).any())
        check(some, f"{where} has no box, so nothing can be found in it; prepare the store with other splits.")
    (classes,) = store.schema.entries[name].columns
    return kinds[task or "detection"](label=name, names=classes.categories), rows, boxes
