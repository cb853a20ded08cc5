"""Steps that were skipped because a number in them was not finite: count, record and limit."""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, TypedDict

import jax
import numpy as np

from mmcl_jax.border import AtLeast, Open, read_lines, to_json
from mmcl_jax.border.checksum import Sums
from mmcl_jax.data.input import Batches
from mmcl_jax.errors import UserError
from mmcl_jax.files import write_text, writing
from mmcl_jax.training.processes import is_primary

SKIPPED_STEPS = "skipped.jsonl"
_REMEDY = "remove the line, or move the file away"
_LAG = 8  # steps after which a flag is read: by then it is on the host, and reading does not wait


class _Line(TypedDict):
    step: Annotated[int, AtLeast(1)]
    ids: list[int]
    keys: list[str]


@dataclasses.dataclass(frozen=True)
class Skipped:
    """The number of steps skipped so far, and the number skipped in a row up to the last step."""

    total: int = 0
    in_row: int = 0


def read_skipped(directory: Path) -> Iterator[_Line]:
    """Yield the lines of the record of the skipped steps of a run.

    Raises:
      UserError: the file is missing or damaged.
    """
    yield from read_lines(directory / SKIPPED_STEPS, Annotated[_Line, Open], _REMEDY)


class SkippedSteps:
    """The skipped steps of a training, with a record in `skipped.jsonl`: step, example ids and keys.

    The flag of a step is read some steps later. A step's number determines its batch, so that only the flag leaves the
    device. All processes read the same flags at the same steps; the first process writes.

    Args:
      directory: the run.
      batches: the batches of the training.
      keys: returns the keys of the training rows.
      limit: number of skipped steps in a row that ends the training (`config.skip_nonfinite`).
      start: step that the training starts from; records of later steps are removed, since those steps are repeated.
      before: the steps skipped up to `start`.
      log: prints a line.
    """

    def __init__(
        self,
        directory: Path,
        batches: Batches,
        keys: Callable[[], list[str]],
        *,
        limit: int,
        start: int,
        before: Skipped,
        log: Callable[[str], None],
    ) -> None:
        self._path, self._batches, self._keys = directory / SKIPPED_STEPS, batches, keys
        self._limit, self._writes, self._log = limit, is_primary(), log
        self._flags: deque[tuple[int, jax.Array]] = deque()
        self.count = before
        self._first, self._sums = True, Sums()
        if self._writes and self._path.exists():
            kept = (line for line in read_skipped(directory) if line["step"] <= start)
            write_text(self._path, "".join(map(self._line, kept)))

    def note(self, step: int, flag: jax.Array) -> None:
        """Take the flag of a step that was just dispatched, to read it later.

        Raises:
          UserError: too many steps in a row were skipped.
        """
        flag.copy_to_host_async()
        self._flags.append((step, flag))
        self.until(step - _LAG)

    def until(self, step: int) -> Skipped:
        """Read the flags up to this step, and return the steps skipped up to it.

        Raises:
          UserError: too many steps in a row were skipped.
        """
        while self._flags and self._flags[0][0] <= step:
            number, flag = self._flags.popleft()
            if not jax.device_get(flag):
                self.count = Skipped(self.count.total)
                continue
            self.count = Skipped(self.count.total + 1, self.count.in_row + 1)
            self._write(number)
            if self.count.in_row >= self._limit:
                raise UserError(
                    f"The loss, a gradient or an update was not finite in {self._limit} steps in a row, up to step "
                    f"{number}: look at their examples in {self._path}; to continue past them, give a larger "
                    f"--config.skip_nonfinite, or train anew in another --workdir with a lower "
                    f"--config.schedule.learning_rate. The latest checkpoint is finite."
                )
        return self.count

    def _write(self, step: int) -> None:
        if not self._writes:
            return
        if self._first:
            self._log(f"step {step} was skipped: a number in it was not finite; {self._path} lists such steps")
            self._first = False
        rows = self._batches.rows_of(step - 1)
        ids, keys = np.asarray(self._batches.arrays["id"])[rows], self._keys()
        line: _Line = {"step": step, "ids": ids.tolist(), "keys": [keys[row] for row in rows]}
        with writing(self._path), self._path.open("a") as file:
            file.write(self._line(line))

    def _line(self, line: _Line) -> str:
        return self._sums.seal(to_json(line)) + "\n"
