"""Checkpoints: train state, data position and clock, written as one unit, completely or not at all.

checkpoints/STEP/                 the files of Orbax
checkpoints/STEP/metrics.jsonl    the lines that were logged up to the step
checkpoints/STEP/checksums.json   size and SHA-256 of those files, written when they are complete
damaged/STEP                      checkpoints that were moved here because they cannot be used
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from mmcl_jax.bucket.border import filled, is_own_copy
from mmcl_jax.errors import UserError
from mmcl_jax.files import damage, write_checksums, writing
from mmcl_jax.training.runs.logged import copy_log, size_of_log, steps_of
from mmcl_jax.training.runs.skips import Skipped
from mmcl_jax.training.state.control import best_step
from mmcl_jax.training.state.groups import merged, restricted
from mmcl_jax.training.state.train_state import Arrays, TrainState

_OPTIONAL = ("average", "control")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a training at one step, as a checkpoint holds it.

    Attributes:
      state: the train state.
      data: the state of the input iterator; {} before the first step.
      seconds: time trained so far.
      skipped: steps skipped so far.
    """

    state: TrainState
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    skipped: Skipped = dataclasses.field(default_factory=Skipped)


class UnreadableError(Exception):
    """A checkpoint without checksums that Orbax cannot read."""


def newest_intact(directory: Path, *, below: int | None = None) -> tuple[int | None, dict[int, str]]:
    """Return the newest step (under `below`) whose checkpoint is intact, and the faults of newer checkpoints, by step.

    The step is None if no checkpoint is intact. A checkpoint without checksums, of an old version, counts as intact.
    """
    damaged: dict[int, str] = {}
    for step in steps_of(directory):
        if below is None or step < below:
            filled(directory / str(step))
            fault = damage(directory / str(step), root=directory.parent)
            if fault is None:
                return step, damaged
            damaged[step] = fault
    return None, damaged


def set_aside(directory: Path, step: int) -> Path:
    """Move a checkpoint that cannot be used to `damaged/STEP`, beside `checkpoints`; return its new path."""
    return move_aside(directory / str(step), directory.parent)


def move_aside(path: Path, run: Path) -> Path:
    """Move a file or folder of a run to its folder `damaged`; return its new path."""
    folder = run / "damaged"
    folder.mkdir(exist_ok=True)
    name, number = path.name, 1
    while (folder / name).exists():
        number += 1
        name = f"{path.stem}-{number}{path.suffix}"
    return path.rename(folder / name)


class Checkpoints:
    """The checkpoints of one run, by step. Saving copies the arrays to the host and writes in the background.

    A training opens them with `keep`, the number of latest checkpoints to keep, and removes what a kill left
    unfinished. It also keeps the checkpoint of the lowest validation loss, and those of multiples of `every`. A reader
    leaves `keep` out, and does not disturb a training in progress.

    Processes that share the directory write their parts of a checkpoint side by side. If each has a copy of its own, of
    a run in a bucket, each writes the whole checkpoint there, and the copy of the first process is published.
    """

    def __init__(self, directory: Path, *, keep: int | None = None, every: int | None = None) -> None:
        policies = ocp.training.preservation_policies
        self._directory = directory
        self._best = _Best()
        preserved = [policies.LatestN(keep), self._best, *([policies.EveryNSteps(every)] if every else [])]
        self._apart = jax.process_count() > 1 and is_own_copy(directory)
        self._checkpointer = ocp.training.Checkpointer(
            directory.absolute(),
            context=_each() if self._apart else None,
            preservation_policy=policies.AnyPreservationPolicy(preserved),
            cleanup_tmp_directories=keep is not None,
        )
        self._background = ThreadPoolExecutor(1)
        self._saving: Future[None] | None = None

    def save(self, step: int, state: TrainState, *, data: dict[str, Any], seconds: float, skipped: Skipped) -> None:
        """Start to save; return when the buffers of the state may be reused.

        Raises:
          OSError: this checkpoint, or the checkpoint before it, could not be written.
        """
        self.wait()
        if state.control:
            self._best.step = best_step(state.control)
        if self._apart:
            state = _on_host(state)
        clock = {"seconds": seconds, **{f"skipped_{key}": n for key, n in dataclasses.asdict(skipped).items()}}
        with self._writing(step):
            response = self._checkpointer.save_checkpointables_async(
                step, {**_split(state), "data": data, "clock": clock}
            )
        logged = size_of_log(self._directory.parent)  # now: the training goes on to log
        self._saving = self._background.submit(self._complete, step, response, logged)

    def _complete(self, step: int, response: Any, logged: int) -> None:
        """Wait until a checkpoint is on disk, then add the log up to its step, and its checksums."""
        with self._writing(step):
            response.result()
            if jax.process_index() == 0:
                folder = self._directory / str(step)
                copy_log(self._directory.parent, folder, logged)
                write_checksums(folder, (path for path in folder.rglob("*") if path.is_file()))

    def restore(self, step: int, abstract: TrainState) -> Progress:
        """Read a checkpoint; its arrays have the shapes, dtypes and shardings of `abstract`.

        Raises:
          UnreadableError: Orbax cannot read the checkpoint.
        """
        content = self._load(step, {**_split(abstract), "data": None, "clock": None})
        clock = content["clock"]
        skipped = {field.name: int(clock.get(f"skipped_{field.name}", 0)) for field in dataclasses.fields(Skipped)}
        model, optimizer = content["model"], content["optimizer"]
        return Progress(
            state=TrainState(
                params=restricted(model["params"], abstract.params),
                frozen=restricted(model["params"], abstract.frozen),
                model_state=model["model_state"],
                queues=optimizer.pop("memory"),
                **optimizer,
                **{name: content[name] for name in _OPTIONAL if name in content},
            ),
            data=content["data"],
            seconds=float(clock["seconds"]),
            skipped=Skipped(**skipped),
        )

    def restore_model(
        self, step: int, params: Arrays, model_state: Arrays, *, averaged: Arrays | None = None
    ) -> tuple[Arrays, Arrays]:
        """Read only the parameters and the model state of a checkpoint, with the shardings of the abstract arguments.

        `averaged` are the (abstract) parameters that the run averages: their averages and the averaged model state are
        returned in place of the last values.

        Raises:
          UnreadableError: Orbax cannot read the checkpoint.
        """
        abstract = {"model": {"params": params, "model_state": model_state}}
        if averaged is None:
            model = self._load(step, abstract)["model"]
            return model["params"], model["model_state"]
        content = self._load(step, abstract | {"average": {"params": averaged, "model_state": model_state}})
        average = content["average"]
        return merged(content["model"]["params"], average["params"]), average["model_state"]

    def restore_best(self, step: int, control: Arrays) -> int:
        """Read the step of the lowest validation loss up to a checkpoint, -1 without a pass; `control` is abstract.

        Raises:
          UnreadableError: Orbax cannot read the checkpoint.
        """
        return int(self._load(step, {"control": control})["control"]["best"]["step"])

    def _load(self, step: int, abstract: dict[str, Any]) -> Any:
        filled(self._directory / str(step))
        try:
            return self._checkpointer.load_checkpointables(step, abstract)
        except Exception as error:  # Orbax, TensorStore and JSON raise errors of many kinds for a damaged file
            raise UnreadableError(_first_line(error)) from error

    def wait(self) -> None:
        """Wait until all checkpoints are on disk.

        Raises:
          OSError: the last checkpoint could not be written.
        """
        if self._saving is not None:
            saving, self._saving = self._saving, None
            saving.result()

    def close(self) -> None:
        """Wait until all checkpoints are on disk, and release the directory."""
        try:
            self.wait()
        finally:
            self._background.shutdown()
            self._checkpointer.close()

    @contextlib.contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        """Raise disk errors, which Orbax and TensorStore wrap in errors of their own, as `OSError`."""
        path = self._directory / str(step)
        try:
            with writing(path):
                yield
        except OSError:
            raise
        except Exception as error:
            raise UserError(f"The checkpoint {path} could not be written: {_first_line(error)}.") from error


def _on_host(state: TrainState) -> TrainState:
    """Return the state as whole arrays of NumPy; all processes call this, since each may hold a part."""

    def whole(array: jax.Array) -> np.ndarray:
        here = array.is_fully_replicated or array.is_fully_addressable
        return np.asarray(array if here else multihost_utils.process_allgather(array, tiled=True))

    return jax.tree.map(whole, state)


def _each() -> ocp.Context:
    """Return the settings of processes that each write a whole checkpoint, all at once, into folders of their own.

    Folders are made before the background writes into them. If the background makes them, Orbax announces them under a
    key that all processes share: a slow process then takes the folders of a fast process for its own, and fails.
    """
    context = ocp.Context()
    context.multiprocessing.primary_host = None
    context.asynchronous.create_directories_asynchronously = False
    return context


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


class _Best(ocp.training.preservation_policies.PreservationPolicy):
    """A policy that keeps the checkpoint of the lowest validation loss."""

    step: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """Return whether to keep each checkpoint."""
        del context
        return [checkpoint.step == self.step for checkpoint in checkpoints]


def _split(state: TrainState) -> dict[str, dict[str, Any]]:
    """Split a train state into the parts of a checkpoint, so that evaluation reads the model alone."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    fields["memory"] = fields.pop("queues")  # the name on disk since version 0.1
    params = merged(fields.pop("params"), fields.pop("frozen"))
    model = {"params": params, "model_state": fields.pop("model_state")}
    optional = {name: fields.pop(name) for name in _OPTIONAL}
    return {"model": model, "optimizer": fields, **{name: value for name, value in optional.items() if value}}
