"""Writes the files of a store from its content."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax import __version__
from mmcl_jax.border import to_json
from mmcl_jax.data.engines.engine import Engine
from mmcl_jax.data.format import flat, flat_sums, shards
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.format.format3 import ENTRIES, FORMAT, KEYS, MANIFEST, SEAL, SEALED, declaration_file, names_file
from mmcl_jax.data.format.lists import FILE, Lists, check_lists
from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.format.shards import Records
from mmcl_jax.data.kinds import check_schema, kind_of
from mmcl_jax.data.kinds.kind import chunks
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import UserError
from mmcl_jax.files import is_partial, write_checksums, write_text

# The file that is written last, its checksum, and a file that `prepare` removes.
_WITHOUT_CHECKSUM = ("store.json", SEAL, "request.sha256")


def write(
    directory: Path,
    content: Content,
    *,
    description: str,
    engine: Engine | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> Schema:
    """Write the arrays, the shards and their descriptions into the folder of a store.

    The folder is not a store before `finish` is called.

    Args:
      directory: the folder; files of an earlier call that was stopped are written again.
      content: content of the store.
      description: one sentence on the data set, for TFDS.
      engine: what writes the shards; by default this process.
      progress: is called with the number of rows of every shard that has been written.

    Returns:
      The schema as it is stored.

    Raises:
      UserError: an entry does not fit its kind, its rows, or its image.
    """
    total = len(content.id)
    lists = Lists(
        id=content.id, group=content.group, splits=content.splits, subsets=content.subsets, folds=content.folds
    )
    check_lists(lists, total)
    at = {name: _checked_at(part, total) for name, part in content.parts.items()}
    schema = Schema({name: _stored(part, at[name]) for name, part in content.parts.items()})
    check_schema(schema, {name: part.names for name, part in content.parts.items()})
    for name, part in content.parts.items():
        rows = MappedRows(part.values, at[name], fill=0, optional=True)
        _check(name, rows, schema, part, content.keys)
    for name, part in content.parts.items():
        _flatten(directory, name, part)
        flat.write_at(directory, name, at[name])
    write_shards(directory, content, schema, directory / "flat", description, engine=engine, progress=progress)
    lists.write(directory)
    (directory / ENTRIES).write_text(schema.to_json())
    (directory / KEYS).write_text(to_json(list(content.keys)) + "\n")
    (directory / "declaration.json").write_text(to_json(content.declaration.to_json()) + "\n")
    for name, declaration in content.declarations.items():
        (directory / declaration_file(name)).write_text(to_json(declaration.to_json()) + "\n")
    (directory / "statistics.json").write_text(statistics_of(content, schema).to_json())
    for name, part in content.parts.items():
        if part.names:
            text = "".join(f"{line}\n" for line in part.names)
            (directory / names_file(name)).write_text(text, encoding="utf-8")
    return schema


def finish(directory: Path, *, made_by: Mapping[str, Any] | None = None) -> None:
    """Write the checksums and, last, `store.json`, which makes the folder a store.

    Args:
      directory: folder of the store; files that `write` did not make, such as the card, get a checksum too.
      made_by: further keys of `store.json`, such as `request` and `recipe`; None for a store that no request describes,
        because a program made its content.
    """
    flat_sums.write(directory / "flat")
    write_manifest(directory)
    sizes = {split: len(rows) for split, rows in Lists.read(directory / FILE).splits.items()}
    origin = {"request": {}} if made_by is None else made_by
    described = {"format": FORMAT, "version": __version__, **origin, "sizes": sizes}
    write_store_json(directory, described)


def write_store_json(directory: Path, content: Mapping[str, Any]) -> None:
    """Write `store.json`, which makes the folder a store, and `seal.json`, the checksums of it and of the manifest.

    A kill meanwhile leaves a store without a seal, which is not compared.
    """
    (directory / SEAL).unlink(missing_ok=True)
    write_text(directory / "store.json", to_json(content, indent=2) + "\n")
    write_seal(directory)


def write_seal(directory: Path) -> None:
    """Write `seal.json`."""
    write_checksums(directory, [directory / name for name in SEALED], name=SEAL)


def write_manifest(directory: Path, *, without: tuple[str, ...] = (), to: Path | None = None) -> None:
    """Write size and SHA-256 of every file except `without` and the flat arrays, which have checksums of their own.

    Files that a killed process wrote in part are left out, too. `to` is the file to write, by default `manifest.json`
    of the store.
    """
    files = (path for path in directory.rglob("*") if path.is_file() and not is_partial(path))
    left_out = ("flat", *_WITHOUT_CHECKSUM, *without)
    listed = [path for path in files if path.relative_to(directory).parts[0] not in left_out]
    write_checksums(directory, listed, name=MANIFEST if to is None else str(to.absolute()))


def _checked_at(part: Part, rows: int) -> np.ndarray:
    """Return `part.at` as an array `[N]` or `[N, V]`, checked against the number of rows and values."""
    at: np.ndarray = np.arange(rows) if part.at is None else np.asarray(part.at)
    if at.shape[:1] != (rows,) or at.ndim > 2 or at.max(initial=-1) >= len(part.values) or at.min(initial=0) < -1:
        raise ValueError(f"indices `at` of shape {at.shape} do not fit {rows} rows and {len(part.values)} values")
    return at[:, 0] if at.ndim == 2 and at.shape[1] == 1 else at


def _stored(part: Part, at: np.ndarray) -> Any:
    """Return the entry with `optional` and `pictures` as `at` implies them."""
    if part.values.shape[1:] != part.entry.shape or part.values.dtype != part.entry.dtype:
        raise ValueError(f"{part.values.dtype} values of the shape {part.values.shape} are no rows of {part.entry}")
    absent = (at if at.ndim == 1 else at[:, 0]) < 0
    return dataclasses.replace(
        part.entry, optional=part.entry.optional or bool(absent.any()), pictures=1 if at.ndim == 1 else at.shape[1]
    )


def _check(name: str, rows: MappedRows, schema: Schema, part: Part, keys: Any) -> None:
    """Raise `UserError` naming the entry and the row if a stored row has a fault."""
    kind = kind_of(part.entry, name)
    if not kind.can_have_faults(part.entry):
        return
    used = np.unique(rows.at[rows.at >= 0])
    start = 0
    for values in chunks(MappedRows(rows.values, used, fill=0)):
        if fault := kind.fault(values, name, schema, part.names):
            index, reason = fault
            row = np.argwhere(rows.at == used[start + index])[0][0]
            raise UserError(f"The entry {name!r} of the row {keys[row]!r}: {reason}.")
        start += len(values)


def _flatten(directory: Path, name: str, part: Part) -> None:
    """Write `flat/NAME.npy`, unless the values are already that file."""
    path = directory / "flat" / f"{name}.npy"
    mapped = part.values.filename if isinstance(part.values, np.memmap) else None
    if mapped is not None and Path(mapped) == path.resolve():
        return
    array = flat.allocate(directory, name, part.values.shape, part.entry.dtype)
    size = max(1, (64 * 2**20) // max(1, part.values[:1].nbytes))
    for start in range(0, len(array), size):
        array[start : start + size] = part.values[start : start + size]
    array.flush()


def _codes(content: Content, at: Mapping[str, np.ndarray], schema: Schema) -> np.ndarray | None:
    """Return the codes `[N]` of the first class label, -1 for a row without one; None if no label is a class."""
    name = schema.first("table", "target")
    return schema.codes(MappedRows(content.parts[name].values, at[name], fill=np.nan).all_rows()) if name else None


def statistics_of(content: Content, schema: Schema) -> Statistics:
    """Return the statistics of the training rows of the first table."""
    name = schema.first("table")
    train = content.splits["train"]
    if name is None:
        return Statistics.fit(np.zeros((len(train), 0)), schema)
    at = _checked_at(content.parts[name], len(content.id))[train]
    return Statistics.fit(MappedRows(content.parts[name].values, at, fill=np.nan).all_rows(), schema)


def write_shards(
    directory: Path,
    content: Content,
    schema: Schema,
    folder: Path,
    description: str,
    *,
    engine: Engine | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> None:
    """Write the data set of all rows, and one for each entry that rows share or lack, from the arrays in `folder`.

    Equal content gives equal files.
    """
    at = {name: _checked_at(part, len(content.id)) for name, part in content.parts.items()}
    codes = _codes(content, at, schema)
    integers: dict[str, np.ndarray] = {"id": content.id}
    arrays: dict[str, tuple[Path, np.ndarray]] = {}
    if content.group is not None:
        integers["group"] = content.group
    if codes is not None:
        integers["label"] = codes
    indexed = []
    for name, indices in at.items():
        path = folder / f"{name}.npy"
        shutil.rmtree(directory / name, ignore_errors=True)
        used = np.unique(indices)
        if len(used) == indices.size and used.min(initial=0) >= 0:
            arrays[name] = path, indices
            continue
        used = used[used >= 0]
        indexed.append(name)
        integers[name] = np.where(indices < 0, -1, np.searchsorted(used, indices))
        entry = dataclasses.replace(schema.entries[name], pictures=1)
        shards.write(
            directory / name,
            name,
            {shards.ROWS: Records(integers={}, texts={}, arrays={name: (path, used)})},
            {name: shards.tensor(entry.shape, entry)},
            f"The entry {name} of: {description}",
            engine=engine,
        )
    splits = {
        split: Records(
            integers={name: array[rows] for name, array in integers.items()},
            texts={"key": [content.keys[row] for row in rows]},
            arrays={name: (path, indices[rows]) for name, (path, indices) in arrays.items()},
        )
        for split, rows in content.splits.items()
    }
    features = shards.features_of(schema, indexed, group=content.group is not None)
    shards.write(directory, shards.NAME, splits, features, description, engine=engine, progress=progress)
