"""The data set with a table that is computed from its images; the measures on known images; and column tags."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcl_jax import datasets as recipes
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.datasets.measured import measures
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.request import Request


def tags(store: Store) -> Counter:
    return Counter(tag for column in store.schema.columns for tag in column.tags)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return the data set, prepared by the command."""
    folder = tmp_path_factory.mktemp("measured")
    command = ["prepare", "--dataset", "measured", "--root", str(folder / "raw"), "--workers", "1"]
    assert main([*command, "--out", str(folder / "store")]) == 0
    return Store.open(folder / "store")


def test_every_picture_is_in_the_store_with_its_measures(store: Store) -> None:
    assert sum(store.sizes.values()) == 1797  # no two pictures are equal, none is bad
    assert store.schema.image.stored == (8, 8, 1)
    assert store.schema.label is not None
    assert store.schema.label.categories == tuple("0123456789")
    names = [column.name for column in store.schema.columns]
    for split in store.sizes:
        arrays = store.arrays(split)
        for image, row in zip(arrays["image"][:50], arrays["table"][:50], strict=True):
            again = measures(image[..., 0] / 240)  # what the model sees tells the whole table
            np.testing.assert_allclose(row, [again[name] for name in names], rtol=1e-6, atol=1e-7)


def test_the_same_command_gives_the_same_bits(store: Store, tmp_path: Path) -> None:
    command = ["prepare", "--dataset", "measured", "--root", str(tmp_path / "raw"), "--out", str(tmp_path / "store")]
    assert main(command) == 0
    mine, theirs = (
        json.loads((where / "manifest.json").read_text()) for where in (tmp_path / "store", store.directory)
    )
    assert mine == theirs


def test_columns_are_tagged(store: Store) -> None:
    assert tags(store) == {"morphometric": 12, "moments": 10, "symmetry": 2, "profile": 4}
    assert len(store.schema.columns) == 28


def test_pictures_that_are_there_stay_and_others_are_refused(tmp_path: Path) -> None:
    recipes.make("measured", tmp_path, [])
    first = tmp_path / "images" / "0000.png"
    before = first.stat().st_mtime_ns
    recipes.make("measured", tmp_path, [])
    assert first.stat().st_mtime_ns == before
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(first)
    with pytest.raises(UserError, match=r"0000\.png exists and is another image"):
        recipes.make("measured", tmp_path, [])
    first.write_text("no picture")
    with pytest.raises(UserError, match=r"0000\.png exists and is another image"):
        recipes.make("measured", tmp_path, [])
    with pytest.raises(UserError, match="is a file; name a folder"):
        recipes.make("measured", first, [])


def test_a_rectangle() -> None:
    picture = np.zeros((8, 10))
    picture[1:7, 2:5] = 1  # 6 rows, 3 columns
    actual = measures(picture)
    expected = {
        "area": 18,
        "height": 6,
        "width": 3,
        "aspect": 0.5,
        "extent": 1,
        "perimeter": 18,
        "compactness": 16 * 18 / 18**2,
        "holes": 0,
        "parts": 1,
        "long_axis": np.sqrt(35 / 12),  # the variance of n pixels in a row is (n^2 - 1) / 12
        "short_axis": np.sqrt(8 / 12),
        "eccentricity": np.sqrt(1 - 8 / 35),
        "ink": 18,
        "centre_x": 3 - 4.5,
        "centre_y": 0,
        "variance_x": 8 / 12,
        "variance_y": 35 / 12,
        "covariance": 0,
        "skewness_x": 0,
        "skewness_y": 0,
        "hu_3": 0,
        "symmetry_x": 0,  # columns 2, 3, 4 are mirrored to 7, 6, 5
        "symmetry_y": 1,
        "peak_row": 1,
        "peak_column": 2,
        "strokes_across": 1,
        "strokes_down": 1,
    }
    assert actual.keys() == {*expected, "orientation"}
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, abs=1e-12), name
    assert abs(actual["orientation"]) == pytest.approx(np.pi / 2)  # upright


def test_a_ring_has_one_hole_and_is_round() -> None:
    y, x = np.mgrid[:9, :9] - 4
    ring = (np.hypot(x, y) < 4) & (np.hypot(x, y) > 2)
    actual = measures(ring.astype(float))
    assert (actual["holes"], actual["parts"], actual["strokes_across"], actual["strokes_down"]) == (1, 1, 2, 2)
    assert actual["eccentricity"] == pytest.approx(0, abs=1e-6)
    assert (actual["symmetry_x"], actual["symmetry_y"]) == (1, 1)
    ring[4, :4] = False  # open to the left
    assert measures(ring.astype(float))["holes"] == 0
    assert measures(ring.astype(float))["skewness_x"] < 0  # more ink to the right, a tail to the left


def test_parts_touch_at_corners_and_holes_do_not_leak_there() -> None:
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], float)
    assert (measures(diamond)["parts"], measures(diamond)["holes"]) == (1, 1)
    apart = np.array([[1, 0, 1]], float)
    assert measures(apart)["parts"] == 2


def test_orientation_turns_with_the_picture() -> None:
    falling = np.eye(6)  # to the right and down, where y grows
    assert measures(falling)["orientation"] == pytest.approx(np.pi / 4)
    assert measures(falling[:, ::-1])["orientation"] == pytest.approx(-np.pi / 4)
    assert measures(falling)["hu_3"] == pytest.approx(measures(falling[:, ::-1])["hu_3"])


def test_the_third_invariant_is_that_of_its_definition() -> None:
    picture = np.random.default_rng(0).uniform(size=(7, 5))
    y, x = np.mgrid[:7, :5]
    m00 = picture.sum()
    x, y = x - (x * picture).sum() / m00, y - (y * picture).sum() / m00

    def eta(p: int, q: int) -> float:
        return float((x**p * y**q * picture).sum()) / m00 ** (1 + (p + q) / 2)

    expected = (eta(3, 0) - 3 * eta(1, 2)) ** 2 + (3 * eta(2, 1) - eta(0, 3)) ** 2
    assert measures(picture)["hu_3"] == pytest.approx(expected)
    assert measures(np.rot90(picture))["hu_3"] == pytest.approx(expected)


def test_a_picture_without_ink_has_no_shape() -> None:
    with pytest.raises(ValueError, match="half of the ink"):
        measures(np.full((4, 4), 0.4))


@pytest.mark.core
def test_the_shipped_digits_are_tagged(digits_raw: Request, digits_store: Store) -> None:
    assert tags(digits_store) == {"morphometric": 6, "zernike": 47, "fourier": 76}
    assert [c.name for c in digits_store.schema.columns if "morphometric" in c.tags] == [
        f"morphology_{number}" for number in range(1, 7)
    ]
    assert digits_raw.table is not None
    beside = Declaration.read(digits_raw.table.with_name("schema.json"))  # for --schema
    assert beside.columns == digits_raw.schema.columns
