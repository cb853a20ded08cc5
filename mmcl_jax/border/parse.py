"""Strict JSON: limits of size, depth and numbers; no key twice, no NaN, no text that cannot be encoded."""

import itertools
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from mmcl_jax.text import brief, encodable

MOST_BYTES = 1 << 30  # the keys of ten million rows fit
MOST_DEPTH = 64
LARGEST = 2**64 - 1  # identifiers and hashes have at most 64 bits
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def parse(text: str | bytes, *, constants: bool = False, most_depth: int = MOST_DEPTH) -> Any:
    """Return the value of a JSON text.

    Args:
      text: the JSON text; bytes are UTF-8, with or without a byte order mark.
      constants: whether `NaN` and `Infinity` are numbers, as in files of version 0.1.0; else they are errors.
      most_depth: the largest depth of nested objects and lists.

    Raises:
      ValueError: the text is not JSON, has a key twice in one object, or exceeds a limit; the message is the reason.
    """
    try:
        plain = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        value = json.loads(
            plain,
            object_pairs_hook=_once,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_NONFINITE.__getitem__ if constants else _refuse,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from error
    except RecursionError as error:
        raise ValueError(f"it is nested more than {most_depth} levels deep") from error
    _check_depth(value, most_depth)
    if _SURROGATE.search(plain):
        _check_texts(value)
    return value


def to_json(value: Any, *, indent: int | None = None, ascii: bool = True, sort_keys: bool = False) -> str:
    """Return a value as strict JSON; numbers that are not finite are the texts "NaN", "Infinity" and "-Infinity".

    Args:
      value: JSON values; tuples are lists.
      indent: spaces by which a level is indented; None for one line.
      ascii: whether other letters are escaped.
      sort_keys: whether the keys of objects are sorted, so that equal values have equal texts.

    Raises:
      ValueError: a text has half of a surrogate pair, which no reader would take.

    >>> to_json({"loss": float("nan"), "step": 3})
    '{"loss": "NaN", "step": 3}'
    """
    form: dict[str, Any] = {"indent": indent, "ensure_ascii": ascii, "sort_keys": sort_keys, "allow_nan": False}
    try:
        text = json.dumps(value, **form)
    except ValueError:
        text = json.dumps(_strict(value), **form)
    if "\\ud" in text:
        _check_texts(json.loads(text))
    return text


def nonfinite(text: str) -> float | None:
    """Return the number that `to_json` wrote as a text, None for another text."""
    return _NONFINITE.get(text)


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        keys = sorted(key for key, _ in pairs)
        twice = next(key for key, other in itertools.pairwise(keys) if key == other)
        raise ValueError(f"the key {twice!r} is twice in one object")
    return fields


def _whole(digits: str) -> int:
    if len(digits) > 21 or abs(number := int(digits)) > LARGEST:
        raise ValueError(f"the number {digits[:20]}{'...' if len(digits) > 20 else ''} has more than 64 bits")
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _check_depth(value: Any, most_depth: int) -> None:
    """Raise `ValueError` for objects and lists that are nested too deep."""
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > most_depth:
            raise ValueError(f"it is nested more than {most_depth} levels deep")
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]


def _check_texts(value: Any) -> None:
    """Raise `ValueError` for a text or key with half of a surrogate pair."""
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, dict | list):
        for item in value:
            _check_texts(item)
        for item in value.values() if isinstance(value, dict) else ():
            _check_texts(item)


def check_text(text: str) -> None:
    """Raise `ValueError` for a text with half of a surrogate pair, such as a file name that is not UTF-8."""
    if not encodable(text):
        raise ValueError(f"the text {brief(text)} has half of a surrogate pair")
