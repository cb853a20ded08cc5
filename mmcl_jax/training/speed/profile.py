"""A profile of some steps: a trace that XProf, TensorBoard and Perfetto open."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from mmcl_jax.errors import UserError, check
from mmcl_jax.text import visible

FOLDER = "profile"
_WARMUP = 2  # steps of a session before a number of steps is profiled

Steps = tuple[int, int] | int


def parse_steps(text: str) -> Steps:
    """Return the steps that `--profile` names: "10:13" is steps 10 to 13, "4" is four steps of this session.

    Raises:
      UserError: the text is neither.

    Example:
      >>> parse_steps("10:13"), parse_steps("4")
      ((10, 13), 4)
    """
    first, colon, last = text.partition(":")
    numbers = [first, last] if colon else [first]
    check(
        all(part.isascii() and part.isdigit() and int(part) > 0 for part in numbers) and int(numbers[-1]) >= int(first),
        f"--profile: {text!r} is not the first and the last step, such as 10:13, or a number of steps, such as 4.",
    )
    return (int(first), int(last)) if colon else int(first)


class Profile:
    """The recording of some steps of one session into `profile/` of the run.

    A recording never replaces an earlier one: each has a folder named by its time, as XProf expects.
    """

    def __init__(
        self, steps: Steps | None, directory: Path, *, start: int, total: int, writes: bool, log: Callable[[str], None]
    ) -> None:
        """Take the steps (None for no recording), the run, and the steps that are done and there in all."""
        self._directory, self._writes, self._log = directory, writes, log
        self._first, self._last = 0, 0
        self._folder: str | None = None
        if steps is None or not writes:
            return
        self._first, self._last = (start + _WARMUP + 1, start + _WARMUP + steps) if isinstance(steps, int) else steps
        self._last = min(self._last, total)
        if self._first > total:
            log(f"--profile: nothing is recorded, since only {total - start} steps are left.")
        elif self._last <= start:
            log(f"--profile: nothing is recorded, since step {self._last} is done already.")
        self._first = max(self._first, start + 1)

    def before(self, step: int) -> None:
        """Begin to record, if `step`, which is about to be dispatched, is the first."""
        if step == self._first <= self._last:
            self._folder = tempfile.mkdtemp(prefix="mmcl-profile-")
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # the calls of Python take long to note, and hide the rest
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True, profiler_options=options)

    def step(self, step: int) -> contextlib.AbstractContextManager[Any]:
        """Return the annotation of a step that is recorded, else a context manager that does nothing."""
        if self._folder is None:
            return contextlib.nullcontext()
        return jax.profiler.StepTraceAnnotation("step", step_num=step)

    def after(self, step: int, result: Any) -> None:
        """End the recording, if `step`, whose `result` may not be computed yet, is the last."""
        if self._folder is not None and step == self._last:
            jax.block_until_ready(result)
            self._end(f"steps {self._first} to {step}" if step > self._first else f"step {step}")

    def close(self) -> None:
        """End a recording whose last step was not reached."""
        if self._folder is not None:
            self._end(f"the steps from {self._first} on")

    def _end(self, what: str) -> None:
        assert self._folder is not None
        folder, self._folder = Path(self._folder), None
        try:
            jax.profiler.stop_trace()
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                target = self._directory / FOLDER / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
        except OSError as error:
            raise UserError(f"--profile: the profile cannot be written: {error}.") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        shown = visible(self._directory / FOLDER)
        self._log(
            f"profile of {what}: {shown}; open it with xprof --logdir {shown}, or perfetto_trace.json.gz in Perfetto"
        )


def check_within(steps: Steps | None, total: int) -> None:
    """Check that the steps to profile are steps of a training of `total` steps.

    Raises:
      UserError: they are not.
    """
    if steps is not None:
        first, last = (1 + _WARMUP, steps + _WARMUP) if isinstance(steps, int) else steps
        named = f"{steps} after the first {_WARMUP}" if isinstance(steps, int) else f"{first}:{last}"
        check(last <= total, f"--profile: {named} is more than the training has, {total} steps; name earlier steps.")
