"""The values of the keys of an entry or target in a request, from JSON and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from mmcl_jax.border import AtLeast, Between, shown, typed
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import check
from mmcl_jax.prepare.images.files import FILTERS, Stack
from mmcl_jax.prepare.images.masks.drawn import Drawing
from mmcl_jax.prepare.reports.sections import FINDINGS
from mmcl_jax.prepare.reports.sentences import NEWLINES
from mmcl_jax.text import called, listed

LONGEST_SIDE = 2**16  # pixels
SIDES = f"is not a size; a side has 1 to {LONGEST_SIDE} pixels"
_Count = Annotated[int, Between(1, 2**31 - 1)]
PATHS = ("file", "folder", "names", "keys", "vocabulary", "variants", "brain_mask")
_TEXTS = ("column", "ignore", "categories", "sections", "drop")
_Text = Annotated[str, AtLeast(1)]
_COUNTS = ("channels", "bits", "max_pixels", "max_voxels", "vocabulary_size", "length", "every")
_SHARES = ("min_frequency", "max_missing")
_CHOICES = {
    "bits": (8, 16),
    "channels": (1, 3),
    "aspect": ("stretch", "crop", "pad"),
    "transparent": ("white", "black"),
    "stack": get_args(Stack),
    "duplicates": ("quarantine", "keep"),
    "nan": ("refuse", "background"),
    "resize": FILTERS,
    "intensity": ("minmax", "full"),
    "orientation": ("ras", "file"),
    "derive": ("falff",),
    "draw": get_args(Drawing),
    "dtype": ("float32", "float16", "int8"),
    "newlines": NEWLINES,
    "tokenizer": ("byte_pairs", "word_pieces"),
}


def value_of(name: str, raw: Any, where: str) -> Any:
    """Return the value of a key in its Python type. Raises `UserError` for a value of another type."""
    if name == "schema":
        return Declaration.from_json(raw, where)
    if name == "classes":
        return _classes(raw, where)
    if name == "sections" and isinstance(raw, bool):
        return FINDINGS if raw else ()
    if name in _TEXTS:
        texts = [raw] if isinstance(raw, str) else raw
        texts = typed(tuple[_Text, ...], texts, where)
        check(len(set(texts)) == len(texts), f"{where}: {listed(texts)} contains a text twice.")
        return texts
    if name in ("required", "antialias", "equalise", "empty", "lowercase", "show_text"):
        return typed(bool, raw, where)
    if name == "size":
        lengths = typed(tuple[int, ...], [raw] if isinstance(raw, int) else raw, where)
        check(bool(lengths) and all(0 < side <= LONGEST_SIDE for side in lengths), f"{where}: {shown(raw)} {SIDES}.")
        return lengths
    if name == "intensity" and not isinstance(raw, str):
        low, high = typed(tuple[float, float], raw, where)
        check(low < high, f'{where} must be "minmax", "full" or two numbers, the lower first.')
        return low, high
    if name == "band":
        return typed(tuple[float, float], raw, where)
    if name == "tr":
        return typed(float, raw, where)
    if name == "genotypes":
        return typed(tuple[_Text, ...], [str(raw)] if isinstance(raw, str | Path) else raw, where)
    if name in _SHARES:
        return typed(Annotated[float, Between(0, 1)], raw, where)
    if name == "min_words":
        return typed(Annotated[int, AtLeast(0)], raw, where)
    if name == "min_carriers":
        return typed(Annotated[float, AtLeast(0)], raw, where)
    value: Any = typed(_Count if name in _COUNTS else Path if name in PATHS else _Text, raw, where)
    if name in _CHOICES:
        check(value in _CHOICES[name], f"{where}: {shown(raw)} is not one of {', '.join(map(str, _CHOICES[name]))}.")
    return value


def _classes(raw: Any, where: str) -> tuple[tuple[str, int], ...]:
    """Return the classes of a mask with their pixel values, in order."""
    check(isinstance(raw, Mapping) and len(raw) > 1, f"{where} must be an object of at least two classes.")
    values = typed(dict[str, Annotated[int, Between(0, 255)]], raw, where)
    check(len(set(values.values())) == len(values), f"{where}: two classes have the same value.")
    return tuple(values.items())


def check_separator(separator: str | None, where: str) -> None:
    """Raise `UserError` unless a separator is one character of one byte, or the two characters of a tab, or None."""
    one = separator in (None, "", r"\t") or (len(str(separator)) == 1 and str(separator) < "\x80")
    sentence = f"{where}: {shown(separator)} is not a single character that can separate cells, such as ';'."
    check(one and separator not in ('"', "\r", "\n", "\0"), sentence)


def plain_json(value: Any) -> Any:
    """Return a value as JSON values: lists in place of tuples, and texts in place of paths."""
    if isinstance(value, Mapping):
        return {key: plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return called(value) if isinstance(value, Path) else value
