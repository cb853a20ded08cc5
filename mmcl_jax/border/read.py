"""Typed reading of JSON files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, overload

from mmcl_jax.border.checksum import Sums, check_checksum
from mmcl_jax.border.parse import MOST_BYTES, parse
from mmcl_jax.border.typed import as_type, typed
from mmcl_jax.errors import UserError

T = TypeVar("T")


@overload
def read_json(
    path: Path, kind: type[T], remedy: str, *, constants: bool = ..., by_hand: bool = ..., most_bytes: int = ...
) -> T: ...
@overload
def read_json(
    path: Path, kind: Any, remedy: str, *, constants: bool = ..., by_hand: bool = ..., most_bytes: int = ...
) -> Any: ...
def read_json(
    path: Path,
    kind: Any,
    remedy: str,
    *,
    constants: bool = False,
    by_hand: bool = False,
    most_bytes: int = MOST_BYTES,
) -> Any:
    """Return the value of a JSON file, with the type `kind`.

    Args:
      path: the file.
      kind: what the file holds; see `typed`.
      remedy: what to do about a missing or damaged file, for the end of the sentence.
      constants: whether `NaN` and `Infinity` are numbers, as in files of version 0.1.0.
      by_hand: whether a person wrote the file, which then is not JSON, rather than damaged.
      most_bytes: the largest size of the file.

    Raises:
      UserError: the file is missing, is no file, cannot be read, is too large or no JSON, or has another content.
    """
    raw = _content(path, remedy, most_bytes)
    try:
        value = parse(raw, constants=constants)
    except ValueError as error:
        fault = "is not JSON" if by_hand else "is damaged"
        raise UserError(f"{path} {fault} ({error}); {remedy}.") from error
    return typed(kind, value, str(path), remedy)


@overload
def read_lines(path: Path, kind: type[T], remedy: str, *, constants: bool = False) -> Iterator[T]: ...
@overload
def read_lines(path: Path, kind: Any, remedy: str, *, constants: bool = False) -> Iterator[Any]: ...
def read_lines(path: Path, kind: Any, remedy: str, *, constants: bool = False) -> Iterator[Any]:
    """Yield the values of a file of JSON lines, with the type `kind`.

    A last line without its end is left out: a process that was killed wrote it in part. Checksums of lines (`Sums`)
    are compared.

    Raises:
      UserError: as `read_json` raises; the sentence names the line.
    """
    lines = _content(path, remedy, MOST_BYTES).split(b"\n")
    sums = Sums()
    for number, line in enumerate(lines[:-1], start=1):
        try:
            value = parse(sums.open(line), constants=constants)
        except ValueError as error:
            raise UserError(f"{path}: line {number} is damaged ({error}); {remedy}.") from error
        yield typed(kind, value, f"{path}: line {number}", remedy)


def read_written(path: Path, kind: type[T] | Any, remedy: str) -> T:
    """Return the value of a JSON file that this program wrote, with the type `kind`.

    Version 0.1.0 wrote `NaN` and `Infinity`, so they are numbers here.

    Raises:
      UserError: as `read_json` raises; of a file with another content, the sentence says that it is damaged.
    """
    try:
        return written(kind, _content(path, remedy, MOST_BYTES))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}.") from error


def read_summed(path: Path, kind: type[T] | Any, remedy: str) -> T:
    """Return the value of a JSON file that this program wrote `with_checksum`, which is compared, as `read_written`.

    A file of an earlier version has no checksum.

    Raises:
      UserError: as `read_written` raises, or the checksum differs.
    """
    try:
        return as_type(kind, check_checksum(written(dict[str, Any], _content(path, remedy, MOST_BYTES))))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}.") from error


def written(kind: type[T] | Any, content: str | bytes) -> T:
    """Return the value of a JSON text that this program wrote, with the type `kind`.

    Raises:
      ValueError: it is no JSON, or has another content; the message names the field.
    """
    return as_type(kind, parse(content, constants=True))


def _content(path: Path, remedy: str, most_bytes: int) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a file; {remedy}.")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; {remedy}.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {remedy}.") from error
    except ValueError as error:  # of a name with the character NUL
        raise UserError(f"{path} cannot be read ({error}); {remedy}.") from error
    if len(content) > most_bytes:
        raise UserError(f"{path} has more than {most_bytes:,} bytes; {remedy}.")
    return content
