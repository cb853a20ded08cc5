"""What a command wrote, as a hash per file, without what times and the names of processes change."""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from mmcl_jax.data.store import Store
from mmcl_jax.training.runs.checkpoint import newest_intact, steps_of
from mmcl_jax.training.runs.run import Run

# "sum" is the checksum of a line, of its times too.
TIMES = ("seconds", "time", "times", "made", "cost", "date", "evaluation_seconds", "sum")
_DATE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+:\d]*")
_DURATION = re.compile(rb">[\d.,]+ (s|min|h)<")  # the whole text of an element of a page
# Their content is times (`times.json`), or their names are (`events`); a training does not read them.
UNCOMPARED = ("times.json", "status.json")


def digest(folder: Path, *, newest: bool = False) -> dict[str, str]:
    """Return a hash of every file below a folder, by its path; of a checkpoint, of its arrays and its data position.

    With `newest`, only the checkpoint that a reader of each run would take.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.name == "checkpoints" and path.is_dir() and not _hidden(name):
            steps = [newest_intact(path)[0]] if newest else steps_of(path)
            found |= {f"{name}/{step}": _checkpoint(path / str(step)) for step in steps if step is not None}
        elif path.is_file() and "events" not in name.parts and not _in_checkpoint(name):
            found[name.as_posix()] = "" if name.name in UNCOMPARED else _hash(path)
    return found


def unreadable(folder: Path) -> list[str]:
    """Return a sentence for every store and run below a folder that cannot be opened, except hidden ones."""
    faults = []
    for path in folder.rglob("*.json"):
        opened = {"store.json": _open_store, "config.json": _open_run}.get(path.name)
        run = (path.parent / "config.json").is_file()
        if opened is None or _hidden(path.relative_to(folder)) or (path.name == "store.json" and run):
            continue
        try:
            opened(path.parent)
        except Exception as error:
            faults.append(f"{path.parent.relative_to(folder)} cannot be opened: {error!r}")
    return faults


def _open_store(folder: Path) -> None:
    Store.open(folder).arrays("train")


def _open_run(folder: Path) -> None:
    Run.open(folder)


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return a sentence for every file that is missing, left over, or has another content."""
    missing = [f"{name} is missing" for name in expected.keys() - found.keys()]
    left = [f"{name} is left" for name in found.keys() - expected.keys()]
    other = [f"{name} differs" for name in expected.keys() & found.keys() if expected[name] != found[name]]
    return sorted([*missing, *left, *other])


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _in_checkpoint(path: Path) -> bool:
    """Whether a file is a part of a whole checkpoint, and not of one that Orbax has begun."""
    return any(a == "checkpoints" and b.isdigit() for a, b in zip(path.parts, path.parts[1:], strict=False))


def _hash(path: Path) -> str:
    content = _DATE.sub(b"", path.read_bytes())
    if path.suffix == ".html":
        content = _DURATION.sub(b"><", content)
    if path.name == "checksums.json" and content:
        content = _listed(content)
    if path.suffix in (".json", ".jsonl") and content:
        lines = content.splitlines() if path.suffix == ".jsonl" else [content]
        with contextlib.suppress(ValueError):  # cut off by a kill, or a journal, whose lines begin with a checksum
            content = json.dumps([_timeless(json.loads(line)) for line in lines], sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def _listed(content: bytes) -> bytes:
    """Return the names of the files that have checksums: these files are compared themselves, without their times."""
    return json.dumps(sorted(json.loads(content))).encode()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if key not in TIMES and not key.startswith("speed/")}
        return {key: _timeless(part) for key, part in kept.items()}
    return [_timeless(part) for part in value] if isinstance(value, list) else value


def _checkpoint(folder: Path) -> str:
    """Return a hash of the arrays of a checkpoint, and of what it says of data and skipped steps."""
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])  # those that saved it may have been of two processes

    def on_one_device(saved: Any) -> Any:
        return jax.ShapeDtypeStruct(saved.shape, saved.dtype, sharding=here) if hasattr(saved, "shape") else saved

    parts = ocp.checkpointables_metadata(folder).metadata
    wanted = {name: None if name in ("clock", "data") else jax.tree.map(on_one_device, parts[name]) for name in parts}
    content = dict(ocp.load_checkpointables(folder, wanted))
    content["clock"] = {name: value for name, value in content["clock"].items() if name != "seconds"}
    result = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(content):
        result.update(jax.tree_util.keystr(path).encode())
        result.update(leaf.encode() if isinstance(leaf, str) else np.asarray(leaf).tobytes())
    return result.hexdigest()
