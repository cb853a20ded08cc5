"""Stores from data frames and arrays hold the same as stores from the same files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import mmcl_jax as mj

N = 24
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (N, 12, 10, 3), np.uint8)


def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ad": [f"ad{i}" for i in range(N)],
            "price": [None if i == 3 else 10.5 * i for i in range(N)],
            "seats": [i % 5 for i in range(N)],
            "sold": [i % 2 == 0 for i in range(N)],
            "gearbox": ["manual", "automatic", " manual"] * (N // 3),
            "model": [f"m{i % 3}" for i in range(N)],
        },
        schema_overrides={"gearbox": pl.Categorical},
    )


class Pandas:
    """A frame that hands its index over as a column, as pandas does for any index that does not count from 0."""

    def __init__(self, table: pl.DataFrame, index: list[int] | None) -> None:
        self._table, self._index = table, index

    def reset_index(self, *, drop: bool) -> "Pandas":
        assert drop
        return Pandas(self._table, None)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        given = self._table
        if self._index is not None:
            given = given.with_columns(pl.Series("__index_level_0__", self._index))
        return given.__arrow_c_stream__(requested_schema)


def _arrow(table: pl.DataFrame) -> Any:
    return pytest.importorskip("pyarrow").table(table)


FRAMES: dict[str, Callable[[pl.DataFrame], Any]] = {
    "polars": lambda table: table,
    "pandas": lambda table: Pandas(table, list(range(N))[::-1]),
    "pyarrow": _arrow,
    "dict": lambda table: table.to_dict(),
}
PICTURES: dict[str, Callable[[Path], Any]] = {
    "array": lambda folder: COLOUR,
    "arrays": lambda folder: list(COLOUR),
    "PIL": lambda folder: [Image.fromarray(pixels) for pixels in COLOUR],
    "paths": lambda folder: [folder / f"{i}.png" for i in range(N)],
    "series": lambda folder: pl.Series([str(folder / f"{i}.png") for i in range(N)]),
}
HOW: dict[str, dict[str, Any]] = {
    "as they are": {},
    "smaller, grey in colour": {"image_size": (7, 5), "aspect": "pad", "channels": 3, "split": (0.5, 0.25, 0.25)},
    "deep": {"bits": 16, "image_size": 8},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for i, pixels in enumerate(COLOUR):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    frame().with_columns(file=pl.Series([f"{i}.png" for i in range(N)])).write_parquet(folder / "ads.parquet")
    return folder


def content(store: mj.Store) -> dict[str, Any]:
    """All that a store holds, without how pictures are named: rows as bytes, since NaN does not equal NaN."""
    arrays = {split: store.arrays(split) for split in store.sizes}
    return {
        "rows": {f"{split} {name}": (np.shape(rows), np.asarray(rows).tobytes())
                 for split, found in arrays.items() for name, rows in found.items()},
        "keys": store.keys("train"),
        "schema": json.loads(store.schema.to_json()),
        "statistics": store.statistics.to_json(),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pictures", "how"),
    [*((kind, "as they are") for kind in PICTURES), *(("PIL", how) for how in HOW), ("array", "deep")],
)
def test_pictures_in_memory_are_those_in_files(files: Path, tmp_path: Path, pictures: str, how: str) -> None:
    options = {"label": "model", "key_column": "ad", **HOW[how]}
    from_files = mj.prepare(files / "ads.parquet", files, image_column="file", out=tmp_path / "files", **options)
    given = PICTURES[pictures](files)
    assert content(mj.prepare(frame(), given, out=tmp_path / "memory", **options)) == content(from_files)


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_of_any_library(files: Path, tmp_path: Path, kind: str) -> None:
    options: dict[str, Any] = {"label": "model", "key_column": "ad"}
    from_files = mj.prepare(files / "ads.parquet", files, image_column="file", out=tmp_path / "files", **options)
    table = FRAMES[kind](frame().with_columns(file=pl.Series([f"{i}.png" for i in range(N)])))
    store = mj.prepare(table, files, image_column="file", out=tmp_path / "memory", **options)
    assert content(store) == content(from_files)
    assert mj.prepare(table, files, image_column="file", check=True, **options).kept == N


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16", "P", "1"])
def test_modes_of_pillow(tmp_path: Path, mode: str) -> None:
    deep = RNG.integers(0, 60_000, (N, 9, 9), np.uint16)
    made = [Image.fromarray(pixels) if mode == "I;16" else Image.fromarray(colour).convert(mode)
            for pixels, colour in zip(deep, COLOUR, strict=True)]  # fmt: skip
    for i, image in enumerate(made):
        image.save(tmp_path / f"{i}.png")
    paths = [tmp_path / f"{i}.png" for i in range(N)]
    pixels = [image.tobytes() for image in made]
    options: dict[str, Any] = {"key_column": "ad", "image_size": 6, "duplicates": "keep"}
    one = mj.prepare(frame(), made, out=tmp_path / "memory", **options)
    assert content(one) == content(mj.prepare(frame(), paths, out=tmp_path / "files", **options))
    assert [image.tobytes() for image in made] == pixels  # what was given stays as it is
    if mode in ("L", "RGBA", "I;16"):
        arrays = np.stack([np.asarray(image) for image in made])
        assert content(mj.prepare(frame(), arrays, out=tmp_path / "arrays", **options)) == content(one)


def test_a_call_that_was_stopped_is_begun_anew_for_other_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmcl_jax.prepare import make

    def stopped(*given: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(make, "inspect", stopped)
        with pytest.raises(KeyboardInterrupt):
            mj.prepare(frame(), COLOUR, key_column="ad", out=tmp_path / "store")
    store = mj.prepare(frame(), 255 - COLOUR, key_column="ad", out=tmp_path / "store")
    whole = mj.prepare(frame(), 255 - COLOUR, key_column="ad", out=tmp_path / "whole")
    assert content(store) == content(whole)


def test_pictures_alone(tmp_path: Path) -> None:
    store = mj.prepare(images=COLOUR, out=tmp_path / "store")
    assert sum(store.sizes.values()) == N
    assert store.schema.columns == ()


def test_a_row_without_a_picture_is_quarantined(tmp_path: Path) -> None:
    store = mj.prepare(frame(), [None, *COLOUR[1:]], key_column="ad", max_bad=0.1, out=tmp_path / "store")
    assert sum(store.sizes.values()) == N - 1
    (line,) = map(json.loads, (store.directory / "quarantine.jsonl").read_text().splitlines())
    assert "image_index" in line["reason"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "too few": ({"images": COLOUR[:-1]}, "there are 23 images and 24 rows"),
    "floats": ({"images": COLOUR / 255}, "index 0 has the type float64, not uint8 or uint16; multiply values"),
    "channels first": ({"images": COLOUR.transpose(0, 3, 1, 2)}, "has the shape 3 x 12 x 10"),
    "no pictures": ({"images": 3}, "int is no array or list of images"),
    "a list of numbers": ({"images": [1] * N}, "index 0 is of the type int"),
    "no table": ({"table": 3}, "table.* must be a path, not int"),
    "a lazy frame": ({"table": frame().lazy()}, "must be a path, not LazyFrame"),
    "empty": ({"table": frame()[:0], "images": COLOUR[:0]}, "The data frame is empty"),
    "a column of lists": ({"table": {"a": [1, 2], "b": [1]}, "images": COLOUR[:2]}, "table cannot be read as a table"),
    "a column for arrays": ({"image_column": "ad"}, "images in memory are named by their index"),
    "the label": ({"label": "modle"}, "There is no column 'modle' in the data frame"),
    "a wrong option": ({"resize": "round"}, "resize"),
    "sizes": ({"images": [*COLOUR[1:], COLOUR[0, :6]]}, "different sizes .*--image-size"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_sentence(tmp_path: Path, case: str) -> None:
    given, sentence = WRONG[case]
    with pytest.raises(mj.UserError, match=sentence) as raised:
        mj.prepare(**{"table": frame(), "images": COLOUR, "out": tmp_path / "store", **given})
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == [] or [path.name for path in tmp_path.iterdir()] == [".store.partial.lock"]


def test_the_record_of_a_store_from_memory_can_be_read(tmp_path: Path) -> None:
    first = mj.prepare(frame(), COLOUR, label="model", image_size=6, out=tmp_path / "first")
    later = mj.prepare(frame()[:9], COLOUR[:9], like=first, duplicates="keep", out=tmp_path / "later")
    assert later.schema.columns == first.schema.columns
    assert later.schema.image.shape == (6, 6, 3)


def test_more_entries_beside_a_data_frame(files: Path, tmp_path: Path) -> None:
    pl.DataFrame({"ad": [f"ad{i}" for i in range(N)], "s1": RNG.normal(size=N)}).write_csv(tmp_path / "scores.csv")
    request = {"entries": {"scores": {"kind": "vector", "file": str(tmp_path / "scores.csv"), "key": "ad"}}}
    store = mj.prepare(frame(), COLOUR, request=request, key_column="ad", out=tmp_path / "store")
    assert {"image", "table", "scores"} <= store.schema.entries.keys()
