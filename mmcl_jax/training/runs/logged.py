"""The lines of `metrics.jsonl`, and their copy in each checkpoint.

metrics.jsonl                    one line per logged step, with a checksum (`border.checksum.Sums`)
checkpoints/STEP/metrics.jsonl   the lines up to that step

A log that does not begin with the lines of the newest checkpoint was damaged. Those lines are read from the checkpoint.
Damage to later lines is found by their checksums; a continued training logs these steps again.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple, TypedDict

from mmcl_jax.border import AtLeast, Real, as_type, parse, read_written, to_json
from mmcl_jax.border.checksum import Sums, without_sum
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import CHECKSUMS

FILE = "metrics.jsonl"
REMEDY = "put a copy of it back, or move it away"


class _Sums(TypedDict):
    bytes: int
    sha256: str


class Log(NamedTuple):
    """The lines of a log without their ends, and a sentence on what is wrong with the file; "" if nothing is."""

    lines: list[bytes]
    fault: str


class Cut(NamedTuple):
    """The log up to the step that a training continues from, the last step logged before, and `Log.fault`."""

    content: str
    reached: int
    fault: str


def steps_of(directory: Path) -> list[int]:
    """Return the steps that have a checkpoint in the folder of the checkpoints, intact or not, the newest first."""
    if not directory.is_dir():
        return []
    names = (path.name for path in directory.iterdir())
    return sorted((int(name) for name in names if name.isascii() and name.isdecimal()), reverse=True)


def size_of_log(directory: Path) -> int:
    """Return the number of bytes in the log of a run."""
    path = directory / FILE
    return path.stat().st_size if path.is_file() else 0


def copy_log(directory: Path, checkpoint: Path, size: int) -> None:
    """Copy the first `size` bytes of the log of a run into a checkpoint."""
    if size:
        with (directory / FILE).open("rb") as log:
            (checkpoint / FILE).write_bytes(log.read(size))


def read_log(directory: Path) -> Log:
    """Return the complete lines of the log of a run: a last line that a kill has cut is left out.

    Raises:
      UserError: the log cannot be read, and no checkpoint has a copy.
    """
    path, (step, copied) = directory / FILE, _copy(directory, steps_of(directory / "checkpoints"))
    content, fault = b"", "does not begin with the lines that were logged before that step"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        fault = "is missing"
        if step is None:
            lost = any(steps_of(directory / "checkpoints"))
            return Log([], f"{path} is missing, so the metrics that were logged are lost." if lost else "")
    except OSError as error:
        fault = f"cannot be read ({error.strerror})"
        check(step is not None, f"{path} {fault}; {REMEDY}.")
    lines = content.split(b"\n")[:-1]
    if step is None or content.startswith(copied):
        return Log(lines, "")
    first = copied.split(b"\n")[:-1]
    last = _step_of(first[-1])
    assert last is not None
    more = list(_later(lines, last))
    return Log(first + more, f"{path} {fault}; the copy in the checkpoint of step {step} is used.")


def values_of(line: bytes) -> dict[str, float]:
    """Return the metrics in a line, with "step" (a whole number) and "seconds", but not its checksum.

    A number that was not finite is null in files of earlier versions, and NaN here.

    Raises:
      ValueError: the line is no such JSON; the message names the metric.
    """
    raw = parse(without_sum(line), constants=True)
    values: dict[str, float | None] = as_type(dict[str, Real | None], raw)
    step: int = as_type(Annotated[int, AtLeast(0)], raw.get("step"), "step")
    if "seconds" not in values:
        raise ValueError("it has no key 'seconds'")
    as_type(Annotated[float, AtLeast(0)], values["seconds"], "seconds")
    return {**{name: math.nan if value is None else value for name, value in values.items()}, "step": step}


def read_lines(directory: Path, lines: Iterable[bytes]) -> Iterator[dict[str, float]]:
    """Yield the metrics in lines of the log of a run.

    Raises:
      UserError: a line is damaged, or its step does not follow that of the line before.
    """
    before, sums = -1, Sums()
    for number, line in enumerate(lines, start=1):
        try:
            values = values_of(sums.open(line))
            if values["step"] <= before:
                raise ValueError(f"step {values['step']} comes after step {before}")
        except ValueError as error:
            raise UserError(f"{directory / FILE} is damaged (line {number}: {error}); {REMEDY}.") from error
        before = int(values["step"])
        yield values


def check_sums(lines: Iterable[bytes]) -> None:
    """Raise `ValueError` if the checksum of a line of a log differs; the message names the line."""
    sums = Sums()
    for number, line in enumerate(lines, start=1):
        try:
            sums.open(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error


def cut_log(directory: Path, start: int) -> Cut:
    """Return the log of a run up to step `start`, from which its training continues.

    Lines behind that step are logged again, so that damage to these is told as the fault, but does no harm.

    Raises:
      UserError: a line up to that step is damaged, and no checkpoint has a copy; or the log cannot be replaced.
    """
    path, (lines, fault) = directory / FILE, read_log(directory)
    check(not path.is_dir(), f"{path} is a folder; move it away, and the same command continues.")
    kept, copied = [], _copy(directory, [start])[1].split(b"\n")[:-1]
    if copied and not fault:
        try:
            check_sums(lines)
        except ValueError as error:
            fault = f"{path} is damaged ({error}); the lines behind step {start} are logged again."
    first = copied or lines
    for line, values in zip(first, read_lines(directory, first), strict=False) if start else ():
        if values["step"] > start:
            break
        bare = b"NaN" in line or b"Infinity" in line  # version 0.1.0 wrote these as numbers
        kept.append(to_json(parse(line, constants=True)) if bare else line.decode())
    steps = filter(None, map(_step_of, lines))
    return Cut("".join(f"{line}\n" for line in kept), max(steps, default=0), fault)


def _step_of(line: bytes) -> int | None:
    """Return the step of a line; None if the line is damaged."""
    try:
        return int(values_of(line)["step"])
    except ValueError:
        return None


def _later(lines: Iterable[bytes], step: int) -> Iterator[bytes]:
    """Yield the lines of later and later steps, without damaged lines."""
    for line in lines:
        number = _step_of(line)
        if number is not None and number > step:
            step = number
            yield line


def _copy(directory: Path, steps: Iterable[int]) -> tuple[int | None, bytes]:
    """Return the first of the steps whose checkpoint has a copy of the log, and the copy; None and b"" if none has."""
    for step in steps:
        folder = directory / "checkpoints" / str(step)
        try:
            sums: dict[str, _Sums] = read_written(folder / CHECKSUMS, dict[str, _Sums], "")
            copy = (folder / FILE).read_bytes()
        except (OSError, UserError):  # it is not complete, of an earlier version, damaged, or was just removed
            continue
        if FILE in sums and hashlib.sha256(copy).hexdigest() == sums[FILE]["sha256"]:
            return step, copy
    return None, b""
