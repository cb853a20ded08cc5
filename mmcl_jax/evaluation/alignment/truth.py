"""Where findings are: a table of boxes, each with the sentence that names it, or with a phrase."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.evaluation.alignment.pointing import regions_inside
from mmcl_jax.files import reading
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.images.files import Fit, scale_and_shift
from mmcl_jax.text import brief, first_few, words_of

KEYS = ("key", "study", "study_id")  # the first of these that the table has names the row of the store
IMAGE = "dicom_id"
NUMBERS = ("x", "y", "width", "height", "image_width", "image_height")
_NAMED = ("", "present", "uncertain")  # mentions by which a sentence points at a finding
_Cells = Mapping[str, str | None]


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
    """The queries about rows of a split.

    Attributes:
      queries: one for each image, finding, and sentence or phrase, with the boxes of all rows of the table about it.
      notes: sentences about rows of the table that are not used.
    """

    queries: tuple[Query, ...]
    notes: tuple[str, ...]


def read_truth(path: Path, store: Store, entry: str, keys: Sequence[str], counts: np.ndarray | None = None) -> Truth:
    """Return the findings of rows of a store, from a CSV file with a row per box.

    The columns of the file are

        key, study or study_id     key of the row of the store
        finding                    name of the finding
        x, y, width, height        the box, in pixels of the image's file; all empty for a finding that is not there
        image_width, image_height  size of that file
        sentence                   index of the sentence in the stored report, from 0; empty if none names the finding
        phrase                     words in place of a sentence; without both columns, the finding is the phrase
        mention                    may be missing: "present" or "uncertain", or else the sentence does not point at it
        picture                    may be missing: index of the image among those of the row, from 0
        dicom_id                   may be missing: name of the image, where a row has several, in the order of names

    Args:
      path: of the file.
      store: with the images.
      entry: of the images.
      keys: of the rows that are read, in their order.
      counts: number of images of each of these rows; None for one.

    Raises:
      UserError: the file cannot be read, lacks a column, has a row that is wrong, which is named, or none that is used.
    """
    with reading(path, "check the address"):
        try:
            table = pl.read_csv(path, infer_schema=False)
        except pl.exceptions.PolarsError as error:
            raise UserError(f"--truth: {path} is no CSV file: {words_of(error)}.") from error
    key = next((name for name in KEYS if name in table.columns), "")
    check(bool(key), f"--truth: {path} has no column {' or '.join(KEYS)}; it has {first_few(table.columns)}.")
    for name in ("finding", *NUMBERS):
        check_name(name, table.columns, f"--truth: {path} lacks the column", "it has")
    at = {one: row for row, one in enumerate(keys)}
    pictures = _pictures(table, key)
    fit, stored = _fit(store, entry), store.schema.entries[entry].shape[:2]
    boxes: dict[tuple[int, int, str, int, str], list[np.ndarray]] = {}
    unused = dict.fromkeys(("elsewhere", "unnamed", "unknown", "lost"), 0)
    for number, cells in enumerate(table.iter_rows(named=True), start=1):
        where = f"--truth: {path}, row {number}"
        if not any(cells[name] for name in NUMBERS[:4]):
            continue
        if cells[key] not in at:
            unused["elsewhere"] += 1
            continue
        box = _box(cells, where)
        named = _named(cells, where)
        if named is None:
            unused["unnamed"] += 1
            continue
        row = at[str(cells[key])]
        picture = _picture(cells, str(cells[key]), pictures, 1 if counts is None else int(counts[row]), where)
        if picture is None:
            unused["unknown"] += 1
            continue
        share = _stored(box, stored, fit)
        if share is None:
            unused["lost"] += 1
            continue
        boxes.setdefault((row, picture, _text(cells, "finding", where), *named), []).append(share)
    check(
        bool(boxes),
        f"--truth: no box of {path} that a sentence names is about the rows that are read, such as "
        f"{first_few(list(keys), 3)}; its keys are "
        f"{first_few([str(one) for one in table[key].unique(maintain_order=True)], 3)}.",
    )
    queries = tuple(Query(*about, boxes=np.stack(several)) for about, several in boxes.items())
    return Truth(queries, _notes(unused))


def inside_of(
    query: Query, to_stored: np.ndarray, size: tuple[int, int], stored: tuple[int, int], grid: tuple[int, int]
) -> np.ndarray:
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


def _fit(store: Store, entry: str) -> Fit:
    """Return how images were made to fit: a further entry may have an aspect of its own."""
    request: Mapping[str, Any] = store.made_by.get("request") or {}
    own: Mapping[str, Any] = (request.get("entries") or {}).get(entry) or {}
    return Fit(aspect=own.get("aspect") or request.get("aspect", "stretch"))


def _box(cells: _Cells, where: str) -> list[float]:
    box = [_number(cells[name], name, where) for name in NUMBERS]
    x, y, width, height, image_width, image_height = box
    check(
        width > 0 and height > 0 and x >= 0 and y >= 0 and x + width <= image_width and y + height <= image_height,
        f"{where}: the box {x:g}, {y:g}, {width:g}, {height:g} is empty or lies outside of its image, which is "
        f"{image_width:g} wide and {image_height:g} high.",
    )
    return box


def _stored(box: Sequence[float], stored: tuple[int, ...], fit: Fit) -> np.ndarray | None:
    """Return x, y, width and height as shares of the stored image; None for a box that was cut off."""
    x, y, width, height, image_width, image_height = box
    scale, shift = scale_and_shift((int(image_height), int(image_width)), (stored[0], stored[1]), fit)
    across = np.clip(np.array([x, x + width]) * scale[0] + shift[0], 0, stored[1]) / stored[1]
    down = np.clip(np.array([y, y + height]) * scale[1] + shift[1], 0, stored[0]) / stored[0]
    if across[1] <= across[0] or down[1] <= down[0]:
        return None
    return np.array([across[0], down[0], across[1] - across[0], down[1] - down[0]])


def _named(cells: _Cells, where: str) -> tuple[int, str] | None:
    """Return the sentence and the phrase that name a finding, one of which is -1 or ""; None if none does."""
    if "sentence" in cells:
        if not cells["sentence"] or (cells.get("mention") or "") not in _NAMED:
            return None
        return _index(cells, "sentence", where), ""
    return -1, _text(cells, "phrase" if "phrase" in cells else "finding", where).replace("_", " ")


def _pictures(table: pl.DataFrame, key: str) -> dict[str, list[str]]:
    """Return the names of the images of every key, in their order; {} if the table has none."""
    if IMAGE not in table.columns:
        return {}
    grouped = table.group_by(key).agg(pl.col(IMAGE).drop_nulls().unique().sort())
    return dict(grouped.iter_rows())


def _picture(cells: _Cells, key: str, pictures: Mapping[str, list[str]], count: int, where: str) -> int | None:
    """Return the index of the image of a box; None where the table does not name as many images as the row has."""
    if cells.get("picture"):
        index = _index(cells, "picture", where)
        check(index < count, f"{where}: picture is {index}, and the row has {counted(count, 'image')}.")
        return index
    names = pictures.get(key, [])
    if count == 1 and len(names) < 2:
        return 0
    return names.index(cells[IMAGE] or "") if len(names) == count and cells.get(IMAGE) in names else None


def _notes(unused: Mapping[str, int]) -> tuple[str, ...]:
    words = {
        "elsewhere": "about other rows",
        "unnamed": "that no sentence names",
        "unknown": "in images that cannot be told apart, since the table does not name all images of their row",
        "lost": "in parts of images that were cut off",
    }
    return tuple(
        f"{counted(count, 'box', 'boxes')} of the truth {words[kind]} {'takes' if count == 1 else 'take'} no part."
        for kind, count in unused.items()
        if count
    )


def _number(cell: str | None, name: str, where: str) -> float:
    try:
        value = float(cell or "nan")
    except ValueError:
        value = float("nan")
    check(bool(np.isfinite(value)), f"{where}: {name} is {brief(cell)}, which is no number.")
    return value


def _index(cells: _Cells, name: str, where: str) -> int:
    cell = cells[name] or ""
    check(cell.isdecimal() and len(cell) < 9, f"{where}: {name} is {brief(cell)}, which is no index from 0.")
    return int(cell)


def _text(cells: _Cells, name: str, where: str) -> str:
    check(bool(cells[name]), f"{where}: {name} is empty.")
    return str(cells[name])
