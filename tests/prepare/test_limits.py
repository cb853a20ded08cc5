"""Sizes beyond the stated limits: one sentence, or a row in quarantine, and the option that is named allows more."""

import dataclasses
import gzip
import importlib
import inspect
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.entries.matrix import read_matrix
from mmcl_jax.prepare.entries.text import tokenise
from mmcl_jax.prepare.images.files import Fit, read_image
from mmcl_jax.prepare.images.volume import read_levels
from mmcl_jax.prepare.join.tables import Keys
from mmcl_jax.prepare.limits import Limits, option
from mmcl_jax.prepare.make import preview
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import Source
from mmcl_jax.prepare.table.table import RawTable, Tables

KINDS = ["csv", "tsv", "parquet", "frame"]
SMALL = Limits(max_cell=1_000_000)
FRAME = pl.DataFrame({"a": ["x", "y" * 20, "z"], "b": ["1", "2", "3"]})


def read(folder: Path, kind: str, limits: Limits, frame: pl.DataFrame = FRAME) -> RawTable:
    """Write a frame as a file of a kind, and read it."""
    if kind == "frame":
        return Tables(limits).read(frame)
    path = folder / f"table.{kind}"
    if kind == "parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t" if kind == "tsv" else ",")
    return Tables(limits).read(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", ["max_columns", "max_values"])
def test_a_table_above_a_limit_is_refused(tmp_path: Path, kind: str, limit: str) -> None:
    size = {"max_columns": 2, "max_values": 6}[limit]
    with pytest.raises(UserError, match=rf"the limit is {size - 1}; allow more with {option(limit)}\.$") as error:
        read(tmp_path, kind, Limits(**{limit: size - 1}))
    assert "2 columns" in str(error.value)
    assert read(tmp_path, kind, Limits(**{limit: size})).frame.shape == (3, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_above_the_limit_is_a_bad_row(tmp_path: Path, kind: str) -> None:
    table = read(tmp_path, kind, Limits(max_cell=19))
    assert table.frame["a"].to_list() == ["x", "z"]
    assert table.numbers.tolist() == [1, 3]
    ((row, reason),) = table.bad
    assert row == 2
    assert "19" in reason
    assert "--max-cell" in reason
    assert read(tmp_path, kind, Limits(max_cell=20)).bad == []


@pytest.mark.parametrize("content", ['a,b\n1,"x\n' + "y\n" * 600_000, 'a,b\n"' + "x" * 1_200_000 + '\n5,6\n",2\n'])
def test_a_cell_that_swallows_the_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=r"line 2 is not closed .*1,000,000 characters; allow more with --max-cell"):
        Tables(SMALL).read(path)


def test_a_header_is_judged_before_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_bytes(",".join(f"c{column}" for column in range(60_000)).encode() + b"\n\xff")
    with pytest.raises(UserError, match="60,000 columns; the limit is 50,000; allow more with --max-columns"):
        Tables().read(path)
    path.write_text("x" * 1_000_001 + ",b\n1,2\n")
    with pytest.raises(UserError, match=r"header .* a cell has more than 1,000,000 characters; .*--max-cell"):
        Tables(SMALL).read(path)


def test_a_column_of_too_many_categories_is_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"id": map(str, range(90)), "file": map(str, range(90)), "kind": ["a", "b", "c"] * 30})
    given = {"table": table, "image_column": ("file",), "images": tmp_path, "label": ("kind",), "key_column": "id"}
    with pytest.raises(UserError, match=r"Column 'kind' has 3 categories; the limit is 2; allow .*--max-categories"):
        preview(Request(**given, max_categories=2))
    assert preview(Request(**given, max_categories=3))[0].kept == 90


def matrix(path: Path, limits: Limits, **source: object) -> tuple[str, ...]:
    declared = Source(kind="vector", file=path, **source)
    return read_matrix(declared, "id", "--request: entries.x", Keys(limits), Quarantine()).names


@pytest.mark.parametrize("kind", ["npy", "csv", "parquet", "h5"])
def test_a_vector_of_too_many_columns_is_refused(tmp_path: Path, kind: str) -> None:
    path, more = tmp_path / f"x.{kind}", {}
    if kind in ("npy", "h5"):
        (tmp_path / "keys.txt").write_text("a\nb\n")
        more = {"keys": tmp_path / "keys.txt", "dataset": "x" if kind == "h5" else ""}
    frame = pl.DataFrame({"id": ["a", "b"], "p": [1.0, 2.0], "q": [0.5, 0.5], "r": [0.0, 1.0]})
    if kind == "npy":
        np.save(path, np.ones((2, 3)))
    elif kind == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["x"] = np.ones((2, 3))
    else:
        (frame.write_csv if kind == "csv" else frame.write_parquet)(path)
    with pytest.raises(UserError, match="3 columns; the limit is 2; allow more with --max-features"):
        matrix(path, Limits(max_features=2), **more)
    assert len(matrix(path, Limits(max_features=3), **more)) == 3


def test_hostile_shapes_of_matrices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("a\n")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1000000000000), }"
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n")
    with pytest.raises(UserError, match="cannot be read as a NumPy array"):
        matrix(path, Limits(), keys=tmp_path / "keys.txt")
    with pytest.raises(UserError, match="cannot be read"):
        read_levels(path, Fit())
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", (1, 10**12), "f8", chunks=(1, 1000))  # of which nothing is stored
    with pytest.raises(UserError, match="1,000,000,000,000 columns; the limit is 5,000,000"):
        matrix(tmp_path / "x.h5", Limits(), keys=tmp_path / "keys.txt", dataset="x")


def test_a_long_text_is_refused_or_cut() -> None:
    pytest.importorskip("tokenizers")
    texts, train = [["one two three four"], ["five"]], np.arange(2)

    def tokens(length: int | None = None, **limits: int) -> np.ndarray:
        source = Source(kind="text", length=length)
        return tokenise(texts, train, source, "report", limits=Limits(**limits), keys=["k1", "k2"]).values

    size = tokens().shape[1]
    sentence = rf"the text of 'k1' has {size} tokens; the limit is {size - 1}; allow more with --max-tokens, or cut"
    with pytest.raises(UserError, match=sentence):
        tokens(max_tokens=size - 1)
    assert tokens(length=2, max_tokens=size - 1).shape == (2, 2, 2)
    with pytest.raises(UserError, match=f"2 texts of {size} tokens are {2 * size} values; .*--max-values, or cut"):
        tokens(max_values=2 * size - 1)


def test_a_text_of_many_words_is_refused_before_it_is_cut_into_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tokenizers")
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"minutes of work by {name}"))
    texts = [["one"], ["no acute finding. " * 1_000_000]]
    with pytest.raises(UserError, match="the text of 'k2' has more than 20,000 tokens; the limit is 20,000; allow"):
        tokenise(texts, np.arange(2), Source(kind="text"), "report", keys=["k1", "k2"])


def test_a_word_without_an_end_does_not_hold_up_the_vocabulary() -> None:
    """A word of 0.3 MB held it up for minutes."""
    pytest.importorskip("tokenizers")
    texts, began = [["one two three four"], ["x" * 300_000]], time.monotonic()
    made = tokenise(texts, np.arange(2), Source(kind="text", length=5), "report")
    assert made.values.shape == (2, 5, 2)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("version", ["Nifti1Header", "Nifti2Header"])
def test_a_nifti_file_that_inflates_to_gigabytes_is_refused_by_its_header(version: str, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    header = getattr(nibabel, version)()
    header.set_data_shape((2, 2, 2))
    header["vox_offset"] = 3 << 30
    header["magic"] = b"n+1" if version == "Nifti1Header" else header["magic"]
    path = tmp_path / "v.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + b"\1\0\0\0" + struct.pack("<ii", 3 << 29, 6) + bytes(1 << 20)))
    with pytest.raises(UserError, match=r"claims 3,221,225,472 bytes before its values; more than 67,108,864 are ref"):
        read_levels(path, Fit())


@pytest.mark.parametrize("suffix", [".arrow", ".feather", ".csv.gz", ".xlsx"])
def test_tables_of_other_formats_are_one_sentence(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"t{suffix}").write_bytes(b"ARROW1")
    with pytest.raises(UserError, match=r"must end in \.csv, \.tsv or \.parquet"):
        Tables().read(tmp_path / f"t{suffix}")


@pytest.mark.parametrize("kind", ["npy", "nii"])
def test_a_volume_of_too_many_voxels_is_refused(tmp_path: Path, kind: str) -> None:
    path, values = tmp_path / f"v.{kind}", np.zeros((2, 3, 4), np.int16)
    if kind == "npy":
        np.save(path, values)
    else:
        nibabel = pytest.importorskip("nibabel")
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    with pytest.raises(
        UserError, match="2 x 3 x 4 voxels; more than 23 are refused; --max-voxels allows more"
    ) as error:
        read_levels(path, Fit(max_voxels=23))
    assert error.value.cause == "too large"
    assert read_levels(path, Fit(max_voxels=24))[0].values.size == 24


def png(width: int, height: int) -> bytes:
    """Return a PNG of which the header alone is right."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(65_535, 65_535), (2**31 - 1, 2**31 - 1), (9000, 9000), (10**6, 81)])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(width, height))
    with pytest.raises(UserError, match="--max-pixels allows more") as error:
        read_image(str(path), (8, 8, 3), Fit())
    assert error.value.cause == "too large"


def test_every_limit_is_an_option() -> None:
    for name in (*(field.name for field in dataclasses.fields(Limits)), "max_pixels", "max_voxels"):
        assert name in inspect.signature(mj.prepare).parameters
        with pytest.raises(UserError, match=f"{option(name)}: -1 is not positive"):
            Request(**{name: -1})


def test_a_large_cell_takes_no_time(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n" + "x" * 10_000_000 + ",3\n4,5\n")
    began = time.process_time()
    table = Tables().read(path)
    assert time.process_time() - began < 2
    assert [row for row, _ in table.bad] == [2]
