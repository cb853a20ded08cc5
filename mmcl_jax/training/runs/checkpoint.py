"""Checkpoints: train state, data position and clock, as one unit that is there whole or not at all.

checkpoints/STEP/                 what Orbax writes
checkpoints/STEP/checksums.json   size and SHA-256 of all those files, written when they are complete
damaged/STEP                      checkpoints that were set aside because they cannot be used
"""

import contextlib
import dataclasses
import errno
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from mmcl_jax.errors import UserError
from mmcl_jax.files import damage, write_checksums
from mmcl_jax.training.runs.skips import Skipped
from mmcl_jax.training.state.control import best_step
from mmcl_jax.training.state.groups import picked, united
from mmcl_jax.training.state.train_state import Arrays, TrainState

_OPTIONAL = ("average", "control")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restored:
    """What a checkpoint holds.

    `data` is the input iterator's state, `seconds` the time trained so far, `skipped` the steps skipped so far.
    """

    state: TrainState
    data: dict[str, Any]
    seconds: float
    skipped: Skipped


class UnreadableError(Exception):
    """A checkpoint without checksums that Orbax cannot read."""


def newest_intact(directory: Path, *, below: int | None = None) -> tuple[int | None, dict[int, str]]:
    """Return the newest step (under `below`) whose files are what was written, and what is wrong with newer ones.

    None if there is none. Checkpoints of versions that wrote no checksums are taken for intact.
    """
    damaged: dict[int, str] = {}
    for step in steps_of(directory):
        if below is None or step < below:
            found = damage(directory / str(step))
            if found is None:
                return step, damaged
            damaged[step] = found
    return None, damaged


def steps_of(directory: Path) -> list[int]:
    """Return the steps that have a checkpoint, intact or not; the newest first."""
    if not directory.is_dir():
        return []
    return sorted((int(path.name) for path in directory.iterdir() if path.name.isdigit()), reverse=True)


def set_aside(directory: Path, step: int) -> Path:
    """Move a checkpoint that cannot be used to `damaged/STEP` beside the folder of checkpoints; return where it is."""
    folder = directory.parent / "damaged"
    folder.mkdir(exist_ok=True)
    name, number = str(step), 1
    while (folder / name).exists():
        number += 1
        name = f"{step}-{number}"
    return (directory / str(step)).rename(folder / name)


class Checkpoints:
    """The checkpoints of one run, by step. Saving copies the arrays to the host and writes in the background.

    The training opens them with the number to `keep`, and clears away what a kill left unfinished. Whoever only reads
    leaves `keep` out, and disturbs no training that is going on.

    Beside the latest, the checkpoint of the lowest validation loss is kept, and those of steps that are multiples of
    `every`.
    """

    def __init__(self, directory: Path, *, keep: int | None = None, every: int | None = None) -> None:
        policies = ocp.training.preservation_policies
        self._directory = directory
        self._best = _Best()
        kept = [policies.LatestN(keep), self._best, *([policies.EveryNSteps(every)] if every else [])]
        self._checkpointer = ocp.training.Checkpointer(
            directory.absolute(),
            preservation_policy=policies.AnyPreservationPolicy(kept),
            cleanup_tmp_directories=keep is not None,
        )
        self._background = ThreadPoolExecutor(1)
        self._saving: Future[None] | None = None

    def save(self, step: int, state: TrainState, *, data: dict[str, Any], seconds: float, skipped: Skipped) -> None:
        """Start to save; return when the state's buffers may be reused.

        Raises:
          OSError: this checkpoint, or the one before, could not be written.
        """
        self.wait()
        if state.control:
            self._best.step = best_step(state.control)
        clock = {"seconds": seconds, **{f"skipped_{key}": n for key, n in dataclasses.asdict(skipped).items()}}
        with self._writing(step):
            response = self._checkpointer.save_checkpointables_async(
                step, {**_split(state), "data": data, "clock": clock}
            )
        self._saving = self._background.submit(self._complete, step, response)

    def _complete(self, step: int, response: Any) -> None:
        """Wait until a checkpoint is on disk, and add its checksums."""
        with self._writing(step):
            response.result()
            if jax.process_index() == 0:
                folder = self._directory / str(step)
                write_checksums(folder, (path for path in folder.rglob("*") if path.is_file()))

    def restore(self, step: int, abstract: TrainState) -> Restored:
        """Return a checkpoint, its arrays placed as `abstract` says (shapes, dtypes and shardings).

        Raises:
          UnreadableError: Orbax cannot read it.
        """
        content = self._load(step, {**_split(abstract), "data": None, "clock": None})
        clock = content["clock"]
        skipped = {field.name: int(clock.get(f"skipped_{field.name}", 0)) for field in dataclasses.fields(Skipped)}
        model, optimizer = content["model"], content["optimizer"]
        return Restored(
            state=TrainState(
                params=picked(model["params"], abstract.params),
                frozen=picked(model["params"], abstract.frozen),
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
        """Return only parameters and model state of a checkpoint, placed as the abstract arguments say.

        Given the parameters that the run has averages of, these are returned in their place, with the averaged state.

        Raises:
          UnreadableError: Orbax cannot read it.
        """
        wanted = {"model": {"params": params, "model_state": model_state}}
        if averaged is None:
            model = self._load(step, wanted)["model"]
            return model["params"], model["model_state"]
        content = self._load(step, wanted | {"average": {"params": averaged, "model_state": model_state}})
        average = content["average"]
        return united(content["model"]["params"], average["params"]), average["model_state"]

    def restore_best(self, step: int, control: Arrays) -> int:
        """Return the step of the lowest validation loss until a checkpoint, -1 for none; `control` is abstract.

        Raises:
          UnreadableError: Orbax cannot read it.
        """
        return int(self._load(step, {"control": control})["control"]["best"]["step"])

    def _load(self, step: int, wanted: dict[str, Any]) -> Any:
        try:
            return self._checkpointer.load_checkpointables(step, wanted)
        except Exception as error:  # Orbax, TensorStore and JSON raise many kinds for a file that is not as it was
            raise UnreadableError(_first_line(error)) from error

    def wait(self) -> None:
        """Wait until everything is on disk.

        Raises:
          OSError: the last checkpoint could not be written.
        """
        if self._saving is not None:
            saving, self._saving = self._saving, None
            saving.result()

    def close(self) -> None:
        """Wait, and let go of the directory."""
        try:
            self.wait()
        finally:
            self._background.shutdown()
            self._checkpointer.close()

    @contextlib.contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        """Give an error of the disk, which Orbax and TensorStore wrap in errors of their own, as what it is."""
        try:
            yield
        except Exception as error:
            path = str(self._directory / str(step))
            for code, words in _DISK.items():
                if any(word in str(one) for one in _chain(error) for word in words):
                    raise OSError(code, words[0], path) from error
            if isinstance(error, OSError):
                raise
            raise UserError(f"The checkpoint {path} could not be written: {_first_line(error)}.") from error


_DISK = {
    errno.ENOSPC: ("No space left on device", "RESOURCE_EXHAUSTED"),
    errno.EDQUOT: ("Disk quota exceeded",),
    errno.EFBIG: ("File too large",),
    errno.EROFS: ("Read-only file system",),
    errno.EACCES: ("Permission denied", "PERMISSION_DENIED"),
    errno.EIO: ("Input/output error",),
}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


class _Best(ocp.training.preservation_policies.PreservationPolicy):
    """Keeps the checkpoint of the step with the lowest validation loss."""

    step: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """Return for each checkpoint whether it is kept."""
        del context
        return [checkpoint.step == self.step for checkpoint in checkpoints]


def _split(state: TrainState) -> dict[str, dict[str, Any]]:
    """Split the model from the rest, so that evaluation reads only the model. Leave out what a run does not use."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    fields["memory"] = fields.pop("queues")  # the name on disk since version 0.1
    params = united(fields.pop("params"), fields.pop("frozen"))
    model = {"params": params, "model_state": fields.pop("model_state")}
    apart = {name: fields.pop(name) for name in _OPTIONAL}
    return {"model": model, "optimizer": fields, **{name: value for name, value in apart.items() if value}}
