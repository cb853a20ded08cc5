"""Folders that the program wrote: a store and a run, with damages in one of their files.

A store that opens has the content of the undamaged store.
"""

import functools
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from mmcl_jax.api.commands.prepare import prepare
from mmcl_jax.data.store import Store
from mmcl_jax.report.health import checks
from mmcl_jax.training.runs.run import Run
from tests.fuzz.case import Kind, Wrong
from tests.fuzz.values import damaged, damages

_OLD = Path(__file__).parent.parent / "legacy" / "v0.1.0.tar.gz"


@functools.cache
def base(name: str) -> Path:
    """Return a folder with a whole store or run, made once in a process."""
    folder = Path(tempfile.mkdtemp(prefix="mmcl_jax_fuzz_"))
    if name == "store":
        rows = 24
        table = pl.DataFrame({"price": range(rows), "gearbox": ["m", "a", None] * 8, "model": ["x", "y"] * 12})
        images = np.random.default_rng(0).integers(0, 256, (rows, 4, 4, 3), np.uint8)
        prepare(table, images, label="model", out=folder / "store", folds=3)
    else:
        with tarfile.open(_OLD) as archive:
            archive.extractall(folder, filter="data")
    return folder / name


def forget() -> None:
    """Remove the folders of `base`."""
    for name in ("store", "run"):
        shutil.rmtree(base(name).parent, ignore_errors=True)
    base.cache_clear()
    _whole.cache_clear()


@functools.cache
def _files(name: str) -> tuple[str, ...]:
    return tuple(sorted(str(p.relative_to(base(name))) for p in base(name).rglob("*") if p.is_file()))


def _cases(name: str) -> st.SearchStrategy[Any]:
    # Settings and lists are read in more ways than arrays, so they are drawn as often.
    files = st.deferred(
        lambda: st.sampled_from([f for f in _files(name) if f.endswith(("json", "jsonl"))] * 2 + list(_files(name)))
    )
    return st.fixed_dictionaries({"file": files, "damage": damages, "gone": st.sampled_from([False] * 9 + [True])})


def _write(name: str, case: dict[str, Any], folder: Path) -> None:
    shutil.copytree(base(name), folder / name)
    path = folder / name / case["file"]
    path.write_bytes(damaged(path.read_bytes(), case["damage"]))
    if case["gone"]:
        path.unlink()


def _content(directory: Path) -> dict[str, Any]:
    """Return everything that training reads of a store."""
    store = Store.open(directory)
    content: dict[str, Any] = {"schema": store.schema, "sizes": store.sizes, "statistics": store.statistics}
    for split in store.sizes:
        content[f"keys/{split}"] = store.keys(split)
        for name, array in {**store.rows(split), **store.labels(split)}.items():
            content[f"{split}/{name}"] = np.asarray(array).tobytes()
    return content


@functools.cache
def _whole() -> dict[str, Any]:
    return _content(base("store"))


def _open_store(case: dict[str, Any], inputs: Path, out: Path) -> None:
    content, whole = _content(inputs / "store"), _whole()
    other = [name for name in whole if content.get(name) != whole[name]]
    if other:
        raise Wrong(f"a damage to {case['file']} gives other {', '.join(other)} without a word")


def _open_run(case: dict[str, Any], inputs: Path, out: Path) -> None:
    run = Run.open(inputs / "run")
    repr(run)
    checks(run.directory, run.metrics())
    run.to_dict()
    if run.config.seed != Run.open(base("run")).config.seed:
        raise Wrong("a damage to the config gives another seed without a word")


STORES = Kind("stores", _cases("store"), functools.partial(_write, "store"), _open_store, mends=True)
RUNS = Kind("runs", _cases("run"), functools.partial(_write, "run"), _open_run, mends=True)
