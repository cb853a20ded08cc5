"""The values that a config may hold, and how an override writes them."""

import ast
import math
import warnings
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.errors import UserError, check
from mmcl_jax.text import brief, encodable, redacted

_MOST_DEPTH, _MOST_MARKS = 16, 200  # of nested groups and tuples, and of a key
_SMALLEST, _LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127  # float32, in which everything is computed
_KINDS = "None, True, False, a number, a text, or a tuple of these"


def literal(text: str) -> Any:
    """Return the value of a Python literal, or the text itself if it is none.

    >>> literal("0.1"), literal("(4, 8)"), literal("None"), literal("cnn"), literal("{[]: 1}")
    (0.1, (4, 8), None, 'cnn', '{[]: 1}')
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\d" in a text
            return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


def check_value(value: Any, where: str, depth: int = 0) -> None:
    """Check that the config of a run can record a value, and a program compute with it.

    Raises:
      UserError: naming the key, below `where`, of a value of another type, of a number that is not finite, has more
        than 64 bits or is beyond float32, and of a text that is not Unicode, or
        holds a secret.
    """
    check(depth <= _MOST_DEPTH, f"{where}: this is nested more than {_MOST_DEPTH} levels deep.")
    if isinstance(value, ConfigDict):
        for key, item in value.items():
            check_part(key, where)
            check_value(item, f"{where}.{key}", depth + 1)
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            check_value(item, f"{where}.{index}" if isinstance(item, ConfigDict) else where, depth + 1)
    elif isinstance(value, str):
        if not encodable(value):
            raise UserError(f"{where}: {brief(value)} is not Unicode; if it names a file, rename the file.")
        if redacted(value) != value:
            raise UserError(f"{where}: a run records this, so an address in it must not hold a password or a token.")
    elif isinstance(value, float):
        check(math.isfinite(value), f"{where}: {value} is not a finite number.")
        size = abs(value)
        check(size <= _LARGEST, f"{where}: {value} is too large; float32 ends at {_LARGEST:.2g}.")
        check(size == 0 or size >= _SMALLEST, f"{where}: {value} is zero in float32, which begins at {_SMALLEST:.2g}.")
    elif isinstance(value, int):
        if abs(value) >= 2**63:
            raise UserError(f"{where}: {brief(value)} has more than 64 bits.")
    elif value is not None:
        raise UserError(f"{where}: {brief(value)} is a {type(value).__name__}; a value must be {_KINDS}.")


def check_part(key: Any, where: str) -> None:
    """Raise `UserError` unless a name can stand in a key, below the key `where`."""
    if not (isinstance(key, str) and 0 < len(key) <= _MOST_MARKS and encodable(key)):
        raise UserError(f"{where}: {brief(key)} cannot be the name of a key.")
