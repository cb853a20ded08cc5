"""Running a config file: its errors are a sentence with the file and the line."""

import contextlib
import runpy
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.errors import UserError, check
from mmcl_jax.training.runs.renamed import renamed


def get_config_of(path: Path) -> Callable[..., Any]:
    """Run a config file, and return its function `get_config`.

    Raises:
      UserError: the file has no such function.
    """
    function = runpy.run_path(str(path)).get("get_config")
    if not callable(function):
        raise UserError(f"The config {path} has no function get_config().")
    return function


@contextlib.contextmanager
def naming(path: Path, *, shipped: bool) -> Iterator[None]:
    """Turn the exceptions of a config file into a `UserError` that names the file and the line.

    Args:
      path: of the config file.
      shipped: whether the file belongs to this package; its exceptions are faults of this package, and stay.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}" if str(error).startswith(("config.", "config:")) else str(error)) from error
    except SystemExit as error:
        raise UserError(f"{path}{_line(error, path)}: a config file must not exit; {_REMEDY}.") from error
    except Exception as error:
        if isinstance(error, AttributeError) and isinstance(error.obj, ConfigDict):
            name = str(error.name)
            now = f"{path}: config.{name}: this key was renamed; write config.{renamed(name)}."
            check(renamed(name) == name, now)
        if shipped:
            raise
        said = next((line for line in str(error).splitlines() if line.strip()), "no message")
        raise UserError(f"{path}{_line(error, path)}: {type(error).__name__} ({said[:300]}); {_REMEDY}.") from error


_REMEDY = "mend the file, or see its traceback with --debug"


def _line(error: BaseException, path: Path) -> str:
    """Return the line of the file where an exception began, for the middle of a sentence; "" if it is unknown."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f": line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f": line {lines[-1]}" if lines else ""
