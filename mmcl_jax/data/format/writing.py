"""A store's files, made of its content."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax import __version__
from mmcl_jax.data.format import flat, shards
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.format.format3 import ENTRIES, FORMAT, KEYS, MANIFEST, declaration_file, names_file
from mmcl_jax.data.format.lists import FILE, Lists, check_lists
from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.format.shards import Records
from mmcl_jax.data.kinds import check_schema, kind_of
from mmcl_jax.data.kinds.kind import chunks
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import UserError
from mmcl_jax.files import write_checksums

_NOT_CHECKED = ("store.json", "request.sha256")  # the last file, and one that `prepare` removes


def write(
    directory: Path,
    content: Content,
    *,
    description: str,
    workers: int = 1,
    progress: Callable[[int], object] = lambda rows: None,
) -> Schema:
    """Write the arrays, the shards and what describes them into the folder of a store.

    It is no store before `finish` is called.

    Args:
      directory: the folder; what an earlier call that was stopped left in it is written again.
      content: of the store.
      description: one sentence on the data set, for TFDS.
      workers: processes that write the shards.
      progress: is told the number of rows that are in the shards, as they come.

    Returns:
      The schema as it is stored.

    Raises:
      UserError: an entry does not fit its kind, its rows, or the image it belongs to.
    """
    total = len(content.id)
    lists = Lists(
        id=content.id, group=content.group, splits=content.splits, subsets=content.subsets, folds=content.folds
    )
    check_lists(lists, total)
    at = {name: _places(part, total) for name, part in content.parts.items()}
    schema = Schema({name: _stored(part, at[name]) for name, part in content.parts.items()})
    check_schema(schema, {name: part.names for name, part in content.parts.items()})
    for name, part in content.parts.items():
        rows = MappedRows(part.values, at[name], fill=0, optional=True)
        _check(name, rows, schema, part, content.keys)
    for name, part in content.parts.items():
        _flatten(directory, name, part)
        flat.write_places(directory, name, at[name])
    codes = _codes(content, at, schema)
    _write_shards(directory, content, at, schema, codes, description, workers, progress)
    lists.write(directory)
    (directory / ENTRIES).write_text(schema.to_json())
    (directory / KEYS).write_text(json.dumps(list(content.keys)) + "\n")
    (directory / "declaration.json").write_text(json.dumps(content.declaration.to_json()) + "\n")
    for name, declaration in content.declarations.items():
        (directory / declaration_file(name)).write_text(json.dumps(declaration.to_json()) + "\n")
    (directory / "statistics.json").write_text(_statistics(content, at, schema).to_json())
    for name, part in content.parts.items():
        if part.names:
            text = "".join(f"{one}\n" for one in part.names)
            (directory / names_file(name)).write_text(text, encoding="utf-8")
    return schema


def finish(directory: Path, *, made_by: Mapping[str, Any] | None = None) -> None:
    """Write the checksums and, last, `store.json`: the folder is a store now.

    Args:
      directory: of the store; files that were added beside those of `write`, such as the card, get a checksum too.
      made_by: what `store.json` says beside the format and version: `request`, `recipe`; None for a store that no
        request describes, because a program made its content.
    """
    write_manifest(directory)
    sizes = {split: len(rows) for split, rows in Lists.read(directory / FILE).splits.items()}
    by = {"request": {}} if made_by is None else made_by
    said = {"format": FORMAT, "version": __version__, **by, "sizes": sizes}
    (directory / "store.json").write_text(json.dumps(said, indent=2) + "\n")


def write_manifest(directory: Path, *, without: tuple[str, ...] = ()) -> None:
    """Write size and SHA-256 of every file, except the flat arrays, which the shards can restore."""
    files = (path for path in directory.rglob("*") if path.is_file())
    kept = [path for path in files if path.relative_to(directory).parts[0] not in ("flat", *_NOT_CHECKED, *without)]
    write_checksums(directory, kept, name=MANIFEST)


def _places(part: Part, rows: int) -> np.ndarray:
    """Return the index in the values of every row, `[N]` or `[N, V]`."""
    at: np.ndarray = np.arange(rows) if part.at is None else np.asarray(part.at)
    if at.shape[:1] != (rows,) or at.ndim > 2 or at.max(initial=-1) >= len(part.values) or at.min(initial=0) < -1:
        raise ValueError(f"places of the shape {at.shape} do not fit {rows} rows and {len(part.values)} values")
    return at[:, 0] if at.ndim == 2 and at.shape[1] == 1 else at


def _stored(part: Part, at: np.ndarray) -> Any:
    """Return the entry with what `at` says of it."""
    if part.values.shape[1:] != part.entry.shape or part.values.dtype != part.entry.dtype:
        raise ValueError(f"{part.values.dtype} values of the shape {part.values.shape} are no rows of {part.entry}")
    absent = (at if at.ndim == 1 else at[:, 0]) < 0
    return dataclasses.replace(
        part.entry, optional=part.entry.optional or bool(absent.any()), pictures=1 if at.ndim == 1 else at.shape[1]
    )


def _check(name: str, rows: MappedRows, schema: Schema, part: Part, keys: Any) -> None:
    """Raise `UserError` naming the entry and the row if a stored row is not as its kind stores it."""
    kind = kind_of(part.entry, name)
    if not kind.inspects(part.entry):
        return
    used = np.unique(rows.at[rows.at >= 0])
    start = 0
    for values in chunks(MappedRows(rows.values, used, fill=0)):
        if wrong := kind.wrong(values, name, schema, part.names):
            row = np.argwhere(rows.at == used[start + wrong[0]])[0][0]
            raise UserError(f"The entry {name!r} of the row {keys[row]!r}: {wrong[1]}.")
        start += len(values)


def _flatten(directory: Path, name: str, part: Part) -> None:
    """Write `flat/NAME.npy`, unless the values are that file."""
    path = directory / "flat" / f"{name}.npy"
    mapped = part.values.filename if isinstance(part.values, np.memmap) else None
    if mapped is not None and Path(mapped) == path.resolve():
        return
    made = flat.allocate(directory, name, part.values.shape, part.entry.dtype)
    size = max(1, (64 * 2**20) // max(1, part.values[:1].nbytes))
    for start in range(0, len(made), size):
        made[start : start + size] = part.values[start : start + size]
    made.flush()


def _codes(content: Content, at: Mapping[str, np.ndarray], schema: Schema) -> np.ndarray | None:
    """Return the codes `[N]` of the first label that is a class, -1 for none; None if there is no such label."""
    name = schema.first("table", "target")
    return schema.codes(MappedRows(content.parts[name].values, at[name], fill=np.nan).whole()) if name else None


def _statistics(content: Content, at: Mapping[str, np.ndarray], schema: Schema) -> Statistics:
    """Return the statistics of the training rows of the first table."""
    name = schema.first("table")
    train = content.splits["train"]
    if name is None:
        return Statistics.fit(np.zeros((len(train), 0)), schema)
    return Statistics.fit(MappedRows(content.parts[name].values, at[name][train], fill=np.nan).whole(), schema)


def _write_shards(
    directory: Path,
    content: Content,
    at: Mapping[str, np.ndarray],
    schema: Schema,
    codes: np.ndarray | None,
    description: str,
    workers: int,
    progress: Callable[[int], object],
) -> None:
    """Write the data set of all rows, and one for each entry that rows share or lack."""
    integers: dict[str, np.ndarray] = {"id": content.id}
    arrays: dict[str, tuple[Path, np.ndarray]] = {}
    if content.group is not None:
        integers["group"] = content.group
    if codes is not None:
        integers["label"] = codes
    indexed = []
    for name, places in at.items():
        path = directory / "flat" / f"{name}.npy"
        shutil.rmtree(directory / name, ignore_errors=True)
        used = np.unique(places)
        if len(used) == places.size and used.min(initial=0) >= 0:
            arrays[name] = path, places
            continue
        used = used[used >= 0]
        indexed.append(name)
        integers[name] = np.where(places < 0, -1, np.searchsorted(used, places))
        entry = dataclasses.replace(schema.entries[name], pictures=1)
        shards.write(
            directory / name,
            name,
            {shards.ROWS: Records(integers={}, texts={}, arrays={name: (path, used)})},
            {name: shards.tensor(entry.shape, entry)},
            f"The entry {name} of: {description}",
            workers=workers,
        )
    splits = {
        split: Records(
            integers={name: array[rows] for name, array in integers.items()},
            texts={"key": [content.keys[row] for row in rows]},
            arrays={name: (path, places[rows]) for name, (path, places) in arrays.items()},
        )
        for split, rows in content.splits.items()
    }
    features = shards.features_of(schema, indexed, group=content.group is not None)
    shards.write(directory, shards.NAME, splits, features, description, workers=workers, progress=progress)
