"""Dividing rows into train, val and test."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.splits.division import Division

Splits = Mapping[str, np.ndarray]


def random_splits(
    rows: int,
    fractions: tuple[float, float, float],
    *,
    seed: int,
    label: np.ndarray | None = None,
    group: np.ndarray | None = None,
) -> Splits:
    """Draw splits of the rows, stratified by `label`, that never divide a `group`; test is drawn first, then val.

    Every class with three rows (with groups: three groups) is in every split, even where a split must grow for it.
    Classes with fewer cannot be, and are drawn together, as one class. With groups, the shares of rows and of the
    classes of all labels come as near as whole groups allow, and large groups are in train (`division`). Without, the
    first label decides, and sizes are exact where val and test have room for every class.

    Args:
      rows: number of rows.
      fractions: of train, val and test; they must be positive and sum to 1.
      seed: of the draw.
      label: `[rows]` or `[rows, L]` integer codes of class labels, below 0 for none; or None.
      group: `[rows]` integer codes, or None.

    Returns:
      Sorted row numbers for each of `SPLITS`.

    Raises:
      UserError: the fractions are off, or there are too few rows or groups.
    """
    check(
        all(f > 0 for f in fractions) and abs(sum(fractions) - 1) < 1e-6,
        f"--split takes three positive fractions that sum to 1, not {','.join(map(str, fractions))}.",
    )
    labels = np.zeros((rows, 0), int) if label is None else label[:, None] if label.ndim == 1 else label
    if group is not None:
        groups, member = np.unique(group, return_inverse=True)
        check(len(groups) >= len(SPLITS), f"{len(groups)} rows or groups are too few for three splits.")
        division = Division(member, labels, fractions)
        rng = np.random.default_rng(seed)
        division.draw(rng)
        division.complete(rng)
        division.refine()
        return {name: np.flatnonzero(division.split[member] == place) for place, name in enumerate(SPLITS)}
    everything = np.arange(rows)
    val, test = (round(fraction * rows) for fraction in fractions[1:])
    sizes = dict(zip(SPLITS, (rows - val - test, val, test), strict=True))
    for name, size in sizes.items():
        check(
            size > 0,
            f"{rows} rows or groups are too few to be split {','.join(map(str, fractions))}: {name} would have none.",
        )
    first = labels[:, 0] if labels.shape[1] else None
    rest, test_rows = _divided(everything, test, seed, first, 3)
    train_rows, val_rows = _divided(rest, val, seed, None if first is None else first[rest], 2)
    drawn = dict(zip(SPLITS, map(np.sort, (train_rows, val_rows, test_rows)), strict=True))
    return _completed(drawn, labels, fractions, seed)


def splits_from_column(values: Sequence[str | None], column: str) -> Splits:
    """Return row numbers per split from a column that holds the words train, val and test.

    Raises:
      UserError: another word, an empty cell, or a split without rows.
    """
    for value in dict.fromkeys(values):
        said = "no value" if value is None else repr(value)
        check(
            value in SPLITS,
            f"Column {column!r} holds {said} in {list(values).count(value)} rows; a split is one of train, val, test.",
        )
    words = np.array(values)
    return _filled({name: np.flatnonzero(words == name) for name in SPLITS}, f"Column {column!r}")


def read_ids(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Read the identifiers in three files, separated by commas or line breaks, by split.

    Raises:
      UserError: a file is missing or no text.
    """
    for path in paths:
        check(path.is_file(), f"--split-ids: the file {path} does not exist.")
    return dict(zip(SPLITS, map(read_list, paths), strict=True))


def read_list(path: Path) -> list[str]:
    """Read identifiers separated by commas or line breaks, in their order.

    Raises:
      UserError: the file is no text.
    """
    try:
        words = path.read_text(encoding="utf-8-sig").replace(",", "\n").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"The list of identifiers {path} is not a text file in UTF-8.") from error
    return [word.strip() for word in words if word.strip()]


def splits_from_ids(keys: Sequence[str], lists: Mapping[str, Sequence[str]]) -> tuple[Splits, dict[str, int]]:
    """Return row numbers per split from lists of identifiers.

    Returns:
      The splits (rows on no list are in none), and by split how many identifiers no row has.

    Raises:
      UserError: an identifier is on two lists, or a split has no row.
    """
    where: dict[str, str] = {}
    for name, ids in lists.items():
        for key in ids:
            check(where.setdefault(key, name) == name, f"The identifier {key!r} is in both {where[key]} and {name}.")
    places = {key: place for place, key in enumerate(keys)}
    found = {name: np.array(sorted(places[key] for key in set(lists[name]) & places.keys()), int) for name in SPLITS}
    absent = {name: len(set(lists[name])) - len(found[name]) for name in SPLITS}
    return _filled(found, "The list of identifiers"), absent


def _filled(splits: dict[str, np.ndarray], what: str) -> Splits:
    for name, rows in splits.items():
        check(len(rows) > 0, f"{what} puts no row into the split {name!r}.")
    return splits


def _completed(drawn: dict[str, np.ndarray], labels: np.ndarray, fractions: Sequence[float], seed: int) -> Splits:
    """Return the splits with every class of three rows in each; nearly always they are so already, and unchanged."""
    rows = len(labels)
    if labels.shape[1] == 0:
        return drawn
    split = np.zeros(rows, int)
    for place, name in enumerate(SPLITS):
        split[drawn[name]] = place
    division = Division(np.arange(rows), labels, fractions, [len(drawn[name]) for name in SPLITS])
    division.place(split)
    if (division.units[:, division.needed] > 0).all():
        return drawn
    division.complete(np.random.default_rng(seed))
    division.refine()
    return {name: np.flatnonzero(division.split == place) for place, name in enumerate(SPLITS)}


def _divided(
    rows: np.ndarray, size: int, seed: int, label: np.ndarray | None, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows without, and with, `size` of them; stratified by the classes that have `least` rows."""
    strata = None if label is None else _strata(label, least, min(size, len(rows) - size))
    left, right = train_test_split(rows, test_size=size, random_state=seed, stratify=strata)
    return left, right


def _strata(label: np.ndarray, least: int, most: int) -> np.ndarray | None:
    """Merge the rarest classes of the label, so that `most` strata are left and none is alone; None for one stratum."""
    classes, counts = np.unique(label, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    kept = int((counts >= least).sum())
    if kept < len(classes) or len(classes) > most:
        kept = min(kept, most - 1)
        if 0 < counts[order[kept:]].sum() < 2:
            kept -= 1
    if kept < 1:
        return None
    return np.where(np.isin(label, classes[order[kept:]]), classes.min() - 1, label)
