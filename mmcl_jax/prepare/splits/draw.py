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

    Every class of at least three rows (with groups: three groups) is in every split, even where a split must grow for
    it. Rarer classes cannot be in every split and are drawn together, as one class. With groups, the shares of rows
    and of the classes of all labels are as near as undivided groups allow, and large groups are in train (`division`).
    Without groups, rows are stratified by the first label, and sizes are exact where val and test have room for every
    class.

    Args:
      rows: number of rows.
      fractions: of train, val and test; they must be positive and sum to 1.
      seed: of the draw.
      label: `[rows]` or `[rows, L]` integer codes of class labels, below 0 for none; or None.
      group: `[rows]` integer codes, or None.

    Returns:
      Sorted row numbers for each of `SPLITS`.

    Raises:
      UserError: the fractions are not positive or do not sum to 1, or there are too few rows or groups.
    """
    check(
        all(f > 0 for f in fractions) and abs(sum(fractions) - 1) < 1e-6,
        f"--split takes three positive fractions that sum to 1, not {','.join(map(str, fractions))}.",
    )
    labels = np.zeros((rows, 0), int) if label is None else label[:, None] if label.ndim == 1 else label
    if group is not None:
        groups, member = np.unique(group, return_inverse=True)
        check(len(groups) >= len(SPLITS), f"{len(groups)} groups are too few for three splits; every split needs one.")
        division = Division(member, labels, fractions)
        rng = np.random.default_rng(seed)
        division.draw(rng)
        division.complete(rng)
        division.refine()
        return {name: np.flatnonzero(division.split[member] == index) for index, name in enumerate(SPLITS)}
    val, test = (round(fraction * rows) for fraction in fractions[1:])
    sizes = dict(zip(SPLITS, (rows - val - test, val, test), strict=True))
    for name, size in sizes.items():
        check(
            size > 0,
            f"{rows} rows are too few for --split {','.join(map(str, fractions))}: {name} would have no row.",
        )
    first = labels[:, 0] if labels.shape[1] else None
    rest, test_rows = _split_off(np.arange(rows), test, seed, first, 3)
    train_rows, val_rows = _split_off(rest, val, seed, None if first is None else first[rest], 2)
    drawn = dict(zip(SPLITS, map(np.sort, (train_rows, val_rows, test_rows)), strict=True))
    return _completed(drawn, labels, fractions, seed)


def splits_from_column(values: Sequence[str | None], column: str) -> Splits:
    """Return row numbers per split from a column that holds the words train, val and test.

    Raises:
      UserError: a cell holds another word or is empty, or a split has no rows.
    """
    for value in dict.fromkeys(values):
        word = "no value" if value is None else repr(value)
        check(
            value in SPLITS,
            f"Column {column!r} holds {word} in {list(values).count(value)} rows; a split is one of train, val, test.",
        )
    words = np.array(values)
    return _filled({name: np.flatnonzero(words == name) for name in SPLITS}, f"Column {column!r}")


def read_ids(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Read the identifiers of train, val and test from three files, separated by commas or line breaks.

    Raises:
      UserError: a file is missing or is not a text file.
    """
    for path in paths:
        check(path.is_file(), f"--split-ids: the file {path} does not exist.")
    return dict(zip(SPLITS, map(read_list, paths), strict=True))


def read_list(path: Path) -> list[str]:
    """Read identifiers separated by commas or line breaks, in their order.

    Of a table whose first column is called ID, such as LoVT's released `ID,boxes,classes`, that column is read.

    Raises:
      UserError: the file is not a text file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"The list of identifiers {path} is not a text file in UTF-8.") from error
    head, *lines = text.splitlines() or [""]
    table = head.partition(",")[0].strip() == "ID"
    words = [line.partition(",")[0] for line in lines] if table else text.replace(",", "\n").splitlines()
    return [word.strip() for word in words if word.strip()]


def splits_from_ids(keys: Sequence[str], lists: Mapping[str, Sequence[str]]) -> tuple[Splits, dict[str, int]]:
    """Return row numbers per split from lists of identifiers.

    Returns:
      The splits, and by split the number of identifiers that no row has. A row on no list is in no split.

    Raises:
      UserError: an identifier is on two lists, or a split has no row.
    """
    split_of: dict[str, str] = {}
    for name, ids in lists.items():
        for key in ids:
            first = split_of.setdefault(key, name)
            check(first == name, f"The identifier {key!r} is in both {first} and {name}; take it off one list.")
    row_of = {key: row for row, key in enumerate(keys)}
    splits = {name: np.array(sorted(row_of[key] for key in set(lists[name]) & row_of.keys()), int) for name in SPLITS}
    absent = {name: len(set(lists[name])) - len(splits[name]) for name in SPLITS}
    return _filled(splits, "The list of identifiers"), absent


def _filled(splits: dict[str, np.ndarray], what: str) -> Splits:
    """Return the splits. Raises `UserError` for a split without rows, which `what` is to be blamed for."""
    for name, rows in splits.items():
        check(len(rows) > 0, f"{what} puts no row into the split {name!r}.")
    return splits


def _completed(drawn: dict[str, np.ndarray], labels: np.ndarray, fractions: Sequence[float], seed: int) -> Splits:
    """Return the splits with every class of three rows in each; the drawn splits nearly always have it already."""
    rows = len(labels)
    if labels.shape[1] == 0:
        return drawn
    split = np.zeros(rows, int)
    for index, name in enumerate(SPLITS):
        split[drawn[name]] = index
    division = Division(np.arange(rows), labels, fractions, [len(drawn[name]) for name in SPLITS])
    division.assign(split)
    if (division.units[:, division.needed] > 0).all():
        return drawn
    division.complete(np.random.default_rng(seed))
    division.refine()
    return {name: np.flatnonzero(division.split == index) for index, name in enumerate(SPLITS)}


def _split_off(
    rows: np.ndarray, size: int, seed: int, label: np.ndarray | None, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows in two parts, the second of `size` rows, stratified by the classes that have `least` rows."""
    strata = None if label is None else _strata(label, least, min(size, len(rows) - size))
    left, right = train_test_split(rows, test_size=size, random_state=seed, stratify=strata)
    return left, right


def _strata(label: np.ndarray, least: int, most: int) -> np.ndarray | None:
    """Return the label with its rarest classes merged: at most `most` strata, none of a single row; None for one."""
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
