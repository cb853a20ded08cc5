"""A generated store with every kind of input: 24 rows, some of which lack the vectors, the second table or the text."""

import dataclasses
from pathlib import Path

import numpy as np

from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.format.writing import finish, write
from mmcl_jax.data.schema import Column, Entry
from mmcl_jax.data.store import Store

ROWS, FEATURES = 24, 10
WORDS = ("[UNK]", "a", "disc", "lies", "left")
# Row n lacks the scores where n is a multiple of 4, the laboratory's table where n is 1 more, the calls in most rows.
LACKS = {"scores": [0, 4, 8, 12, 16, 20], "lab": [1, 5, 9, 13, 17, 21], "calls": list(range(6, 24))}


def numbers(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, kind="continuous") for name in names)


def part(entry: Entry, values: np.ndarray, name: str = "", **names: tuple[str, ...]) -> Part:
    at = np.arange(ROWS)
    at[LACKS.get(name, [])] = -1
    return Part(entry=entry, values=values, at=at, **names)


def content() -> Content:
    rng = np.random.default_rng(0)
    sex = Column(name="sex", kind="categorical", categories=("f", "m"))
    grade = Column(name="grade", kind="categorical", categories=("low", "mid", "high"))
    labels = np.column_stack([np.arange(ROWS) % 3, rng.normal(size=ROWS)]).astype(np.float64)
    labels[5] = np.nan
    texts = np.full((ROWS, 4, 2), -1, np.int32)
    texts[:, :3, 0], texts[:, :3, 1] = rng.integers(1, 4, (ROWS, 3)), 0
    texts[23, 0, 0] = 4  # a word of one row, which is in test
    calls = rng.integers(-50, 50, (ROWS, FEATURES)).astype(np.int8)
    calls[0, 2] = -127
    table = np.column_stack([rng.normal(size=(ROWS, 2)), rng.integers(0, 2, ROWS)]).astype(np.float64)

    def entry(kind: str, *shape: int, dtype: str) -> Entry:
        return Entry(kind=kind, shape=shape, dtype=dtype)

    parts = {
        "image": part(entry("image", 8, 8, 1, dtype="uint8"), rng.integers(0, 255, (ROWS, 8, 8, 1), np.uint8)),
        "deep": part(entry("image", 6, 8, 2, dtype="uint16"), rng.integers(0, 65535, (ROWS, 6, 8, 2), np.uint16)),
        "scan": part(entry("volume", 4, 8, 8, 1, dtype="float16"), rng.random((ROWS, 4, 8, 8, 1)).astype(np.float16)),
        "table": part(Entry.table((*numbers("age", "height"), sex)), table),
        "lab": part(Entry.table(numbers("ldl", "hdl")), 5 + rng.normal(size=(ROWS, 2)), "lab"),
        "scores": part(
            entry("vector", FEATURES, dtype="float32"), rng.normal(size=(ROWS, FEATURES)).astype(np.float32), "scores"
        ),
        "calls": part(entry("vector", FEATURES, dtype="int8"), calls, "calls"),
        "report": part(entry("text", 4, 2, dtype="int32"), texts, names=WORDS),
        "labels": part(Entry.table((grade, *numbers("weight")), role="target"), labels),
        "organ": part(
            Entry(kind="image", shape=(8, 8, 1), dtype="uint8", role="target", of="image"),
            rng.integers(0, 2, (ROWS, 8, 8, 1)).astype(np.uint8),
        ),
    }
    order = np.arange(ROWS)
    return Content(
        parts=parts,
        id=100 + order,
        keys=[f"p{row}" for row in order],
        splits={"train": order[:16], "val": order[16:20], "test": order[20:]},
        folds=[order[fold::4] for fold in range(4)],
        group=order // 2,
    )


def store_of(directory: Path, **copies: str) -> Store:
    """Write the store, with copies of entries under other names."""
    made = content()
    parts = {**made.parts, **{name: made.parts[of] for name, of in copies.items()}}
    directory.mkdir(parents=True)
    write(directory, dataclasses.replace(made, parts=parts), description="drawn")
    finish(directory, made_by={"request": {}, "recipe": None})
    (directory / "quarantine.jsonl").touch()
    return Store.open(directory)
