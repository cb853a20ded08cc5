"""Masks of a store: entries of images that are targets."""

import numpy as np

from mmcl_jax.data.schema import SPLITS, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.tasks import Segmentation

UNLABELLED = 255  # the code of a pixel without a label, where a mask has other codes above 0


def masks_of(schema: Schema) -> list[str]:
    """Return the names of the entries that are masks."""
    return [name for name, entry in schema.entries.items() if (entry.kind, entry.role) == ("image", "target")]


def read_masks(store: Store, name: str) -> tuple[Segmentation, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the task of predicting a mask and, per split, the rows `[N]` that have it and their codes `[N, H, W]`.

    The codes are classes from 0, the background. A mask of 0 and 255 alone has two classes; else 255 means that a pixel
    has no label, and becomes -1.

    Raises:
      UserError: the mask has several channels, a split has no row with it, or the training rows no foreground.
    """
    entry = store.schema.entries[name]
    where = f"--label {name}: the mask of {store.directory}"
    check(entry.dtype == "uint8", f"{where} is stored as {entry.dtype}; prepare it with codes of 8 bits.")
    check(entry.shape[-1] == 1, f"{where} has {entry.shape[-1]} channels; prepare it with one, the code of the class.")
    rows, codes = {}, {}
    for split in SPLITS:
        every = store.read(split, [name])[name]
        rows[split] = np.arange(len(every)) if every.present is None else np.flatnonzero(every.present)
        check(len(rows[split]) > 0, f"The split {split!r} of {store.directory} has no row with the mask {name!r}.")
        codes[split] = np.asarray(every[rows[split]])[..., 0].astype(np.int64)
    found = np.unique(np.concatenate([np.unique(masks) for masks in codes.values()]))
    if found.max() == UNLABELLED:
        only = not set(found.tolist()) - {0, UNLABELLED}
        codes = {split: np.where(masks == UNLABELLED, 1 if only else -1, masks) for split, masks in codes.items()}
    classes = 1 + max(int(masks.max()) for masks in codes.values())
    some = classes > 1 and bool((codes["train"] > 0).any())
    check(some, f"{where} has no foreground in the training rows, so there is nothing to learn.")
    return Segmentation(label=name, classes=classes), rows, codes
