"""Every field of a store's files, of a request and of a schema, in turn, with values of every other JSON type."""

import copy
import dataclasses
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmcl_jax.border import to_json
from mmcl_jax.data.format.format3 import read_schema
from mmcl_jax.data.format.shards import lengths
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import UserError
from mmcl_jax.files import read_records, record, write_records
from mmcl_jax.lock import is_held, locked
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.images.decode import _lines, _written
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from tests.conftest import raw_of

OTHERS = (None, True, -1, 0.5, 2**63, "a\0b", [], {"a": 1})
TABLE = {"columns": {
    "a": {"kind": "ordinal", "categories": ["x", "y"], "tags": ["t"], "missing": ["m"], "unit": "kg", "verbatim": True},
    "d": {"kind": "date", "format": "%Y"},
    "n": {"kind": "continuous", "scaling": "log", "decimal": ",", "thousands": "."},
}, "missing": [""], "others": "infer", "decimal": ".", "thousands": ","}  # fmt: skip
REQUEST = {
    "table": "a.csv", "images": "p", "image_column": ["f"], "stack": "views", "like": "l", "schema": TABLE,
    "label": ["l"], "key_column": "k", "group_column": "g", "ignore": ["i"], "categorical": ["c"], "separator": ";",
    "encoding": "utf-8", "decimal": ",", "thousands": ".", "missing": ["NA"], "image_size": [8, 8], "channels": 3,
    "resize": "bilinear", "antialias": True, "aspect": "crop", "transparent": "white", "intensity": [0, 255],
    "nan": "refuse", "max_pixels": 1000, "follow_links": "x", "duplicates": "keep", "split_ids": ["a", "b", "c"],
    "split": [0.7, 0.1, 0.2], "group_near_duplicates": False, "folds": 3, "subsets": [0.1], "seed": 1, "max_bad": 0.1,
    "bits": 8, "cohort": "outer",
    "entries": {
        "i2": {"kind": "image", "folder": "f", "files": "{key}.png", "size": [8, 8], "channels": 3, "bits": 8,
               "intensity": "full", "required": True, "aspect": "pad", "max_pixels": 100},
        "t": {"kind": "table", "file": "t.csv", "key": "k", "separator": ";", "schema": {"columns": {}}},
        "v": {"kind": "vector", "file": "v.npy", "keys": "k.txt", "names": "n.txt", "dtype": "int8"},
        "r": {"kind": "text", "file": "r.csv", "column": "c", "vocabulary_size": 10, "length": 5, "sections": ["A"],
              "newlines": "join", "min_words": 3, "drop": ["priors"], "tokenizer": "word_pieces", "lowercase": True,
              "show_text": True},
    },
    "targets": {
        "m": {"kind": "mask", "of": "i2", "folder": "f", "files": "{key}.png", "classes": {"a": 0, "b": 1}},
        "o": {"kind": "ordinal", "file": "o.csv", "column": "c", "categories": ["a", "b"]},
        "ml": {"kind": "multi-label", "file": "o.csv", "column": "c", "between": ";"},
        "b": {"kind": "boxes", "of": "i2", "file": "b.csv", "column": ["l", "t", "r", "b", "c"]},
    },
}  # fmt: skip


def changed(value: Any) -> Iterator[Any]:
    """The JSON value with every field, in turn, changed, left out or renamed; in a list, the first item."""
    yield from OTHERS
    items = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for key, item in items:
        for other in changed(item):
            result = copy.copy(value)
            result[key] = other
            yield result
    if isinstance(value, dict):
        for key in value:
            rest = {name: item for name, item in value.items() if name != key}
            yield rest
            yield {**rest, "../x": value[key]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("fields")
    store = prepare(dataclasses.replace(raw_of(folder), folds=3), folder / "store")
    encoding = Encoding(
        schema=store.schema, statistics=store.statistics, missing="mean", bin_edges=((0.0, 1.0), (), ())
    )
    (folder / "encoding").mkdir()
    encoding.write(folder / "encoding")
    (store.directory / "seal.json").unlink()  # as in a store of an earlier version, so that the types alone decide
    return store


def opened(path: Path) -> None:
    """Open the store, whose file `path` has changed together with its checksum."""
    folder = path.parent
    records = read_records(folder / "manifest.json", "")
    if path.name in records:
        write_records(folder / "manifest.json", {**records, path.name: record(path)})
    store = Store.open(folder)
    repr(store)
    assert len(store.keys("train")) == store.sizes["train"]


def same(value: Any, path: Path) -> None:
    """All that the file holds was read: nothing was dropped or taken for something else."""
    content = json.loads(path.read_text())
    if isinstance(value, Statistics) and not content.get("quantiles"):  # early versions had none
        content["quantiles"] = [[]] * len(value.mean)
    assert holds(json.loads(value.to_json()), content)


def holds(value: Any, part: Any) -> bool:
    """Whether the value is the part, but for keys that the part lacks."""
    if isinstance(part, dict) and isinstance(value, dict):
        return all(key in value and holds(value[key], item) for key, item in part.items())
    if isinstance(part, list) and isinstance(value, list):
        return len(part) == len(value) and all(map(holds, value, part))
    return bool(value == part)


def schema_read(path: Path) -> None:
    class Files:
        directory = path.parent

        def read(self, name: str, parse: Callable[[Path], Schema]) -> Schema:
            return parse(path)

    same(read_schema(Files(), path.name), path)  # type: ignore[arg-type]


READ: dict[str, Callable[[Path], object]] = {
    "store.json": opened,
    "keys.json": opened,
    "entries.json": schema_read,
    "declaration.json": Declaration.read,
    "statistics.json": lambda path: same(Statistics.read(path), path),
    "findings.json": lambda path: repr(Findings.read(path)),
    "dataset_info.json": lambda path: lengths(path.parent, "train"),
    "manifest.json": lambda path: read_records(path, "make it again"),
    "../encoding/encoding.json": lambda path: Encoding.read(path.parent),
}


@pytest.mark.parametrize("name", READ)
def test_a_changed_field_of_a_store_is_read_or_named(name: str, store: Store) -> None:
    path = store.directory / name
    before, manifest = path.read_text(), (store.directory / "manifest.json").read_text()
    content = json.loads(before)
    if name == "store.json":
        content["request"] = {}  # has a test of its own
    if name == "findings.json":
        content |= {"entries": content["entries"][:1], "columns": content["columns"][2:3]}
    if name == "manifest.json":
        content = dict(list(content.items())[:2])
    try:
        READ[name](path)
        sentences = [sentence(READ[name], path, value) for value in changed(content)]
    finally:
        path.write_text(before)
        (store.directory / "manifest.json").write_text(manifest)
    refused = [sentence for sentence in sentences if sentence]
    assert len(refused) > len(sentences) / 3
    for words in refused:
        assert path.name in words or f"The store {path.parent} has format" in words
        assert len(words) < 1000


def sentence(read: Callable[[Path], object], path: Path, value: Any) -> str:
    """What is said of the file with this value; "" if it is read."""
    path.write_text(json.dumps(value))
    try:
        read(path)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", [Request, Declaration])
def test_a_changed_field_of_a_request_or_schema_is_read_or_named(kind: Any) -> None:
    whole: dict[str, Any] = REQUEST if kind is Request else TABLE
    assert kind.from_json(whole, "here").to_json()
    sentences = []
    for value in changed(whole):
        try:
            result = kind.from_json(value, "here")
            assert kind.from_json(json.loads(to_json(result.to_json())), "here") == result
        except UserError as error:
            sentences.append(str(error))
    assert len(sentences) > 100
    assert max(map(len, sentences)) < 1000


NUMBERS: dict[str, Any] = {"NaN": float("nan"), "an infinity": float("inf"), "a huge integer": 10**5000}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", ["seed", "max_bad", "subsets", "intensity", "image_size", "split"])
def test_numbers_that_no_field_takes_are_named(field: str, number: str) -> None:
    value: Any = NUMBERS[number]
    sizes = {"subsets": 1, "intensity": 2, "image_size": 2, "split": 3}
    with pytest.raises(UserError, match=f"here: {field}"):
        Request.from_json({field: [value] * sizes[field] if field in sizes else value}, "here")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"seed": 2**32}, "--seed: 4294967296 is not a number from 0 to"),
        ({"separator": "→"}, "--separator: '→' is not a single character"),
        ({"separator": "ab"}, "--separator: 'ab' is not a single character"),
        ({"table": ""}, "table must be a path"),
        ({"table": "a\0"}, "table must be a path"),
        ({"images": "a\udcff"}, "images must be a path"),
        ({"image_size": 2**17}, "--image-size: (131072, 131072) is not a size"),
        *(({"entries": {name: REQUEST["entries"]["v"]}}, "cannot name an entry")  # type: ignore[index]
          for name in ("", "../x", "a/b", "é", "\ud800", "a" * 101)),
        ([], "the request must be an object"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_named(request_: Any, words: str) -> None:
    with pytest.raises(UserError) as error:
        Request.from_json(request_)
    assert words in str(error.value)


def test_names_at_the_limit_are_taken() -> None:
    source = REQUEST["entries"]["v"]  # type: ignore[index]
    assert len(Request.from_json({"entries": {"con": source, "a" * 100: source}}).entries) == 2


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a": 1, "a": 2}', '{"table": NaN}', '"\\ud800"', "[]", b"\xff", ""]
)
@pytest.mark.parametrize("read", [lambda path: Request.read(path, {}), Declaration.read])
def test_a_file_that_is_no_request_is_one_sentence(read: Any, content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "cohort.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"cohort\.json"):
        read(path)


@pytest.mark.parametrize("pid", [10**30, 2**40, -1, 0, "1", None, True, [1]])
def test_a_lock_of_no_process_is_free(pid: Any, tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": pid, "started": "1"}))
    assert not is_held(path)
    with locked(path, what="works"):
        assert is_held(path)


def test_a_changed_digit_of_the_journal_is_noticed(tmp_path: Path) -> None:
    line: Any = {
        "start": 0,
        "bad": [(1, "a", "b")],
        "sizes": [],
        "sums": [7],
        "shapes": [None],
        "thumbs": 1,
        "files": 2,
    }
    path = tmp_path / "journal.jsonl"
    path.write_text(_written(line) + _written(line).replace("[[1,", "[[2,") + _written(line)[:20] + "\n[]\n")
    assert list(_lines(path)) == [line]
