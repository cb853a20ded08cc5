"""Raw data to store: a table with a header and a folder of images become what training reads."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax import __version__
from mmcl_jax.data import images, shards, splits, store, table
from mmcl_jax.data.schema import Column, ImageSpec, Schema
from mmcl_jax.data.statistics import Statistics
from mmcl_jax.errors import UserError, check

Track = Callable[[Iterable[int], str], Iterable[int]]
Found = dict[int, tuple[Path, tuple[int, int, int]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to prepare. One field per option of `mmcl prepare`."""

    table: Path
    images: Path
    image_column: str
    label: str | None = None
    key_column: str | None = None
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    split_column: str | None = None
    split: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0
    max_bad: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The request as JSON values."""
        raw = dataclasses.asdict(self)
        return json.loads(json.dumps(raw, default=str))


def prepare(request: Request, out: Path, *, track: Track = lambda rows, _: rows) -> store.Store:
    """Writes the store `out`; it appears whole or not at all.

    Args:
      request: what to prepare.
      out: the folder to make; it must not exist.
      track: wraps a loop over rows to show progress, as `track(rows, what)`.

    Returns:
      The opened store.

    Raises:
      UserError: anything wrong with the input, naming the file, row or column.
    """
    check(not out.exists(), f"{out} exists already; choose another --out, or remove it first.")
    rows = table.read_table(request.table)
    keys, names = _keys_and_images(rows, request)
    columns = _columns(rows, request)
    label = _label(rows, request)
    found, quarantine = _readable(names, request, track)
    check(bool(found), f"No row of {request.table} has an image that can be read.")
    kept = np.array(sorted(found))
    schema = Schema(columns=columns, image=_image_spec(found, request), label=label)
    raw = np.stack([table.column_values(rows[c.name], c) for c in columns], axis=1)
    labels = table.column_values(rows[label.name], label).astype(np.int64) if label else None
    division = {name: kept[part] for name, part in _division(rows[kept.tolist()], request, labels, kept).items()}
    statistics = Statistics.fit(raw[division["train"]], schema)

    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        infos = []
        for split, members in division.items():
            examples = _examples(track(members, f"writing {split}"), found, keys, raw, labels, schema)
            flat = store.copy_flat(examples, partial / "flat" / split, len(members), schema)
            infos.append(shards.write_shards(partial, "store", split, flat, len(members), schema))
            next(flat, None)  # lets `copy_flat` finish after its last example
        shards.write_metadata(partial, schema, infos, f"Images and table of {request.table.name}")
        (partial / "schema.json").write_text(schema.to_json())
        (partial / "statistics.json").write_text(statistics.to_json())
        split_keys = {split: [keys[row] for row in members] for split, members in division.items()}
        (partial / "splits.json").write_text(json.dumps(split_keys) + "\n")
        (partial / "quarantine.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in quarantine))
        store.write_checksums(partial)
        made_by = {
            "format": store.FORMAT,
            "version": __version__,
            "request": request.to_json(),
            "sizes": {split: len(members) for split, members in division.items()},
        }
        (partial / "store.json").write_text(json.dumps(made_by, indent=2) + "\n")
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return store.Store.open(out)


def _keys_and_images(rows: pl.DataFrame, request: Request) -> tuple[list[str], list[str | None]]:
    """The identifier of every row (its image path unless a key column is named), and its image path."""
    named = [request.image_column, request.label, request.key_column, request.split_column]
    wanted = [name for name in named if name] + [*request.ignore, *request.categorical]
    table.require_columns(rows, wanted, request.table)
    names = rows[request.image_column].cast(pl.String).to_list()
    if not request.key_column:
        return [name or f"row {row + 1}" for row, name in enumerate(names)], names
    keys = rows[request.key_column].cast(pl.String)
    check(
        keys.null_count() == 0 and keys.n_unique() == len(keys),
        f"Column {request.key_column!r} of {request.table} is no key: it has missing or repeated values.",
    )
    return keys.to_list(), names


def _columns(rows: pl.DataFrame, request: Request) -> tuple[Column, ...]:
    not_features = {request.image_column, request.label, request.key_column, request.split_column, *request.ignore}
    features = [name for name in rows.columns if name not in not_features]
    check(bool(features), f"{request.table} has no column left to use as the table.")
    return tuple(
        table.infer_column(rows[name], request.table, categorical=name in request.categorical) for name in features
    )


def _label(rows: pl.DataFrame, request: Request) -> Column | None:
    if not request.label:
        return None
    column = table.infer_column(rows[request.label], request.table, categorical=True)
    missing = rows[request.label].is_null().arg_max()
    check(
        rows[request.label].null_count() == 0,
        f"The label column {request.label!r} of {request.table} is missing in row {(missing or 0) + 1}.",
    )
    return column


def _readable(names: list[str | None], request: Request, track: Track) -> tuple[Found, list[dict[str, Any]]]:
    """Path and size of every image that can be read, by row; and a quarantine entry for each row that cannot."""
    check(request.images.is_dir(), f"The image folder {request.images} does not exist.")
    found: Found = {}
    quarantine: list[dict[str, Any]] = []
    for row in track(range(len(names)), "checking images"):
        try:
            name = names[row]
            check(name is not None, f"Row {row + 1} of {request.table} names no image.")
            path = images.locate(request.images, str(name))
            size = images.read_size(path)
            images.read_image(path, size)
            found[row] = path, size
        except UserError as error:
            quarantine.append({"row": row + 1, "image": names[row], "reason": str(error)})
    if len(quarantine) > request.max_bad * len(names):
        first = quarantine[0]
        more = f" ({len(quarantine) - 1} more rows are bad)" if len(quarantine) > 1 else ""
        raise UserError(
            f"Row {first['row']} of {request.table}: {first['reason']}{more} "
            f"Mend it, or allow a share of bad rows with --max-bad 0.01; they are then listed in quarantine.jsonl."
        )
    return found, quarantine


def _image_spec(found: Found, request: Request) -> ImageSpec:
    sizes = {size for _, size in found.values()}
    channels = max(size[2] for size in sizes)
    shapes = {size[:2] for size in sizes}
    if request.image_size:
        height, width = request.image_size
    else:
        check(
            len(shapes) == 1,
            f"The images in {request.images} have {len(shapes)} different sizes; "
            f"say which size to store, for example --image-size 128.",
        )
        height, width = next(iter(shapes))
    resize = "none" if shapes == {(height, width)} else images.RESIZE
    return ImageSpec(height=height, width=width, channels=channels, resize=resize)


def _division(rows: pl.DataFrame, request: Request, labels: np.ndarray | None, kept: np.ndarray) -> splits.Splits:
    """Positions among the kept rows, per split."""
    if request.split_column:
        return splits.splits_from_column(rows[request.split_column].to_numpy(), request.split_column)
    kept_labels = None if labels is None else labels[kept]
    return splits.random_splits(len(kept), request.split, seed=request.seed, label=kept_labels)


def _examples(
    members: Iterable[int], found: Found, keys: list[str], raw: np.ndarray, labels: np.ndarray | None, schema: Schema
) -> Iterator[shards.Example]:
    for row in members:
        example = {
            "id": int(row),
            "key": keys[row],
            "image": images.read_image(found[row][0], schema.image.shape),
            "table": raw[row],
        }
        if labels is not None:
            example["label"] = int(labels[row])
        yield example
