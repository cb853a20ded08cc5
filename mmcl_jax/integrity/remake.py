"""Making files of a store again from its other files.

Every file is made beside the store and takes its place only if it has the recorded checksum, so a repair makes up no
data. Mapped arrays are the exception: shards with the recorded checksums hold the same rows, maybe in another order.
"""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from mmcl_jax.border import read_lines, read_written, to_json
from mmcl_jax.data.format import flat, flat_sums, shards, writing
from mmcl_jax.data.format.checked import ANEW, Checked
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.format.format3 import ENTRIES, KEYS, MANIFEST, SEAL, Format3
from mmcl_jax.data.format.lists import FILE, Lists
from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import Recorded, read_records
from mmcl_jax.integrity.repair import Repair
from mmcl_jax.integrity.store import FLAT, LOCK, SCRATCH, left_over, manifest_of
from mmcl_jax.lock import locked
from mmcl_jax.prepare.assemble import Assembled
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.card.report import card
from mmcl_jax.prepare.quarantine import QuarantineEntry


def repair_store(directory: Path) -> Repair:
    """Make the damaged files of a store of the current format again, as far as others determine them.

    Raises:
      UserError: another process makes the mapped arrays again at this moment.
    """
    repair, stale = Repair(), directory / LOCK in left_over(directory)
    if manifest_of(directory) != MANIFEST:
        repair.left.append(f"{directory} is a store of format 2, of which no file is made again; see mmcl upgrade.")
        return repair
    scratch = directory / SCRATCH
    with locked(directory / LOCK, what=f"restores {directory / FLAT}"):
        repair.remove([path for path in left_over(directory) if path.name != LOCK])
        scratch.mkdir()
        try:
            for step in (_manifest, _keys, _arrays, _shards, _statistics, _card):
                step(directory, scratch, repair)
        finally:
            shutil.rmtree(scratch)
    return repair.without_lock(directory / LOCK) if stale else repair


def _faulty(directory: Path, recorded: dict[str, Recorded], wanted: Callable[[str], bool]) -> dict[str, Recorded]:
    """Return the records of the files that are not as recorded, of those whose name is `wanted`."""
    chosen = {name: one for name, one in recorded.items() if wanted(name)}
    return {name: one for name, one in chosen.items() if one.fault(directory / name, root=directory) is not None}


def _recorded(directory: Path) -> dict[str, Recorded]:
    """Return the records of the manifest; {} if it is damaged."""
    with contextlib.suppress(UserError):
        return read_records(directory / MANIFEST, ANEW)
    return {}


def _manifest(directory: Path, scratch: Path, repair: Repair) -> None:
    """Make the manifest from all files, if these are undamaged: the seal tells."""
    with contextlib.suppress(UserError):  # without an undamaged seal, nothing says what the manifest was
        for name, recorded in _faulty(directory, read_records(directory / SEAL, ANEW), MANIFEST.__eq__).items():
            made = scratch / name
            writing.write_manifest(directory, without=(MANIFEST, LOCK, SCRATCH), to=made)
            repair.offer(made, directory / name, recorded, "the files of the store")


def _keys(directory: Path, scratch: Path, repair: Repair) -> None:
    """Make the keys of all rows from the shards."""
    for name, recorded in _faulty(directory, _recorded(directory), KEYS.__eq__).items():
        with repair.trying(str(directory / name)):
            files = Checked(directory, MANIFEST)
            lists = files.read(FILE, Lists.read)
            files.check(filter(shards.is_shard, files.names))
            keys = [""] * len(lists.id)
            for split, rows in lists.splits.items():
                for row, example in zip(rows, shards.examples(directory, shards.NAME, split), strict=True):
                    keys[row] = example["key"].bytes_list.value[0].decode()
            (scratch / name).write_text(to_json(keys) + "\n")
            repair.offer(scratch / name, directory / name, recorded, "the shards")


def _arrays(directory: Path, scratch: Path, repair: Repair) -> None:
    """Make damaged and missing mapped arrays from the shards."""
    folder = directory / FLAT
    try:
        recorded, readable = flat_sums.records(folder), True
    except UserError:
        recorded, readable = {}, False  # nothing says which of the arrays are right
    damaged = {name: one for name, one in recorded.items() if one.fault(folder / name, root=directory) is not None}
    if recorded and not damaged:
        return
    with repair.trying(str(folder)):
        files = Checked(directory, MANIFEST)
        schema, lists = files.read(ENTRIES, Schema.read), files.read(FILE, Lists.read)
        names = [
            name
            for name in schema.entries
            if not readable or not flat.has(directory, name) or {f"{name}.npy", f"{name}.at.npy"} & damaged.keys()
        ]
        if not names:
            return
        files.check(name for name in files.names if shards.is_shard(name) or name.endswith(shards.INFO))
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        for path in (folder / f"{name}{suffix}" for name in names for suffix in (".npy", ".at.npy")):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
        flat.restore(directory, schema, lists.splits, names)
        same = all(one.fault(folder / name, root=directory) is None for name, one in damaged.items())
        order = "with the same bytes" if recorded and same else "with the same rows, in the order of the shards"
        repair.repairs.append(f"The mapped arrays of {', '.join(names)} were made again from the shards, {order}.")


def _shards(directory: Path, scratch: Path, repair: Repair) -> None:
    """Make damaged shards, and the files that describe them, from the mapped arrays."""
    described = (shards.INFO, "features.json")
    faulty = _faulty(directory, _recorded(directory), lambda name: shards.is_shard(name) or name.endswith(described))
    if not faulty:
        return
    with repair.trying(f"{directory / next(iter(faulty))}"):
        layout = Format3(directory)
        content = _content(layout)
        writing.write_shards(scratch, content, layout.schema, directory / FLAT, _title(directory, layout))
        for name, recorded in faulty.items():
            repair.offer(scratch / name, directory / name, recorded, "the mapped arrays")


def _statistics(directory: Path, scratch: Path, repair: Repair) -> None:
    """Fit the statistics of the table again."""
    for name, recorded in _faulty(directory, _recorded(directory), "statistics.json".__eq__).items():
        with repair.trying(str(directory / name)):
            layout = Format3(directory)
            (scratch / name).write_text(writing.statistics_of(_content(layout), layout.schema).to_json())
            repair.offer(scratch / name, directory / name, recorded, "the training rows")


def _card(directory: Path, scratch: Path, repair: Repair) -> None:
    """Draw the data card again."""
    for name, recorded in _faulty(directory, _recorded(directory), "card.html".__eq__).items():
        with repair.trying(str(directory / name)):
            layout = Format3(directory)
            findings = layout.files.read("findings.json", Findings.read)
            quarantine = layout.files.read("quarantine.jsonl", _entries)
            assembled = Assembled(content=_content(layout), left_out={}, texts={}, warnings=[])
            (scratch / name).write_text(card(findings, layout.schema, assembled, quarantine))
            repair.offer(scratch / name, directory / name, recorded, "findings.json and the arrays")


class _Entry(TypedDict):
    row: int
    image: str | None
    cause: str
    reason: str
    file: str
    entry: str


def _entries(path: Path) -> list[QuarantineEntry]:
    return [QuarantineEntry(**line) for line in read_lines(path, _Entry, ANEW)]


def _content(layout: Format3) -> Content:
    """Return the content of a store from its mapped arrays.

    Raises:
      UserError: a file is missing or damaged.
    """
    lists, folder = layout.lists, layout.directory / FLAT
    for name, recorded in flat_sums.records(folder).items():
        fault = recorded.fault(folder / name, root=layout.directory)
        check(fault is None, f"{fault}; {flat_sums.REMEDY}.")
    parts = {
        name: Part(
            entry=entry,
            values=flat.values(layout.directory, name, entry),
            at=np.asarray(flat.read_at(layout.directory, name, entry, len(lists.id))),
            names=layout.names(name),
        )
        for name, entry in layout.schema.entries.items()
    }
    return Content(
        parts=parts,
        id=lists.id,
        keys=layout.keys(),
        splits=lists.splits,
        subsets=lists.subsets,
        folds=lists.folds,
        group=lists.group,
    )


def _title(directory: Path, layout: Format3) -> str:
    """Return the description of the data set: that of an undamaged `dataset_info.json`, or as `prepare` makes it."""
    with contextlib.suppress(UserError):
        return str(layout.files.read(shards.INFO, _parsed)["description"])
    with contextlib.suppress(UserError):
        source = layout.files.read("findings.json", Findings.read).source
        return f"{', '.join(layout.schema.entries)} of {source}"
    return ""


def _parsed(path: Path) -> dict[str, Any]:
    return read_written(path, dict[str, Any], ANEW)
