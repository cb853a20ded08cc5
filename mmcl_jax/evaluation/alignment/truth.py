"""Where findings are: a table of boxes, each with the sentence that names it, or with a phrase."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.evaluation.alignment.pointing import regions_inside
from mmcl_jax.files import reading
from mmcl_jax.prepare.images.files import Fit, scale_and_shift
from mmcl_jax.text import brief, first_few, words_of

KEYS = ("key", "study", "study_id")  # the first of these that the table has names the row of the store
NUMBERS = ("x", "y", "width", "height", "image_width", "image_height")


@dataclasses.dataclass(frozen=True)
class Query:
    """A finding that a sentence or a phrase names in an image.

    Attributes:
      row: index of the row among those that are read.
      picture: index of the image among those of the row.
      finding: its name.
      sentence: index of the sentence of the row's report; -1 for a phrase.
      phrase: the words; "" for a sentence.
      boxes: `[M, 4]` x, y, width and height as shares of the stored image.
    """

    row: int
    picture: int
    finding: str
    sentence: int
    phrase: str
    boxes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Truth:
    """The queries about rows of a split, and the numbers of rows of the table that are not used.

    Attributes:
      queries: one for each image, finding, and sentence or phrase, with the boxes of all rows of the table about it.
      elsewhere: rows of the table whose key is not among the rows that are read.
      lost: boxes that lie in a part of the image that cropping cut off.
    """

    queries: tuple[Query, ...]
    elsewhere: int
    lost: int


def read_truth(path: Path, store: Store, entry: str, keys: Sequence[str]) -> Truth:
    """Return the findings of rows of a store, from a CSV file with a row per box.

    Args:
      path: of the file. Its columns are `key` (or `study`) of the row; `finding`; `x`, `y`, `width` and `height` of the
        box, in pixels of the image's file; `image_width` and `image_height` of that file; and `sentence`, the index of
        the sentence in the stored report from 0, or `phrase`, or none of both, and the name of the finding is the
        phrase. `picture`, the index of the image among those of the row, is 0 where it is missing.
      store: with the images.
      entry: of the images.
      keys: of the rows that are read, in their order.

    Raises:
      UserError: the file cannot be read, lacks a column, or has a row that is wrong, which is named.
    """
    with reading(path, "check the address"):
        try:
            table = pl.read_csv(path, infer_schema=False, truncate_ragged_lines=False)
        except pl.exceptions.PolarsError as error:
            raise UserError(f"--truth: {path} is no CSV file: {words_of(error)}.") from error
    key = next((name for name in KEYS if name in table.columns), "")
    check(bool(key), f"--truth: {path} has no column {' or '.join(KEYS)}; it has {first_few(table.columns)}.")
    for name in ("finding", *NUMBERS):
        check_name(name, table.columns, f"--truth: {path} lacks the column", "it has")
    at = {one: row for row, one in enumerate(keys)}
    fit = _fit(store)
    stored = store.schema.entries[entry].shape[:2]
    boxes: dict[tuple[int, int, str, int, str], list[np.ndarray]] = {}
    elsewhere = lost = 0
    for number, cells in enumerate(table.iter_rows(named=True), start=1):
        where = f"--truth: {path}, row {number}"
        if cells[key] not in at:
            elsewhere += 1
            continue
        x, y, width, height, image_width, image_height = (_number(cells[name], name, where) for name in NUMBERS)
        check(
            width > 0 and height > 0 and x >= 0 and y >= 0 and x + width <= image_width and y + height <= image_height,
            f"{where}: the box {x:g}, {y:g}, {width:g}, {height:g} is empty or lies outside of its image, which is "
            f"{image_width:g} wide and {image_height:g} high.",
        )
        scale, shift = scale_and_shift((int(image_height), int(image_width)), stored, fit)
        left, top = x * scale[0] + shift[0], y * scale[1] + shift[1]
        right, bottom = left + width * scale[0], top + height * scale[1]
        left, right = np.clip([left, right], 0, stored[1]) / stored[1]
        top, bottom = np.clip([top, bottom], 0, stored[0]) / stored[0]
        if right <= left or bottom <= top:
            lost += 1
            continue
        about = (
            at[cells[key]],
            _index(cells, "picture", where, default=0),
            _text(cells, "finding", where),
            *_named(cells, where),
        )
        boxes.setdefault(about, []).append(np.array([left, top, right - left, bottom - top]))
    check(
        bool(boxes),
        f"--truth: no row of {path} is about the rows that are read ({first_few(list(keys), 3)}); its keys are "
        f"{first_few([str(one) for one in table[key].unique(maintain_order=True)], 3)}.",
    )
    queries = tuple(Query(*about, boxes=np.stack(several)) for about, several in boxes.items())
    return Truth(queries, elsewhere, lost)


def inside_of(query: Query, to_stored: np.ndarray, size: tuple[int, int], stored: tuple[int, int],
              grid: tuple[int, int]) -> np.ndarray:  # fmt: skip
    """Return which regions `[L]` of a view lie in the boxes of a query.

    Args:
      query: with boxes as shares of the stored image.
      to_stored: the affine map `[3, 3]` of pixel indices of the view to those of the stored image (see `views`), which
        turns nothing.
      size: height and width of the view.
      stored: height and width of the stored image.
      grid: of the regions.
    """
    from_stored = np.linalg.inv(np.asarray(to_stored, np.float64))
    edges = np.concatenate([query.boxes[:, :2], query.boxes[:, :2] + query.boxes[:, 2:]]) * [stored[1], stored[0]]
    points = np.concatenate([edges[:, ::-1] - 0.5, np.ones((len(edges), 1))], axis=1)  # row, column of pixel centres
    seen = (points @ from_stored.T)[:, :2] + 0.5
    shares = np.clip(seen / size, 0, 1)[:, ::-1]
    low, high = np.split(shares, 2)
    return regions_inside(np.concatenate([low, high - low], axis=1), grid)


def _fit(store: Store) -> Fit:
    request: dict[str, Any] = store.made_by.get("request") or {}
    names = {field.name for field in dataclasses.fields(Fit)}
    return Fit(**{name: value for name, value in request.items() if name in names and name == "aspect"})


def _named(cells: dict[str, str | None], where: str) -> tuple[int, str]:
    """Return the sentence and the phrase of a row, one of which is -1 or ""."""
    if cells.get("sentence"):
        return _index(cells, "sentence", where), ""
    return -1, (cells.get("phrase") or _text(cells, "finding", where)).replace("_", " ")


def _number(cell: str | None, name: str, where: str) -> float:
    try:
        value = float(cell or "nan")
    except ValueError:
        value = float("nan")
    check(np.isfinite(value), f"{where}: {name} is {brief(cell)}, which is no number.")
    return value


def _index(cells: dict[str, str | None], name: str, where: str, default: int | None = None) -> int:
    cell = cells.get(name)
    if not cell and default is not None:
        return default
    check((cell or "").isdecimal(), f"{where}: {name} is {brief(cell)}, which is no index from 0.")
    return int(cell or 0)


def _text(cells: dict[str, str | None], name: str, where: str) -> str:
    check(bool(cells[name]), f"{where}: {name} is empty.")
    return str(cells[name])
