"""From JSON values to typed Python values: a field has the type that its annotation says, or a sentence names it.

A library was judged first: msgspec ignores unknown keys of dataclasses and does not name the key of a mapping, and
pydantic takes `true` for 1 unless it is strict, and refuses lists for tuples when it is.
"""

import contextlib
import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args, get_origin, overload

from mmcl_jax.border.parse import LARGEST, check_text, nonfinite
from mmcl_jax.errors import UserError
from mmcl_jax.text import brief, nearest

T = TypeVar("T")
Read = Callable[[Any], Any]
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


@overload
def typed(kind: type[T], raw: Any, where: str, remedy: str = "") -> T: ...
@overload
def typed(kind: Any, raw: Any, where: str, remedy: str = "") -> Any: ...
def typed(kind: Any, raw: Any, where: str, remedy: str = "") -> Any:
    """Return a JSON value as a value of `kind`.

    Args:
      kind: a dataclass, a `TypedDict`, `int`, `float` (finite), `Real` (or NaN, or infinite), `bool`, `str`, `Path`,
        `None`, `Any`, `Literal`, a union, `tuple`, `list`, `dict` or `Mapping` of such, with `AtLeast` and `Between` in
        `Annotated`, or another class. A whole number is a float, but true is no number, and 3.0 is no whole number.
      raw: the value; lists stand for tuples. A value that is of a dataclass already stays.
      where: how the sentence names the value, such as a file.
      remedy: what to do, for the end of the sentence.

    Raises:
      UserError: a field has another type, is unknown, missing or out of its range; the sentence names it.

    >>> typed(dict[str, int], {"train": 3}, "sizes.json")
    {'train': 3}
    """
    try:
        return _reader(kind)(raw)
    except _Wrong as wrong:
        field = f": {'.'.join(wrong.path)}" if wrong.path else ""
        raise UserError(f"{where}{field} {wrong}{f'; {remedy}' if remedy else ''}.") from None


def as_type(kind: Any, raw: Any, name: str = "it") -> Any:
    """Return a JSON value as a value of `kind`, as `typed` does; errors begin with its name.

    Raises:
      ValueError: as `typed` raises `UserError`; the message names the field, and no file.
    """
    try:
        return _reader(kind)(raw)
    except _Wrong as wrong:
        path = wrong.path if name == "it" and wrong.path else [name, *wrong.path]
        raise ValueError(f"{'.'.join(path)} {wrong}") from None


@functools.cache
def _reader(kind: Any) -> Read:
    """Return the function that reads a value of `kind`: a type is taken apart once, and read a million times."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return lambda raw: raw
    if origin is typing.Annotated:
        return _marked(arguments[0], arguments[1:])
    if origin in (typing.Required, typing.NotRequired):
        return _reader(arguments[0])
    if origin is Literal:
        return functools.partial(_literal, arguments)
    if origin in (typing.Union, types.UnionType):
        return functools.partial(_union, arguments)
    if origin in (tuple, list, Sequence):
        return _sequence(tuple if origin is tuple else list, arguments)
    if origin in (dict, Mapping):
        return functools.partial(_mapping, _reader(arguments[0]), _reader(arguments[1]))
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        return functools.partial(_fields, kind)
    return _SINGLE.get(kind, functools.partial(_instance, kind))


def _int(raw: Any) -> int:
    if isinstance(raw, numbers.Integral) and not isinstance(raw, bool):  # also of NumPy
        if abs(number := int(raw)) <= LARGEST:
            return number
        raise _Wrong(f"must be a whole number of at most 64 bits, not {shown(raw)}")
    raise _Wrong(f"must be a whole number, not {shown(raw)}")


def _float(raw: Any) -> float:
    if isinstance(raw, numbers.Real) and not isinstance(raw, bool):
        with contextlib.suppress(OverflowError):
            if math.isfinite(number := float(raw)):
                return number
    raise _Wrong(f"must be a finite number, not {shown(raw)}")


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise _Wrong(f"must be a text, not {shown(raw)}")
    try:
        check_text(raw)
    except ValueError as error:
        raise _Wrong(f"must be a text in UTF-8: {error}") from error
    return raw


def _path(raw: Any) -> Path:
    if not isinstance(raw, str | Path) or "\0" in str(raw) or raw == "":
        raise _Wrong(f"must be a path, not {shown(raw)}")
    return Path(_text(str(raw)))


def _instance(kind: Any, raw: Any) -> Any:
    if kind is None or not isinstance(raw, kind):
        if raw is None and kind is None:
            return None
        raise _Wrong(f"must be {_words(kind)}, not {shown(raw)}")
    return raw


_SINGLE: dict[Any, Read] = {int: _int, float: _float, str: _text, Path: _path}


def _literal(options: tuple[Any, ...], raw: Any) -> Any:
    if any(type(raw) is type(option) and raw == option for option in options):
        return raw
    guess = nearest(raw, options) if isinstance(raw, str) else ""
    raise _Wrong(f"must be one of {', '.join(map(str, options))}, not {shown(raw)}{guess}")


def _marked(kind: Any, marks: tuple[Any, ...]) -> Read:
    real = any(isinstance(mark, _Nonfinite) for mark in marks)
    read = _real if real else _opened(kind) if Open in marks else _reader(kind)
    ranges = [mark for mark in marks if isinstance(mark, AtLeast | Between)]

    def result(raw: Any) -> Any:
        value = read(raw)
        for mark in ranges:
            if value not in mark:
                what = "a number" if isinstance(value, int | float) else "a length"
                raise _Wrong(f"must be {what} {mark}, not {shown(raw)}")
        return value

    return result


def _opened(kind: Any) -> Read:
    read, (hints, _) = _reader(kind), _hints(kind)

    def result(raw: Any) -> Any:
        known = {name: item for name, item in raw.items() if name in hints} if isinstance(raw, Mapping) else raw
        return read(known)

    return result


def _real(raw: Any) -> float:
    if isinstance(raw, str) and (number := nonfinite(raw)) is not None:
        return number
    return raw if isinstance(raw, float) and not math.isfinite(raw) else _float(raw)


def _union(options: tuple[Any, ...], raw: Any) -> Any:
    """Return the value of the first option that fits; the deepest of their errors says most."""
    errors = []
    for option in options:
        try:
            return _reader(option)(raw)
        except _Wrong as wrong:
            errors.append(wrong)
    deepest = max(errors, key=lambda wrong: len(wrong.path))
    if deepest.path:
        raise deepest
    raise _Wrong(f"must be {' or '.join(map(_words, options))}, not {shown(raw)}")


def _sequence(whole: Callable[[Iterable[Any]], Any], arguments: tuple[Any, ...]) -> Read:
    alike = whole is list or arguments[-1:] == (Ellipsis,)
    readers = [_reader(argument) for argument in arguments if argument is not Ellipsis]

    def result(raw: Any) -> Any:
        if not isinstance(raw, list | tuple):
            raise _Wrong(f"must be a list, not {shown(raw)}")
        if not alike and len(raw) != len(readers):
            raise _Wrong(f"must be a list of {len(readers)} values, not {len(raw)}")
        if alike and arguments[0] is str and set(map(type, raw)) == {str} and "".join(raw).isascii():
            return whole(raw)  # the keys of a million rows
        values = []
        for index, item in enumerate(raw):
            try:
                values.append(readers[0 if alike else index](item))
            except _Wrong as wrong:
                raise wrong.under(index) from None
        return whole(values)

    return result


def _mapping(read_key: Read, read_value: Read, raw: Any) -> dict[Any, Any]:
    if not isinstance(raw, Mapping):
        raise _Wrong(f"must be an object, not {shown(raw)}")
    values = {}
    for key, item in raw.items():
        try:
            values[read_key(key)] = read_value(item)
        except _Wrong as wrong:
            raise wrong.under(shown(key).strip("'")) from None
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
    if not typing.is_typeddict(kind) and isinstance(raw, kind):
        return raw
    if not isinstance(raw, Mapping):
        raise _Wrong(f"must be an object, not {shown(raw)}")
    hints, needed = _hints(kind)
    for name in raw:
        if name not in hints:
            raise _Wrong(f"has an unknown key {shown(name)}{nearest(name, hints)}; the keys are {', '.join(hints)}")
    for name in sorted(needed - set(raw)):
        raise _Wrong(f"has no key {name!r}")
    values = {}
    for name, item in raw.items():
        try:
            values[name] = _reader(hints[name])(item)
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
    if kind is None or kind in _WORDS:
        return _WORDS[kind or type(None)]
    mapping = origin in (dict, Mapping) or dataclasses.is_dataclass(kind) or typing.is_typeddict(kind)
    return "an object" if mapping else f"of the type {kind.__name__}"


def shown(raw: Any) -> str:
    """Return a value for a sentence, in at most some 60 characters."""
    if isinstance(raw, dict | list | tuple):
        return "an object" if isinstance(raw, dict) else "a list"
    return brief(raw)
