"""A run: the work directory of one experiment.

config.json      the resolved config
store.json       fingerprint, folder and request of the store that it is trained on
schema.json      the store's schema
statistics.json  the store's training statistics
declaration.json how to read the cells of the store's raw table
seen.npz         hashes of the rows that the run was trained on (see `seen`)
encoding.json    how to encode rows of the first table (with imputer.npz)
inputs/NAME/     how to encode rows of other tables, and the scale of vectors
like/            how later files are read: names of features, variants with their alleles, declarations, tokenizers
weights.json     the files of the initial weights, if the config names any
checksums.json   size and SHA-256 of the files above, with which the run can be used without the store
checkpoints/     the checkpoints by step; damaged/ has checkpoints that could not be used
metrics.jsonl    one line per logged step
skipped.jsonl    the steps that were skipped, with their examples
status.json      the length of the training, and how its last session ended
events/          the metrics for TensorBoard
sinks/           what other programs of `config.sinks` call the run
"""

import contextlib
import dataclasses
import functools
import shutil
import sys
from collections.abc import Mapping
from fnmatch import filter as fnmatch_filter
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import jax
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.border import Open, read_written, to_json
from mmcl_jax.bucket.border import filled, is_own_copy, local
from mmcl_jax.data.format.format3 import LATER, LIKE
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.encoders import Model
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import CHECKSUMS, atomic, damage, write_checksums, write_text
from mmcl_jax.lock import locked
from mmcl_jax.text import called
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.mesh import placed
from mmcl_jax.training.optim.schedules import SCHEDULES
from mmcl_jax.training.processes import broadcast_from_primary, is_primary
from mmcl_jax.training.runs.checkpoint import Checkpoints, UnreadableError, newest_intact
from mmcl_jax.training.runs.config_file import CONFIG, REMEDY, dumped, read_config, read_plain
from mmcl_jax.training.runs.finite import check_finite
from mmcl_jax.training.runs.length import check_length
from mmcl_jax.training.runs.logged import steps_of
from mmcl_jax.training.runs.plain import flattened, to_plain
from mmcl_jax.training.runs.renamed import is_old
from mmcl_jax.training.runs.resume import unusable_message
from mmcl_jax.training.runs.seen import Seen
from mmcl_jax.training.runs.shown import describe_run, loss_curves, run_html
from mmcl_jax.training.state.control import first_control
from mmcl_jax.training.state.groups import frozen_patterns, split_frozen
from mmcl_jax.training.state.initial_weights import WEIGHTS
from mmcl_jax.training.state.model import trained_model
from mmcl_jax.training.state.train_state import split_model

# Keys that may change when a run is continued: they affect neither the mathematics nor the data.
_FREE = (
    "data",
    "log_every",
    "own.*",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_every",
    "stop.patience",
    "stop.on",
    "skip_nonfinite",
    "sinks",
    "micro_batch",
    "mesh.*",
    "pairs.*",
    "loader.*",
    "monitor.*",
    "*.remat",
)


Checkpoint = int | Literal["latest", "best"]


class Origin(TypedDict):
    """What `store.json` of a run says of its store."""

    fingerprint: str
    directory: str
    request: NotRequired[dict[str, Any] | None]
    recipe: NotRequired[dict[str, Any] | None]


def read_origin(directory: Path) -> Origin:
    """Return what a run recorded of the store that it is trained on.

    Raises:
      UserError: the file is missing or damaged.
    """
    return read_written(directory / "store.json", Annotated[Origin, Open], REMEDY)


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """A run: the directory of an experiment and its content; `checkpoint` selects the model that is loaded."""

    directory: Path
    config: ConfigDict
    inputs: Inputs
    declaration: Declaration
    fingerprint: str
    checkpoint: Checkpoint = "latest"

    @property
    def schema(self) -> Schema:
        """The schema of the data, with the columns of the first table that the experiment uses."""
        return self.inputs.schema

    @property
    def encoding(self) -> Encoding:
        """The encoding of rows of the first table."""
        return self.inputs.encoding

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.directory / "checkpoints"

    def metrics(self) -> list[dict[str, float]]:
        """Return the logged steps: "step", "seconds" and every metric by name; NaN where a number was not finite."""
        return read_metrics(self.directory)

    def to_dict(self) -> dict[str, Any]:
        """Return what identifies the run, its encoders and the last logged metrics by name."""
        logged = self.metrics()
        return {
            "run": self.directory,
            "experiment": self.config.name,
            "seed": self.config.seed,
            "data": self.config.data,
            "encoders": {modality: spec.name for modality, spec in self.config.encoders.items()},
            "metrics": logged[-1] if logged else {},
        }

    def __deepcopy__(self, memo: dict[int, Any]) -> "Run":
        return self  # a run does not change, and configs with dotted keys cannot be copied

    def __repr__(self) -> str:
        return describe_run(self)

    def _repr_html_(self) -> str:
        return run_html(self)

    def _repr_png_(self) -> bytes | None:
        return loss_curves(self)

    @staticmethod
    def exists(directory: Path) -> bool:
        """Return whether the directory holds a run."""
        return (directory / CONFIG).is_file()

    @staticmethod
    def is_old(directory: Path) -> bool:
        """Return whether the config of the run has old names of keys."""
        return is_old(read_plain(directory))

    @classmethod
    def begin(
        cls,
        directory: Path,
        config: ConfigDict,
        store: Store,
        inputs: Inputs,
        *,
        lengthen: bool = False,
        weights: Mapping[str, Any] | None = None,
    ) -> "Run":
        """Make the directory, or open the run in it to continue it.

        With `lengthen`, a run whose steps do not depend on the number of epochs takes another number of epochs. A new
        run records `weights`, the files of its initial weights.

        Raises:
          UserError: the directory holds another experiment, this experiment on other data, or no run.
        """
        if not broadcast_from_primary(lambda: cls.exists(directory)):
            lock = locked(directory.with_name(f".{directory.name}.lock"), what=f"makes the run {directory}")
            broadcast_from_primary(lambda: cls._make(directory, config, store, inputs, weights or {}, lock))
            if is_own_copy(directory) and not is_primary():
                cls._make(directory, config, store, inputs, weights or {}, lock)
        run = cls.open(directory)
        if lengthen and run.config.epochs != config.epochs:
            check_length(directory, run.config, config, store)
            broadcast_from_primary(lambda: run._write_epochs(config.epochs))
            if is_own_copy(directory) and not is_primary():
                run._write_epochs(config.epochs)
            run = cls.open(directory)
        run._check_same(config)
        check(
            run.fingerprint == store.fingerprint,
            f"{directory} was begun on other data than {store.directory} now holds; choose another --workdir.",
        )
        return run

    def inputs_for(self, config: ConfigDict) -> Inputs:
        """Return the run's inputs for an experiment that continues it.

        Raises:
          UserError: the experiment has other inputs.
        """
        self._check_same(config, "inputs.*")
        return self.inputs

    def _check_same(self, config: ConfigDict, keys: str = "*") -> None:
        """Raise `UserError` naming the first of these keys whose value differs from that of the run."""
        old, new = flattened(to_plain(self.config)), flattened(to_plain(config))
        for key in sorted(fnmatch_filter(old.keys() | new.keys(), keys)):
            same = old.get(key) == new.get(key) or any(fnmatch(key, pattern) for pattern in _FREE)
            check(
                same,
                f"{self.directory} holds another experiment: config.{key} is {old.get(key)!r} there and "
                f"{new.get(key)!r} here; choose another --workdir.",
            )

    def _write_epochs(self, epochs: int) -> bool:
        """Write another number of epochs into `config.json`; a kill meanwhile leaves a run without checksums."""
        sums, plain = self.directory / CHECKSUMS, read_plain(self.directory)
        names: dict[str, Any] = read_written(sums, dict[str, Any], REMEDY) if sums.is_file() else {}
        sums.unlink(missing_ok=True)
        write_text(self.directory / CONFIG, to_json({**plain, "epochs": epochs}, indent=2) + "\n")
        if names:
            write_checksums(self.directory, (self.directory / name for name in names))
        return True

    @classmethod
    def _make(
        cls,
        directory: Path,
        config: ConfigDict,
        store: Store,
        inputs: Inputs,
        weights: Mapping[str, Any],
        lock: contextlib.AbstractContextManager[None],
    ) -> bool:
        """Make the directory unless it exists; return whether it was made."""
        with lock:
            return not cls.exists(directory) and cls._write(directory, config, store, inputs, weights)

    @classmethod
    def _write(
        cls, directory: Path, config: ConfigDict, store: Store, inputs: Inputs, weights: Mapping[str, Any]
    ) -> bool:
        empty = not directory.exists() or (directory.is_dir() and not any(directory.iterdir()))
        check(empty, f"{directory} is not empty and holds no run; choose another --workdir.")
        with atomic(directory) as partial:  # a kill leaves no part of a run
            partial.mkdir(parents=True)
            cls.write_description(partial, config, store, inputs)
            if weights:
                (partial / WEIGHTS).write_text(to_json(weights, indent=2) + "\n")
            write_checksums(partial, [path for path in partial.rglob("*") if path.is_file()])
        return True

    @staticmethod
    def write_description(directory: Path, config: ConfigDict, store: Store, inputs: Inputs) -> None:
        """Write the files that say what the run is and how it reads rows; equal arguments give equal files."""
        (directory / CONFIG).write_text(dumped(config))
        inputs.write(directory)
        (directory / "declaration.json").write_text(to_json(store.declaration.to_json()) + "\n")
        if later := [path for form in LATER for path in sorted(store.directory.glob(form))]:
            store.layout.files.check([path.name for path in later])
            (directory / LIKE).mkdir()
            for path in later:
                shutil.copyfile(path, directory / LIKE / path.name)
        Seen.of(store, fold=config.fold).write(directory)
        origin: Origin = {
            "fingerprint": store.fingerprint,
            "directory": called(store.directory.absolute()),  # the address of a store in a bucket
            "request": store.made_by["request"],  # how its pictures were resized, for mmcl prepare --like
        }
        if recipe := store.made_by.get("recipe"):
            origin["recipe"] = recipe  # which data set it is, and who may use what is trained on it
        (directory / "store.json").write_text(to_json(origin, indent=2) + "\n")

    @classmethod
    def open(cls, directory: Path | str) -> "Run":
        """Open a run; of a run in a bucket, a copy on this machine.

        Raises:
          UserError: the directory is not a run, or a file in it has changed since it was written; or its address cannot
            be read.
        """
        directory = local(directory)
        check(cls.exists(directory), f"{directory} is not a run (it has no config.json).")
        fault = damage(directory)
        check(
            fault is None,
            f"{fault}: put a copy of the file back, let mmcl check --repair {directory} try to make it again, or, if "
            f"the change is intended, remove {directory / CHECKSUMS}.",
        )
        config = read_config(directory)
        return cls(
            directory=directory,
            config=config,
            inputs=Inputs.read(directory, config.inputs, fold=config.fold),
            declaration=Declaration.read(directory / "declaration.json"),
            fingerprint=read_origin(directory)["fingerprint"],
        )

    def store(self) -> Store:
        """Open the store that the run was trained on.

        Raises:
          UserError: the store has moved, or now holds other data.
        """
        origin = local(read_origin(self.directory)["directory"])
        check(
            (origin / "store.json").is_file(),
            f"{self.directory} was trained on the store {origin}, which does not exist; if it has moved, give its new "
            "path as --store.",
        )
        store = Store.open(origin)
        check(
            store.fingerprint == self.fingerprint,
            f"The store {store.directory} has changed since {self.directory} was trained on it; if the original has "
            "moved, give its new path as --store.",
        )
        return store

    def at(self, checkpoint: Checkpoint) -> "Run":
        """Return the run with another checkpoint: "latest", a step, or "best" (the lowest validation loss)."""
        return dataclasses.replace(self, checkpoint=checkpoint)

    @functools.cached_property
    def _step(self) -> int:
        """The step that `model` loads."""
        if self.checkpoint == "latest":
            return self.latest_step()
        step = self._best() if self.checkpoint == "best" else self.checkpoint
        steps = steps_of(self.checkpoints)
        listed = ", ".join(map(str, sorted(steps))) or "none"
        check(step in steps, f"{self.directory} has no checkpoint of step {step}; it has those of {listed}.")
        filled(self.checkpoints / str(step))
        fault = damage(self.checkpoints / str(step), root=self.directory)
        check(fault is None, f"The checkpoint of step {step} of {self.directory} cannot be used: {fault}.")
        return step

    def _best(self) -> int:
        """Return the step of the lowest validation loss."""
        check(
            self.config.validation.epochs is not None,
            f"{self.directory} was trained without validation (config.validation.epochs), so it has no best "
            f"checkpoint; evaluate the latest checkpoint.",
        )
        schedule = SCHEDULES.build(
            self.config.schedule, "config.schedule", epochs=self.config.epochs, steps_per_epoch=1
        )
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        control = placed(jax.eval_shape(lambda: first_control(schedule.plateau)), device)
        with contextlib.closing(Checkpoints(self.checkpoints)) as checkpoints:
            step = checkpoints.restore_best(self.latest_step(), control)
        check(step >= 0, f"{self.directory} has not been validated yet; evaluate the latest checkpoint.")
        return step

    @functools.cached_property
    def _newest_step(self) -> int:
        """The newest step whose checkpoint is intact; prints on standard error which newer checkpoints are not."""
        step, faults = newest_intact(self.checkpoints)
        if step is None:
            check(bool(faults), f"{self.directory} has no checkpoint; train it with mmcl pretrain.")
            raise UserError(unusable_message(self.directory, faults))
        for number, reason in faults.items():
            print(
                f"The checkpoint of step {number} cannot be used: {reason}; the checkpoint of step {step} is used.",
                file=sys.stderr,
            )
        return step

    def latest_step(self) -> int:
        """Return the step of the newest checkpoint that is intact.

        Raises:
          UserError: the run has no checkpoint that is intact.
        """
        return self._newest_step

    def step(self) -> int:
        """Return the step of the checkpoint that `model` loads.

        Raises:
          UserError: the run has no checkpoint that can be used.
        """
        return self._step

    def untrained_model(self) -> Model:
        """Return the model with its initial parameters."""
        return trained_model(
            self.config, self.schema, self.inputs.specs, rngs=nnx.Rngs(jax.random.key(self.config.seed))
        )

    def model(self, *, average: bool = True) -> Model:
        """Return the model of the selected checkpoint, by default the newest that is intact.

        If the run averages its weights, the model has the averages, or with `average=False` the last weights.

        Raises:
          UserError: the run has no checkpoint that can be used, or its weights are not finite.
        """
        abstract = nnx.eval_shape(lambda: trained_model(self.config, self.schema, self.inputs.specs, rngs=nnx.Rngs(0)))
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        params, model_state = placed(split_model(abstract), device)
        frozen = frozen_patterns(self.config.frozen, abstract)
        averaged = split_frozen(params, frozen)[0] if average and self.config.average.kind else None
        with contextlib.closing(Checkpoints(self.checkpoints)) as checkpoints:
            try:
                arrays = checkpoints.restore_model(self._step, params, model_state, averaged=averaged)
            except UnreadableError as error:
                raise UserError(
                    unusable_message(self.directory, {self._step: f"it cannot be read ({error})"})
                ) from error
        check_finite(arrays, f"the checkpoint {self.checkpoints / str(self._step)}")
        return nnx.merge(nnx.graphdef(abstract), *arrays)
