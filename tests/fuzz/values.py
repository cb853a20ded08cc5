"""Strategies that the kinds share: texts, JSON values, and damages of bytes."""

import json
from typing import Any

from hypothesis import strategies as st

WORDS: tuple[str, ...] = ("a", "Wert", "x y", "", " ", "NaN", "inf", "-1", "1e999", "1,5", "2020-01-01", "true")
WORDS += ("\x1b[31m", "<b>", "\0", "ſ", "²", "مرحبا", "𝒳", "\u202e", "'", '"', "\r\n", "\t", "../x")
WORDS += ("/proc/self/mem", "é" * 300, "9" * 400)
texts = st.sampled_from(WORDS) | st.text(max_size=12)
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**31, 2**63, 10**30, 0.5, 1e308])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
# A place (a share of the length), how, and with which bytes.
damages = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["flip", "insert", "delete", "repeat", "cut", "replace"]),
        st.binary(min_size=1, max_size=8),
    ),
    max_size=3,
)


def damaged(content: bytes, damage: list[tuple[float, str, bytes]]) -> bytes:
    """Return the content with damages, one after another."""
    for share, how, new in damage:
        at = int(share * len(content))
        head, tail = content[:at], content[at:]
        content = {
            "flip": lambda head=head, tail=tail, new=new: head + bytes(b ^ (new[0] or 1) for b in tail[:1]) + tail[1:],
            "insert": lambda head=head, tail=tail, new=new: head + new + tail,
            "delete": lambda head=head, tail=tail, new=new: head + tail[len(new) :],
            "repeat": lambda head=head, tail=tail, new=new: head + tail[:64] * new[0] + tail,
            "cut": lambda head=head: head,
            "replace": lambda head=head, tail=tail, new=new: head + new + tail[len(new) :],
        }[how]()
    return content


def replaced(right: Any, fields: list[str]) -> st.SearchStrategy[Any]:
    """Return a strategy of objects like `right`, in which some of the `fields` have any value."""
    names = st.sampled_from(fields) | texts
    return st.dictionaries(names, values, max_size=3).map(lambda new: {**right, **new})


def as_json(value: Any) -> bytes:
    """Return a value as JSON, as lenient writers write it: with NaN, and with halves of surrogate pairs."""
    return json.dumps(value).encode("utf-8", "surrogatepass")
