"""The output of a command: text for people or, with `--json`, one JSON object for programs.

A command's module has one function for both, `run(options)`: it calls the command's function, prints what a person
reads, and returns what the function returned. `--json` sends all that is printed to standard error, and prints the
values of the returned object on standard output:

- an object with the method `to_dict()`, which every result of a command has, gives the values that the command tells;
- a mapping and a dataclass give their items, and a path gives `{"path": ...}`.

A returned object whose attribute `finished` is False was asked to stop, and the command ends with status 75; one with
an attribute `exit_status` ends it with that. Every
JSON object has the exit status as "status"; that of an error has only this and the sentence, as "error". An error in
this software has the status 1 and, on standard error, its traceback.
"""

import contextlib
import dataclasses
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from mmcl_jax.text import called, redacted


def status_of(returned: object) -> int:
    """Return the exit status for what a command returned: its own, 75 (EX_TEMPFAIL) if it was asked to stop, else 0."""
    return getattr(returned, "exit_status", os.EX_TEMPFAIL if getattr(returned, "finished", True) is False else 0)


def values_of(returned: object) -> dict[str, Any]:
    """Return what a command returned as a dict of JSON values.

    Example:
      >>> from pathlib import Path
      >>> values_of({"loss": float("nan"), "path": Path("runs/a"), "steps": (1, 2)})
      {'loss': None, 'path': 'runs/a', 'steps': [1, 2]}
      >>> values_of(Path("raw/dvm"))
      {'path': 'raw/dvm'}
    """
    plain = _plain({"path": returned} if isinstance(returned, os.PathLike) else returned)
    if not isinstance(plain, dict):
        raise TypeError(f"a command returned {type(returned).__name__}, which has no named values")
    return plain


def _plain(value: Any) -> Any:
    """Return a value as JSON values: a number that is not finite is None, a path a text, a sequence a list.

    Addresses in texts have no passwords, tokens and signatures.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str | os.PathLike):
        text = redacted(called(os.fspath(value)))
        return text.encode("utf-8", "backslashreplace").decode()  # a file name may be no Unicode
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict())
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # arrays and scalars of NumPy and JAX
        return _plain(value.tolist())
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    raise TypeError(f"a command returned a {type(value).__name__}, which is no JSON value")


class Output:
    """The output of one command; `json_file` receives its JSON object, and is None without `--json`."""

    def __init__(self, command: str, json_file: TextIO | None = None) -> None:
        self._command, self._file = command, json_file

    def succeed(self, returned: object) -> int:
        """Print the JSON object of what the command returned, and return the exit status."""
        status = status_of(returned)
        if self._file is not None:
            self._write(values_of(returned), status)
        return status

    def fail(self, sentence: str, status: int, *, printed: bool = False) -> int:
        """Print the sentence of an error, unless it is `printed` already, and its JSON object; return the status."""
        if not printed:
            print(f"mmcl {self._command}: {sentence}", file=sys.stderr)
        if self._file is not None:
            self._write({"error": sentence}, status)
        return status

    def _write(self, values: Mapping[str, Any], status: int) -> None:
        if self._file is not None and _answers():
            self._file.write(json.dumps({"status": status, **values}, allow_nan=False) + "\n")
            self._file.flush()


def _answers() -> bool:
    """Return whether this process prints the JSON object: of several processes of a job, the first does."""
    jax = sys.modules.get("jax")
    return jax is None or not jax.distributed.is_initialized() or jax.process_index() == 0


def _close(file: TextIO) -> None:
    with contextlib.suppress(BrokenPipeError):  # the program that read the output has ended
        file.close()


@contextlib.contextmanager
def redirected() -> Iterator[TextIO]:
    """Send all that is printed within the block to standard error; yield a file that is the former standard output.

    This includes what worker processes and libraries in C print.
    """
    stdout = sys.stdout
    with contextlib.ExitStack() as resources:
        try:
            is_process_output = stdout.fileno() == 1
        except (OSError, ValueError, io.UnsupportedOperation):  # a test's or a notebook's
            is_process_output = False
        if is_process_output:
            stdout.flush()
            stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
            resources.callback(_close, stdout)
            resources.callback(os.dup2, stdout.fileno(), 1)
            os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield stdout
