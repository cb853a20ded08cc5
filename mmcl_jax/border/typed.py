"""From JSON values to typed Python values: a field has the type that its annotation says, or a sentence names it.

A library was judged first: msgspec ignores unknown keys of dataclasses and does not name the key of a mapping, and
pydantic takes `true` for 1 unless it is strict, and refuses lists for tuples when it is.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args, get_origin

from mmcl_jax.border.parse import nonfinite
from mmcl_jax.errors import UserError
from mmcl_jax.text import nearest, visible

T = TypeVar("T")
_WORDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    type(None): "null",
}


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """Mark the smallest value of a number, or length of a text, list or object: `Annotated[int, AtLeast(1)]`."""

    least: float

    def __contains__(self, value: Any) -> bool:
        return _size(value) >= self.least

    def __str__(self) -> str:
        return f"of at least {self.least}"


@dataclasses.dataclass(frozen=True)
class Between:
    """Mark the smallest and largest value of a number, or length of a text, list or object."""

    least: float
    most: float

    def __contains__(self, value: Any) -> bool:
        return self.least <= _size(value) <= self.most

    def __str__(self) -> str:
        return f"between {self.least} and {self.most}"


def _size(value: Any) -> float:
    return value if isinstance(value, int | float) else len(value)


class _Nonfinite:
    """Mark a number that may be NaN or infinite."""


Real = typing.Annotated[float, _Nonfinite()]


class Open:
    """Mark a dataclass or `TypedDict` of which an object may have further keys, which are left out."""


class _Wrong(Exception):
    """The path to a value, and what is wrong with it."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.path: list[str] = []

    def under(self, part: object) -> Self:
        """Return the exception with a part before its path."""
        self.path.insert(0, str(part))
        return self


def typed(kind: type[T] | Any, raw: Any, where: str, remedy: str = "") -> T:
    """Return a JSON value as a value of `kind`.

    Args:
      kind: a dataclass, a `TypedDict`, `int`, `float` (finite), `Real` (or NaN, or infinite), `bool`, `str`, `Path`,
        `None`, `Any`, `Literal`, a union, `tuple`, `list`, `dict` or `Mapping` of such, with `AtLeast` and `Between` in
        `Annotated`. A whole number is a float, but true is no number, and 3.0 is no whole number.
      raw: the value; lists stand for tuples. A value that is of a dataclass already stays.
      where: how the sentence names the value, such as a file.
      remedy: what to do, for the end of the sentence.

    Raises:
      UserError: a field has another type, is unknown, missing or out of its range; the sentence names it.

    >>> typed(dict[str, int], {"train": 3}, "sizes.json")
    {'train': 3}
    """
    try:
        return _read(kind, raw)
    except _Wrong as wrong:
        field = f": {'.'.join(wrong.path)}" if wrong.path else ""
        raise UserError(f"{where}{field} {wrong}{f'; {remedy}' if remedy else ''}.") from None


def as_type(kind: type[T] | Any, raw: Any, name: str = "it") -> T:
    """Return a JSON value as a value of `kind`, as `typed` does; errors begin with its name.

    Raises:
      ValueError: as `typed` raises `UserError`; the message names the field, and no file.
    """
    try:
        return _read(kind, raw)
    except _Wrong as wrong:
        path = wrong.path if name == "it" and wrong.path else [name, *wrong.path]
        raise ValueError(f"{'.'.join(path)} {wrong}") from None


def _read(kind: Any, raw: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return raw
    if origin is typing.Annotated:
        return _marked(arguments[0], arguments[1:], raw)
    if origin in (typing.Required, typing.NotRequired):
        return _read(arguments[0], raw)
    if origin is Literal:
        if any(type(raw) is type(option) and raw == option for option in arguments):
            return raw
        guess = nearest(raw, arguments) if isinstance(raw, str) else ""
        raise _Wrong(f"must be one of {', '.join(map(str, arguments))}, not {_shown(raw)}{guess}")
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, raw)
    if origin in (tuple, list, Sequence):
        return _sequence(origin, arguments, raw)
    if origin in (dict, Mapping):
        return _mapping(arguments, raw)
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        return raw if not typing.is_typeddict(kind) and isinstance(raw, kind) else _fields(kind, raw)
    return _single(kind, raw)


def _single(kind: Any, raw: Any) -> Any:
    right = {
        int: type(raw) is int,
        float: type(raw) in (int, float) and math.isfinite(raw),
        Path: isinstance(raw, str | Path) and "\0" not in str(raw),
        type(None): raw is None,
        None: raw is None,
    }.get(kind, isinstance(kind, type) and isinstance(raw, kind))
    if not right:
        raise _Wrong(f"must be {_words(kind)}, not {_shown(raw)}")
    return kind(raw) if kind in (float, Path) else raw


def _marked(kind: Any, marks: tuple[Any, ...], raw: Any) -> Any:
    if any(isinstance(mark, _Nonfinite) for mark in marks):
        number = nonfinite(raw) if isinstance(raw, str) else raw if isinstance(raw, float) else None
        value = number if number is not None and not math.isfinite(number) else _read(kind, raw)
    elif Open in marks and isinstance(raw, Mapping):
        hints, _ = _hints(kind)
        value = _read(kind, {name: item for name, item in raw.items() if name in hints})
    else:
        value = _read(kind, raw)
    for mark in marks:
        if isinstance(mark, AtLeast | Between) and value not in mark:
            what = "a number" if isinstance(value, int | float) else "a length"
            raise _Wrong(f"must be {what} {mark}, not {_shown(raw)}")
    return value


def _union(options: tuple[Any, ...], raw: Any) -> Any:
    """Return the value of the first option that fits; the deepest of their errors says most."""
    errors = []
    for option in options:
        try:
            return _read(option, raw)
        except _Wrong as wrong:
            errors.append(wrong)
    deepest = max(errors, key=lambda wrong: len(wrong.path))
    if deepest.path:
        raise deepest
    raise _Wrong(f"must be {' or '.join(map(_words, options))}, not {_shown(raw)}")


def _sequence(origin: Any, arguments: tuple[Any, ...], raw: Any) -> Any:
    if not isinstance(raw, list | tuple):
        raise _Wrong(f"must be a list, not {_shown(raw)}")
    alike = origin is not tuple or arguments[-1:] == (Ellipsis,)
    if not alike and len(raw) != len(arguments):
        raise _Wrong(f"must be a list of {len(arguments)} values, not {len(raw)}")
    values = []
    for index, item in enumerate(raw):
        try:
            values.append(_read(arguments[0] if alike else arguments[index], item))
        except _Wrong as wrong:
            raise wrong.under(index) from None
    return tuple(values) if origin is tuple else values


def _mapping(arguments: tuple[Any, ...], raw: Any) -> dict[Any, Any]:
    if not isinstance(raw, Mapping):
        raise _Wrong(f"must be an object, not {_shown(raw)}")
    values = {}
    for key, item in raw.items():
        try:
            values[_read(arguments[0], key)] = _read(arguments[1], item)
        except _Wrong as wrong:
            raise wrong.under(visible(key)) from None
    return values


@functools.cache
def _hints(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the types of all fields, and the names of those without a default."""
    hints = typing.get_type_hints(kind, include_extras=True)
    if typing.is_typeddict(kind):
        return hints, kind.__required_keys__
    fields = [field for field in dataclasses.fields(kind) if field.init]
    needed = frozenset(
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    return {field.name: hints[field.name] for field in fields}, needed


def _fields(kind: Any, raw: Any) -> Any:
    if not isinstance(raw, Mapping):
        raise _Wrong(f"must be an object, not {_shown(raw)}")
    hints, needed = _hints(kind)
    for name in raw:
        if name not in hints:
            raise _Wrong(f"has an unknown key {_shown(name)}{nearest(name, hints)}; the keys are {', '.join(hints)}")
    for name in sorted(needed - set(raw)):
        raise _Wrong(f"has no key {name!r}")
    values = {}
    for name, item in raw.items():
        try:
            values[name] = _read(hints[name], item)
        except _Wrong as wrong:
            raise wrong.under(name) from None
    return kind(**values)


def _words(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return "a number" if any(isinstance(mark, _Nonfinite) for mark in arguments[1:]) else _words(arguments[0])
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin in (tuple, list, Sequence):
        return "a list"
    return _WORDS.get(type(None) if kind is None else kind, "an object")


def _shown(raw: Any) -> str:
    """Return a value for a sentence, in at most some 60 characters."""
    if isinstance(raw, dict | list | tuple):
        return "an object" if isinstance(raw, dict) else "a list"
    if isinstance(raw, int) and abs(raw) > 10**60:
        return "a number of more than 60 digits"
    text = repr(raw)
    return visible(text if len(text) <= 60 else f"{text[:57]}...")
