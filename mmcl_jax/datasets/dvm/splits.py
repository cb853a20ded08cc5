"""Splits and subsets of DVM-CAR, from the published lists or drawn like them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sklearn.model_selection import train_test_split

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.splits.draw import read_list


def read_ids(folder: Path) -> dict[str, list[str]]:
    """Return the identifiers in the three published lists, such as `train_ids_dvm_all_views.txt`, in their order.

    Raises:
      UserError: a list is missing or empty, or an identifier appears twice.
    """
    splits, seen = {}, dict[str, str]()
    for split in SPLITS:
        path = folder / f"{split}_ids_dvm_all_views.txt"
        check(path.is_file(), f"The list {path} is missing; put the three published lists into one folder.")
        splits[split] = read_list(path)
        check(bool(splits[split]), f"The list {path} is empty; it should have identifiers separated by commas.")
        for key in splits[split]:
            check(
                key not in seen, f"{path}: {key} is in the list of {seen.get(key)} too; each must be in one list once."
            )
            seen[key] = split
    return splits


def draw_splits(keys: Sequence[str], labels: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Return splits: half of the rows for the test, then a fifth of the others for validation, stratified by label.

    Raises:
      UserError: the rows are too few to have every class in each split.
    """
    try:
        rest, test, rest_labels, _ = train_test_split(keys, labels, test_size=0.5, random_state=seed, stratify=labels)
        train, val = train_test_split(rest, test_size=0.2, random_state=seed, stratify=rest_labels)
    except ValueError as error:
        raise UserError(
            f"{len(keys)} rows of {len(set(labels))} classes cannot be split by class ({error}); "
            "raise --dataset.min_ads."
        ) from error
    return {"train": train, "val": val, "test": test}


def draw_subset(keys: Sequence[str], labels: Sequence[str], share: float, seed: int) -> list[str]:
    """Return a share of the keys that has every class, in the order of the rows.

    It has the first row of each class and further rows, stratified if at least as many are drawn as there are classes.
    If `share` is too small for all classes, it has one row of each.
    """
    firsts = dict[str, str]()
    for key, label in zip(keys, labels, strict=True):
        firsts.setdefault(label, key)
    chosen = set(firsts.values())
    others = [(key, label) for key, label in zip(keys, labels, strict=True) if key not in chosen]
    room = int(len(keys) * share) - len(chosen)
    if room > 0:
        counts = Counter(label for _, label in others)
        stratify = room >= len(firsts) and len(others) - room >= len(counts) and min(counts.values()) > 1
        _, more = train_test_split(
            [key for key, _ in others],
            test_size=room,
            random_state=seed,
            stratify=[label for _, label in others] if stratify else None,
        )
        chosen.update(more)
    return [key for key in keys if key in chosen]
