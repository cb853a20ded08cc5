"""Reading pairs of scans, a row each: from the tables of folds, or from one table."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.table.table import UNREADABLE
from mmcl_jax.text import brief, words_of

FILES = dict(zip(SPLITS, ("train", "valid", "infer"), strict=True))  # of a fold, without .csv
NEEDED = ("subject", "filename_1", "filename_2", "target")
_FOLD = re.compile(r"fold_(\d+)")
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "": None}
_CLASSES = {"0": "HC", "hc": "HC", "1": "AD", "ad": "AD", "2": "other", "-1": "other", "other": "other", "": None}


class Pair(NamedTuple):
    """One pair of scans of a subject; None for what is missing."""

    subject: str
    t1: str | None
    falff: str | None
    diagnosis: str | None
    sex: str | None
    age: float | None
    scanner: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """All pairs, with the splits and folds that their files name.

    Attributes:
      pairs: by key, `SUBJECT-N` where N counts the pairs of a subject from 1, in the order of the files.
      splits: keys by split; None for splits that are to be drawn.
      folds: keys of the validation rows of each fold; () for none.
    """

    pairs: Mapping[str, Pair]
    splits: Mapping[str, list[str]] | None = None
    folds: Sequence[list[str]] = ()


def keyed(pairs: Sequence[Pair]) -> dict[str, Pair]:
    """Return the pairs by key."""
    counts: dict[str, int] = {}
    keys = {}
    for pair in pairs:
        counts[pair.subject] = counts.get(pair.subject, 0) + 1
        keys[f"{pair.subject}-{counts[pair.subject]}"] = pair
    return keys


def read_folds(root: Path) -> Pairs:
    """Return the pairs of `root/fold_K/{train,valid,infer}.csv`, K from 0.

    The splits are those of the first fold.

    Raises:
      UserError: a file is missing or wrong; a subject is in two splits of a fold; or the folds do not have one
        hold-out, `infer.csv`, and divide all other pairs among their `valid.csv`.
    """
    numbers = sorted(
        int(match[1]) for path in root.iterdir() if path.is_dir() and (match := _FOLD.fullmatch(path.name))
    )
    check(numbers == list(range(len(numbers))), f"{root} has the folds {numbers}; number their folders from fold_0 on.")
    parts = {
        (fold, split): read_pairs(root / f"fold_{fold}" / f"{name}.csv")
        for fold, (split, name) in itertools.product(numbers, FILES.items())
    }
    keys = keyed([pair for split in SPLITS for pair in parts[0, split]])
    key_of = {pair: key for key, pair in keys.items()}
    members = dict[tuple[int, str], list[str]]()
    for (fold, split), pairs in parts.items():
        path = root / f"fold_{fold}" / f"{FILES[split]}.csv"
        for pair in pairs:
            sentence = (
                f"{path}: fold_0 has no such pair of the subject {brief(pair.subject)}: {pair.t1} and {pair.falff}."
            )
            check(pair in key_of, sentence)
        members[fold, split] = [key_of[pair] for pair in pairs]
    for fold in numbers:
        _check_subjects(root / f"fold_{fold}", {split: parts[fold, split] for split in SPLITS})
        folder, total = root / f"fold_{fold}", sum(len(members[fold, split]) for split in SPLITS)
        check(
            total == len(keys), f"{folder} has {total} pairs, and fold_0 has {len(keys)}; all folds must have the same."
        )
        same = set(members[fold, "test"]) == set(members[0, "test"])
        check(same, f"{folder / 'infer.csv'} differs from that of fold_0; the hold-out must be the same for all folds.")
    folds = [members[fold, "val"] for fold in numbers] if len(numbers) > 1 else []
    times = dict.fromkeys(members[0, "train"] + members[0, "val"], 0)
    for key in itertools.chain.from_iterable(folds):
        times[key] += 1
    for key, count in times.items() if folds else ():
        which = "none" if count == 0 else f"{count}"
        rest = "every pair outside infer.csv must be in one"
        check(
            count == 1,
            f"{root}: the subject {brief(keys[key].subject)} is in valid.csv of {which} of the folds; {rest}.",
        )
    return Pairs(pairs=keys, splits={split: members[0, split] for split in SPLITS}, folds=folds)


def read_table(path: Path) -> Pairs:
    """Return the pairs of one table, whose splits are to be drawn. Raises `UserError` as `read_pairs` does."""
    return Pairs(pairs=keyed(read_pairs(path)))


def read_pairs(path: Path) -> list[Pair]:
    """Return the pairs of a table.

    Its columns are subject, filename_1 (T1), filename_2 (fALFF), target, and, which may be missing, M/F, ageAtEntry and
    scanner. A target is 0 or HC, 1 or AD, and 2, -1 or other for all else.

    Raises:
      UserError: the file cannot be read, lacks a column, has a pair twice, or a cell that means nothing.
    """
    try:
        table = pl.read_csv(path, infer_schema=False)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; each fold has train.csv, valid.csv and infer.csv.") from error
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read: {words_of(error)}.") from error
    for name in NEEDED:
        check(name in table.columns, f"{path} has no column {name!r}; it needs {', '.join(NEEDED)}.")
    table = table.with_columns(pl.all().fill_null("").str.strip_chars())
    pairs = []
    seen = dict[tuple[str | None, ...], int]()
    for number, row in enumerate(table.iter_rows(named=True), start=1):
        where = f"{path}, row {number}"
        check(row["subject"] != "", f"{where}: the cell of subject is empty.")
        pair = Pair(
            subject=row["subject"],
            t1=row["filename_1"] or None,
            falff=row["filename_2"] or None,
            diagnosis=diagnosis_of(row["target"], where, "target"),
            sex=sex_of(row.get("M/F", ""), where, "M/F"),
            age=number_of(row.get("ageAtEntry", ""), where, "ageAtEntry"),
            scanner=row.get("scanner") or None,
        )
        check(bool(pair.t1 or pair.falff), f"{where}: filename_1 and filename_2 are both empty; leave the row out.")
        first = seen.setdefault((pair.t1, pair.falff), number)
        check(first == number, f"{where}: row {first} has the same files; leave one out.")
        pairs.append(pair)
    check(bool(pairs), f"{path} has no row.")
    return pairs


def diagnosis_of(text: str, where: str, column: str) -> str | None:
    """Return HC, AD or other; None for an empty cell. Raises `UserError` for other words."""
    number = text.removesuffix(".0").lower()
    known = f"{where}: {column} is {brief(text)}; it must be 0 or HC, 1 or AD, 2, -1 or other, or empty."
    check(number in _CLASSES, known)
    return _CLASSES[number]


def sex_of(text: str, where: str, column: str) -> str | None:
    """Return M or F; None for an empty cell. Raises `UserError` for other words."""
    check(text.lower() in _SEXES, f"{where}: {column} is {brief(text)}; it must be M, F, male, female or empty.")
    return _SEXES[text.lower()]


def number_of(text: str, where: str, column: str) -> float | None:
    """Return a number; None for an empty cell. Raises `UserError` for a cell that is no finite number."""
    try:
        value = float(text) if text else None
    except ValueError:
        value = float("nan")
    check(value is None or abs(value) < float("inf"), f"{where}: {column} is {brief(text)}, which is no number.")
    return value


def _check_subjects(folder: Path, parts: Mapping[str, Sequence[Pair]]) -> None:
    """Raise `UserError` if a subject has pairs in two splits."""
    split_of: dict[str, str] = {}
    for split, pairs in parts.items():
        for pair in pairs:
            first = split_of.setdefault(pair.subject, split)
            if first != split:
                raise UserError(
                    f"{folder}: the subject {brief(pair.subject)} is in {FILES[first]}.csv and {FILES[split]}.csv; "
                    "all pairs of a subject must be in one split, so move its rows to one file."
                )
