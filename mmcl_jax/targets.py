"""Checks of the paths that a command is given, before anything is computed."""

import os
import tempfile
from os import PathLike
from pathlib import Path

from mmcl_jax.errors import UserError, check
from mmcl_jax.text import brief, encodable

_MOST_BYTES, _MOST_BYTES_OF_NAME = 4095, 255  # of paths and names, on Linux
# What a command makes has temporary neighbours with longer names, and files in it have longer paths.
_LONGER_NAME, _LONGER_PATH = 40, 500


def named(given: str | PathLike[str], option: str) -> Path:
    """Return the path that a caller names.

    Raises:
      UserError: the path is empty, holds a NUL, or is longer than any path can be; the sentence begins with `option`.
    """
    text = os.fspath(given)
    check(text != "", f"{option}: the path is empty; name a file or folder, such as . for the current folder.")
    check("\0" not in text, f"{option}: {brief(text)} cannot be a path, since it holds a NUL.")
    check_length(text, option)
    return Path(given)


def check_length(text: str, option: str, *, spare_name: int = 0, spare_path: int = 0) -> None:
    """Raise `UserError` if a path, or a name in it, has more bytes than file systems take, less the spare ones."""
    for name in text.split("/"):
        most, size = _MOST_BYTES_OF_NAME - spare_name, len(os.fsencode(name))
        check(size <= most, f"{option}: the name {brief(name)} has {size} bytes; a name here has at most {most}.")
    most, size = _MOST_BYTES - spare_path, len(os.fsencode(text))
    check(size <= most, f"{option}: the path {brief(text)} has {size} bytes; a path here has at most {most}.")


def check_file(path: Path, option: str) -> None:
    """Raise `UserError` unless a file can be written at `path`; its folder need not exist yet."""
    check(not path.is_dir(), f"{option}: {path} is a folder; name a file in it, such as {path / 'results.json'}.")
    check(path.is_file() or not path.exists(), f"{option}: {path} is a device or a pipe; name a file.")
    _check_name(path, option)
    _check_folder(path.parent, option, path)


def check_folder(path: Path, option: str) -> None:
    """Raise `UserError` unless files can be written in the folder `path`; it need not exist yet."""
    _check_name(path, option)
    _check_folder(path, option, path)


def _check_name(path: Path, option: str) -> None:
    text = str(path)
    check(encodable(text), f"{option}: {brief(text)} is not UTF-8; name another path.")
    check_length(path.name, option, spare_name=_LONGER_NAME)
    check_length(os.path.abspath(text), option, spare_path=_LONGER_PATH)
    check(path.exists() or not path.is_symlink(), f"{option}: {path} is a link that leads nowhere; remove it first.")


def _check_folder(folder: Path, option: str, path: Path) -> None:
    try:
        while not folder.exists():
            link = f"{option}: {path} cannot be made, since {folder} is a link that leads nowhere; remove it first."
            check(not folder.is_symlink(), link)
            folder = folder.parent
        check(folder.is_dir(), f"{option}: {path} cannot be made, since {folder} is a file; name another path.")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{option}: {path} cannot be made, since {folder} cannot be written ({error.strerror}); name another path."
        ) from error


def check_apart(path: Path, inputs: dict[str, object], option: str) -> None:
    """Raise `UserError` if an output is one of the inputs, which writing it would replace.

    Args:
      path: the output.
      inputs: paths by their options; values that are no paths are in memory.
      option: of the output.
    """
    for name, given in inputs.items():
        if isinstance(given, str | PathLike) and os.path.realpath(given) == os.path.realpath(path):
            raise UserError(f"{option}: {path} is what {name} names, which it would replace; name another path.")
