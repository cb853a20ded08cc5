"""A run: the work directory of one experiment.

config.json      the resolved config
store.json       fingerprint and place of the store it is trained on
schema.json      the store's schema,
statistics.json  its training statistics,
declaration.json how cells of its raw table are read, and
seen.npz         which rows it has seen (see `seen`), and
encoding.json    how rows are encoded (with imputer.npz): with these a run can be used without the store
checkpoints/     by step
metrics.jsonl    one line per logged step
events/          the same for TensorBoard
"""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jax
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.data.declaration import Declaration
from mmcl_jax.data.encoding import Encoding
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.errors import UserError, check
from mmcl_jax.training.checkpoint import Checkpoints
from mmcl_jax.training.finite import check_finite
from mmcl_jax.training.mesh import placed
from mmcl_jax.training.model import trained_model
from mmcl_jax.training.plain import from_plain, to_plain
from mmcl_jax.training.processes import by_first
from mmcl_jax.training.seen import Seen
from mmcl_jax.training.state import split_model

# Keys that may differ when a run is continued: they change neither the mathematics nor the data.
_FREE = (
    "data",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "micro_batch",
    "mesh.*",
    "pairs.*",
    "input.*",
    "monitor.*",
    "*.remat",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """An experiment's directory and what it was made with."""

    directory: Path
    config: ConfigDict
    encoding: Encoding
    declaration: Declaration
    fingerprint: str

    @property
    def schema(self) -> Schema:
        """The schema of the data."""
        return self.encoding.schema

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.directory / "checkpoints"

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether the directory holds a run."""
        return (directory / "config.json").is_file()

    @classmethod
    def begin(cls, directory: Path, config: ConfigDict, store: Store, encoding: Encoding) -> "Run":
        """Makes the directory, or continues the one that is there.

        Raises:
          UserError: the directory holds another experiment, the same one on other data, or something else.
        """
        by_first(lambda: cls._make(directory, config, store, encoding))
        run = cls.open(directory)
        there, here = _flat(to_plain(run.config)), _flat(to_plain(config))
        for key in sorted(there.keys() | here.keys()):
            same = there.get(key) == here.get(key) or any(fnmatch(key, pattern) for pattern in _FREE)
            check(
                same,
                f"{directory} holds another experiment: config.{key} is {there.get(key)!r} there and "
                f"{here.get(key)!r} here; choose another --workdir.",
            )
        check(
            run.fingerprint == store.fingerprint,
            f"{directory} was begun on other data than {store.directory} holds now; choose another --workdir.",
        )
        return run

    @classmethod
    def _make(cls, directory: Path, config: ConfigDict, store: Store, encoding: Encoding) -> bool:
        """Makes the directory unless it is there; whether it did."""
        if cls.exists(directory):
            return False
        empty = not directory.exists() or (directory.is_dir() and not any(directory.iterdir()))
        check(empty, f"{directory} is not empty and holds no run; choose another --workdir.")
        # Made elsewhere and moved into place, so that a kill leaves nothing that looks like something else.
        partial = directory.with_name(f".{directory.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / "config.json").write_text(json.dumps(to_plain(config), indent=2) + "\n")
        encoding.write(partial)
        (partial / "declaration.json").write_text(json.dumps(store.declaration.to_json()) + "\n")
        Seen.of(store).write(partial)
        origin = {"fingerprint": store.fingerprint, "directory": str(store.directory.absolute())}
        (partial / "store.json").write_text(json.dumps(origin, indent=2) + "\n")
        partial.rename(directory)
        return True

    @classmethod
    def open(cls, directory: Path) -> "Run":
        """Opens a run.

        Raises:
          UserError: the directory is not a run.
        """
        check(cls.exists(directory), f"{directory} is not a run (it has no config.json).")
        return cls(
            directory=directory,
            config=from_plain(json.loads((directory / "config.json").read_text())),
            encoding=Encoding.read(directory),
            declaration=Declaration.read(directory / "declaration.json"),
            fingerprint=json.loads((directory / "store.json").read_text())["fingerprint"],
        )

    def store(self) -> Store:
        """The store the run was trained on.

        Raises:
          UserError: it has moved, or holds other data now.
        """
        origin = Path(json.loads((self.directory / "store.json").read_text())["directory"])
        check(
            (origin / "store.json").is_file(),
            f"{self.directory} was trained on the store {origin}, which is not there; if it has moved, say where it is "
            "with --store.",
        )
        store = Store.open(origin)
        check(
            store.fingerprint == self.fingerprint,
            f"The store {store.directory} has changed since {self.directory} was trained on it; if that has moved, say "
            "where it is with --store.",
        )
        return store

    @contextlib.contextmanager
    def _reading(self) -> Iterator[tuple[Checkpoints, int]]:
        """The checkpoints, to read, and the latest step. Raises `UserError` if there is none."""
        missing = f"{self.directory} has no checkpoint; train it with mmcl pretrain."
        check(self.checkpoints.is_dir(), missing)
        with contextlib.closing(Checkpoints(self.checkpoints)) as checkpoints:
            if checkpoints.latest is None:
                raise UserError(missing)
            yield checkpoints, checkpoints.latest

    def latest_step(self) -> int:
        """The step of the latest checkpoint.

        Raises:
          UserError: there is none.
        """
        with self._reading() as (_, step):
            return step

    def untrained_model(self) -> Model:
        """The model with its initial parameters."""
        return trained_model(self.config, self.schema, rngs=nnx.Rngs(jax.random.key(self.config.seed)))

    def model(self) -> Model:
        """The model with the parameters of the latest checkpoint.

        Raises:
          UserError: the run has no checkpoint, or its weights are not finite.
        """
        abstract = nnx.eval_shape(lambda: trained_model(self.config, self.schema, rngs=nnx.Rngs(0)))
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        with self._reading() as (checkpoints, step):
            arrays = checkpoints.restore_model(*placed(split_model(abstract), device))
        check_finite(arrays, f"the checkpoint {self.checkpoints / str(step)}")
        return nnx.merge(nnx.graphdef(abstract), *arrays)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts and lists as one dict with dotted keys."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = {str(index): item for index, item in enumerate(value)}.items()
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in items:
        flat.update(_flat(item, f"{prefix}.{key}" if prefix else key))
    return flat
