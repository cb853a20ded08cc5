"""The masks of a store: image entries that are targets."""

import numpy as np

from mmcl_jax.data.schema import SPLITS, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.tasks import Segmentation


def masks_of(schema: Schema) -> list[str]:
    """Return the names of the entries that are masks."""
    kinds = ("image", "volume")
    return [name for name, entry in schema.entries.items() if entry.role == "target" and entry.kind in kinds]


def read_masks(
    store: Store, name: str, fold: int | None = None
) -> tuple[Segmentation, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the task of predicting a mask and, per split, the rows `[N]` that have it and their codes `[N, H, W]`.

    Code 0 is the background.

    Raises:
      UserError: the mask is a volume, a split has no row with it, or no training row has a foreground.
    """
    entry = store.schema.entries[name]
    where = f"--label {name}: the mask of {store.directory}"
    check(entry.kind == "image", f"{where} is a volume, and only masks of images can be predicted.")
    rows, codes = {}, {}
    for split in SPLITS:
        every = store.read(split, [name], fold=fold)[name]
        rows[split] = np.arange(len(every)) if every.present is None else np.flatnonzero(every.present)
        check(len(rows[split]) > 0, f"The split {split!r} of {store.directory} has no row with the mask {name!r}.")
        codes[split] = np.asarray(every[rows[split]])[..., 0].astype(np.int64)
    foreground = bool((codes["train"] > 0).any())
    check(foreground, f"{where} has no foreground in the training rows, so there is nothing to learn.")
    (classes,) = entry.columns
    return Segmentation(label=name, classes=len(classes.categories)), rows, codes
