"""Polygenic scores: a folder with one `.sscore` file of plink2 per score."""

import math
from pathlib import Path

import numpy as np
import polars as pl

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.entries.matrix import Matrix
from mmcl_jax.prepare.join.keys import canonical, first_rows, some
from mmcl_jax.prepare.sources import Source
from mmcl_jax.prepare.table.table import require_columns

_COLUMN = "SCORE1_AVG"
_PERSON = "IID"


def read_scores(source: Source, where: str, *, features: tuple[str, ...] = ()) -> Matrix:
    """Return the scores of the people of the first file, in the order of the file names; a score is named as its file.

    Args:
      source: of the kind scores.
      where: how errors name the source.
      features: the scores to read, in this order; by default all of the folder.

    Raises:
      UserError: the folder or a score is missing; a file has no column of people or of the score, a person twice, or a
        value that is no number.
    """
    folder = source.folder
    assert folder is not None
    check(folder.is_dir(), f"{where}: the folder {folder} does not exist.")
    paths = {path.stem: path for path in sorted(folder.glob("*.sscore"), key=lambda path: path.name)}
    check(bool(paths), f"{where}: no file in {folder} ends in .sscore, as plink2 --score writes them.")
    absent = [name for name in features if name not in paths]
    check(not absent, f"{where}: {folder} lacks the scores {some(absent)}, which the store of --like has.")
    names = features or tuple(paths)
    column = source.column[0] if source.column else _COLUMN
    keys: list[str] = []
    index: dict[str, int] = {}
    values = np.zeros((0, len(names)), np.float32)
    others: set[str] = set()
    for number, name in enumerate(names):
        people, scores = _read(paths[name], column, where)
        if number == 0:
            keys, index = people, first_rows(people)
            values = np.full((len(keys), len(names)), np.nan, np.float32)
        rows = np.array([index.get(person, -1) for person in people], np.int64)
        values[rows[rows >= 0], number] = scores[rows >= 0]
        others.update(person for person in people if person not in index)
    warnings = (f"{where}: {len(others):,} people are not in {paths[names[0]]}, and have no scores.",) if others else ()
    present = np.any(values == values, axis=1)  # NaN is not equal to itself
    return Matrix(
        file=folder,
        names=names,
        keys=keys,
        index={key: row for key, row in index.items() if present[row]},
        dtype=source.dtype or "float32",
        values=lambda rows: values[rows],
        warnings=warnings,
    )


def _read(path: Path, column: str, where: str) -> tuple[list[str], np.ndarray]:
    """Return the people of a file, in canonical form, and their scores."""
    try:
        with path.open(encoding="utf-8") as file:
            header = file.readline().rstrip("\n").split("\t")
        named = [name.lstrip("#") for name in header]
        require_columns(named, [_PERSON, column], path)
        frame = pl.read_csv(path, separator="\t", has_header=False, skip_rows=1, new_columns=named, infer_schema=False)
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{where}: {path} is no table of scores ({str(error).splitlines()[0]}).") from error
    people = canonical(frame[_PERSON])
    seen = first_rows(people)
    check(len(seen) == len(people), f"{where}: {path} has a person twice, or a row without a person (IID).")
    texts = frame[column].fill_null("nan")
    scores = texts.cast(pl.Float64, strict=False)
    wrong = [row for row, score in enumerate(scores) if score is None or math.isinf(score)]
    if wrong:
        row = wrong[0]
        raise UserError(f"{where}: row {row + 1} of {path}: column {column!r} holds {texts[row]!r}, not a number.")
    return people, scores.to_numpy().astype(np.float32)
