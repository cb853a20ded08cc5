"""The steps that were skipped because a number in them was not finite: counted, written down, and limited."""

import dataclasses
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from mmcl_jax.data.input import Batches
from mmcl_jax.errors import UserError
from mmcl_jax.files import write_text, writing

SKIPPED_STEPS = "skipped.jsonl"
_LAG = 8  # steps after which a flag is read: it is on the host by then, and nobody waits


@dataclasses.dataclass(frozen=True)
class Skipped:
    """How many steps were skipped so far, and how many of them are the last ones in a row."""

    total: int = 0
    in_row: int = 0


class SkippedSteps:
    """Reads the flag of every step, some steps later, and writes `skipped.jsonl`: step, example ids and keys.

    The batch of a step is found again by its number, so only the flag leaves the device. All processes read the same
    flags at the same steps; the first one writes.

    Args:
      directory: of the run.
      batches: of the training.
      keys: of the training rows.
      most: skipped steps in a row that end the run (`config.skip_nonfinite`).
      start: step to go on from; what was written down of later steps is dropped, since they are done again.
      before: what was skipped until then.
      writes: whether this process writes.
      log: prints a line.
    """

    def __init__(
        self,
        directory: Path,
        batches: Batches,
        keys: Callable[[], list[str]],
        *,
        most: int,
        start: int,
        before: Skipped,
        writes: bool,
        log: Callable[[str], None],
    ) -> None:
        self._path, self._batches, self._keys = directory / SKIPPED_STEPS, batches, keys
        self._most, self._writes, self._log = most, writes, log
        self._flags: deque[tuple[int, jax.Array]] = deque()
        self.count = before
        self._first = True
        if writes and self._path.is_file():
            lines = self._path.read_text().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]
            write_text(self._path, "".join(line for line in whole if json.loads(line)["step"] <= start))

    def note(self, step: int, flag: jax.Array) -> None:
        """Keep the flag of a step that was just dispatched.

        Raises:
          UserError: too many steps in a row were skipped.
        """
        flag.copy_to_host_async()
        self._flags.append((step, flag))
        self.until(step - _LAG)

    def until(self, step: int) -> Skipped:
        """Read the flags up to this step, and return what was skipped until then.

        Raises:
          UserError: too many steps in a row were skipped.
        """
        while self._flags and self._flags[0][0] <= step:
            at, flag = self._flags.popleft()
            if not jax.device_get(flag):
                self.count = Skipped(self.count.total)
                continue
            self.count = Skipped(self.count.total + 1, self.count.in_row + 1)
            self._write(at)
            if self.count.in_row >= self._most:
                raise UserError(
                    f"The loss, a gradient or an update was not finite in {self._most} steps in a row, up to step "
                    f"{at}: look at their examples in {self._path}; to go on past them give a larger "
                    f"--config.skip_nonfinite, or begin anew in another --workdir with a lower "
                    f"--config.schedule.learning_rate. The latest checkpoint is finite."
                )
        return self.count

    def _write(self, step: int) -> None:
        if not self._writes:
            return
        if self._first:
            self._log(f"step {step} was skipped: a number in it was not finite; such steps are listed in {self._path}")
            self._first = False
        rows = self._batches.rows_of(step - 1)
        ids, keys = np.asarray(self._batches.arrays["id"])[rows], self._keys()
        line = {"step": step, "ids": ids.tolist(), "keys": [keys[row] for row in rows]}
        with writing(self._path), self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
