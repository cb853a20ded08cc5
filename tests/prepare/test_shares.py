"""What a drawing cannot do is said with figures, and the remedies that are named work."""

import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.prepare.card.summary import show
from mmcl_jax.prepare.make import preview
from mmcl_jax.prepare.request import Request

pytestmark = pytest.mark.core
ROWS = 300
SHORTAGE = re.compile(r"The split (\w+) has no row of .* of 'c': (.*)\.")


def asked(folder: Path, classes: list[str], **columns: list) -> Request:
    """A table with the label `c`; images are not looked at."""
    table = pl.DataFrame({"file": [f"{i}.png" for i in range(len(classes))], "c": classes, **columns})
    table.with_columns(x=np.random.default_rng(0).normal(size=len(table))).write_csv(folder / "table.csv")
    split = {"split_column": "part"} if "part" in columns else {}
    group = {"group_column": "g"} if "g" in columns else {}
    return Request(table=folder / "table.csv", images=folder, image_column=("file",), label=("c",), **split, **group)


def warnings(request: Request) -> list[str]:
    return preview(request)[0].warnings


def shortages(request: Request) -> dict[str, str]:
    """By split, what is named as a remedy where the split lacks a class."""
    return {found[1]: found[2] for one in warnings(request) if (found := SHORTAGE.search(one))}


def declared(remedy: str) -> Declaration:
    """The schema that a remedy names."""
    text = re.search(r"by (\{.*\}) in --schema", remedy)
    assert text is not None
    return Declaration.from_json(json.loads(text[1]), "schema")


def test_what_is_right_is_not_warned_of(tmp_path: Path) -> None:
    classes = list(np.random.default_rng(0).choice(["a", "b", "c"], ROWS))
    assert warnings(asked(tmp_path, classes)) == []
    assert warnings(asked(tmp_path, classes, g=[f"s{i // 3}" for i in range(ROWS)])) == []


def test_sizes_that_groups_do_not_allow(tmp_path: Path) -> None:
    request = asked(tmp_path, ["a", "b"] * 150, g=["big"] * 270 + [f"s{i}" for i in range(30)])
    (sentence,) = [one for one in warnings(request) if "other sizes" in one]
    assert "groups of 'g' are not divided (the largest group has 270 rows)" in sentence
    assert re.search(
        r"val has \d+ of 300 rows \([\d.]+ % for 10 %\), test has \d+ of 300 rows \([\d.]+ % for 20 %\)", sentence
    )
    console = Console(width=400, file=io.StringIO(), record=True)
    show(preview(request)[0], console)
    assert sentence in console.export_text()
    many = asked(tmp_path, [f"c{i // 3}" for i in range(ROWS)])
    assert any("100 of 300 rows (33 % for 10 %)" in one for one in warnings(many))


def test_class_shares_that_groups_do_not_allow(tmp_path: Path) -> None:
    """Three groups are nearly all of a class, so that each split has one of them."""
    groups = ["pqr"[i // 60] for i in range(180)] + [f"s{i}" for i in range(400)]
    classes = ["a"] * 180 + ["b", "d"] * 200
    found = warnings(dataclasses.replace(asked(tmp_path, classes, g=groups), split=(0.8, 0.1, 0.1)))
    (sentence,) = [one for one in found if "other shares" in one]
    assert re.search(r"'a' is \d+ % of (val|test) and 31 % of all rows", sentence)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_class_that_is_too_rare_to_be_in_every_split(tmp_path: Path, grouped: bool) -> None:
    groups = {"g": [f"s{i // 3}" for i in range(ROWS)]} if grouped else {}
    rare = ["rare", "rare"] + ["a", "b"] * 149  # the rows of one group, if there are groups
    request = asked(tmp_path, rare, **groups)
    found = shortages(request)
    assert found
    assert all(("three groups of 'g'" if grouped else "three rows") in remedy for remedy in found.values())
    (remedy, *_) = found.values()
    assert shortages(dataclasses.replace(request, schema=declared(remedy))) == {}
    enough = [*rare[:-60], *["rare"] * 60] if grouped else [*rare[:-1], "rare"]
    assert shortages(asked(tmp_path, enough, **groups)) == {}


@pytest.mark.parametrize("how", ["column", "lists"])
def test_given_splits_that_lack_classes(tmp_path: Path, how: str) -> None:
    classes = ["a", "b", "d"] * 100
    part = ["test" if i % 3 == 2 else "val" if i % 10 == 0 else "train" for i in range(ROWS)]  # all of d is in test
    if how == "column":
        request = asked(tmp_path, classes, part=part)
    else:
        request = asked(tmp_path, classes)
        for split in ("train", "val", "test"):
            (tmp_path / split).write_text("\n".join(f"{i}.png" for i in range(ROWS) if part[i] == split))
        request = dataclasses.replace(request, split_ids=tuple(tmp_path / s for s in ("train", "val", "test")))
    found = shortages(request)
    assert set(found) == {"train", "val", "test"}
    assert "have the splits drawn" in found["train"]
    assert ("--split-ids" if how == "lists" else "the split column 'part'") in found["train"]
    drawn = dataclasses.replace(request, split_column=None, split_ids=(), ignore=("part",) * (how == "column"))
    assert shortages(drawn) == {}
    left = shortages(dataclasses.replace(request, schema=declared(found["val"])))
    assert all("'d'" not in remedy for remedy in left.values())


def test_one_class_is_one_class(tmp_path: Path) -> None:
    (sentence,) = [one for one in warnings(asked(tmp_path, ["rare"] * 2 + ["a", "b"] * 149)) if "of the class" in one][
        :1
    ]
    assert "no row of the class 'rare' of 'c'" in sentence
