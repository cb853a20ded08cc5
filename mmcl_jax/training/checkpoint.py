"""Checkpoints: train state, data position and clock, as one unit that is there whole or not at all.

checkpoints/STEP/                 what Orbax writes
checkpoints/STEP/checksums.json   size and SHA-256 of all those files, written when they are complete
damaged/STEP                      checkpoints that were set aside because they cannot be used
"""

import contextlib
import dataclasses
import errno
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from mmcl_jax.errors import UserError
from mmcl_jax.files import damage, write_checksums
from mmcl_jax.training.skips import Skipped
from mmcl_jax.training.state import Arrays, TrainState

_MODEL = ("params", "model_state")


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
    """

    def __init__(self, directory: Path, *, keep: int | None = None) -> None:
        policies = ocp.training.preservation_policies
        self._directory = directory
        self._checkpointer = ocp.training.Checkpointer(
            directory.absolute(), preservation_policy=policies.LatestN(keep), cleanup_tmp_directories=keep is not None
        )
        self._background = ThreadPoolExecutor(1)
        self._saving: Future[None] | None = None

    def save(self, step: int, state: TrainState, *, data: dict[str, Any], seconds: float, skipped: Skipped) -> None:
        """Start to save; return when the state's buffers may be reused.

        Raises:
          OSError: this checkpoint, or the one before, could not be written.
        """
        self.wait()
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
        return Restored(
            state=TrainState(**content["model"], **content["optimizer"]),
            data=content["data"],
            seconds=float(clock["seconds"]),
            skipped=Skipped(**skipped),
        )

    def restore_model(self, step: int, params: Arrays, model_state: Arrays) -> tuple[Arrays, Arrays]:
        """Return only parameters and model state of a checkpoint, placed as the abstract arguments say.

        Raises:
          UnreadableError: Orbax cannot read it.
        """
        model = self._load(step, {"model": {"params": params, "model_state": model_state}})["model"]
        return model["params"], model["model_state"]

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


def _split(state: TrainState) -> dict[str, dict[str, Any]]:
    """The model apart from the rest, so that evaluation reads only that."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {"model": {name: fields.pop(name) for name in _MODEL}, "optimizer": fields}
