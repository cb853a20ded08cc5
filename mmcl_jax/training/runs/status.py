"""The status of a run in `status.json`: how long the training is, and how its last session ended.

{"state": "training", "stopped", "finished" or "failed", "step": ..., "steps": ..., "steps_per_epoch": ...,
 "error": the sentence of a failure, "sha256": the checksum of all this}

The file is written when a session begins and when it ends. A session that is killed leaves "training", and the lock of
a dead process. Nothing in a training depends on this file.
"""

import contextlib
import time
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Required, Self, TypedDict

from mmcl_jax.border import AtLeast, Open, read_summed, to_json
from mmcl_jax.border.checksum import with_checksum
from mmcl_jax.files import write_text

FILE = "status.json"
_Count = Annotated[int, AtLeast(0)]


class Status(TypedDict, total=False):
    """The content of `status.json`; `time` is in seconds since 1970."""

    state: Required[Literal["training", "stopped", "finished", "failed"]]
    step: Required[_Count]
    steps: Required[_Count]
    steps_per_epoch: _Count
    time: float
    error: str


def read_status(directory: Path) -> Status | None:
    """Return the status of a run; None if an earlier version trained it, which recorded none.

    Raises:
      UserError: the file is damaged.
    """
    path = directory / FILE
    if not path.exists():
        return None
    return read_summed(path, Annotated[Status, Open], "remove it, since nothing but the list of runs depends on it")


class RunStatus:
    """The record of one session of a training, used as a context manager around it.

    Attributes:
      step: the number of steps done, which the training sets.
      finished: whether the training is complete, which the training sets.
    """

    def __init__(self, directory: Path, *, steps: int, steps_per_epoch: int, writes: bool) -> None:
        """Take the folder of the run and the length of the training; only one of several processes `writes`."""
        self._path, self._writes = directory / FILE, writes
        self._length = {"steps": steps, "steps_per_epoch": steps_per_epoch}
        self.step, self.finished = 0, False

    def __enter__(self) -> Self:
        self._write("training")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            self._write("finished" if self.finished and error is None else "stopped")
        else:
            self._write("failed", error=str(error) or type(error).__name__)

    def _write(self, state: str, **more: Any) -> None:
        content = {"state": state, "step": self.step, **self._length, "time": round(time.time()), **more}
        # The file only informs; a full disk is reported by the files that the training needs.
        with contextlib.suppress(OSError):
            if self._writes:
                write_text(self._path, to_json(with_checksum(content)) + "\n")
