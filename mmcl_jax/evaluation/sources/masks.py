"""The masks of a store: image entries that are targets."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.schema import SPLITS, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.tasks import Masks, Segmentation


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


def read_several_masks(
    store: Store, names: Sequence[str], fold: int | None = None, kind: type[Masks] = Masks
) -> tuple[Masks, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the task of predicting several masks of an image and, per split, the rows `[N]` that have one of them.

    The task is of the class `kind`. With it go the masks `[N, H, W, K]` int8: 1 in the foreground, 0 else, and -1 where
    a row lacks a mask.

    Raises:
      UserError: a mask has several classes or another size, is a volume, or a split or all training rows have none.
    """
    label = "+".join(names)
    entries = {name: store.schema.entries[name] for name in names}
    for name, entry in entries.items():
        where = f"--label {label}: the mask {name!r} of {store.directory}"
        check(entry.kind == "image", f"{where} is a volume, and only masks of images can be predicted.")
        (classes,) = entry.columns
        check(
            len(classes.categories) == 2,
            f"{where} has {len(classes.categories) - 1} classes beside the background, and masks that are predicted "
            "together have one each; separate it by a comma.",
        )
        first = entries[names[0]]
        check(
            entry.stored[:2] == first.stored[:2],
            f"{where} is of {' x '.join(map(str, entry.stored[:2]))} pixels, and {names[0]!r} of "
            f"{' x '.join(map(str, first.stored[:2]))}; prepare the store with masks of one size.",
        )
    rows, masks = {}, {}
    for split in SPLITS:
        every = store.read(split, list(names), fold=fold)
        present = np.stack(
            [np.ones(len(one), bool) if one.present is None else one.present for one in every.values()], axis=1
        )
        rows[split] = np.flatnonzero(present.any(axis=1))
        check(len(rows[split]) > 0, f"The split {split!r} of {store.directory} has no row with a mask of {label!r}.")
        codes = []
        for index, values in enumerate(every.values()):
            has = present[rows[split], index]
            of_rows = np.full((len(has), *values.shape[1:3]), -1, np.int8)
            of_rows[has] = np.asarray(values[rows[split][has]])[..., 0] > 0
            codes.append(of_rows)
            some = split != "train" or bool((of_rows > 0).any())
            check(
                some,
                f"--label {label}: the mask {names[index]!r} of {store.directory} has no foreground in the "
                "training rows, so there is nothing to learn.",
            )
        masks[split] = np.stack(codes, axis=-1)
    return kind(label=label, names=tuple(names)), rows, masks
