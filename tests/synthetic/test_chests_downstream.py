"""Drawn radiographs in the layouts of RSNA, SIIM and COVID Rural."""

import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from mmcl_jax.datasets.chest.covid_rural import covid_rural
from mmcl_jax.datasets.chest.rsna import rsna
from mmcl_jax.datasets.chest.siim import siim
from mmcl_jax.synthetic.chests.downstream import run_lengths, write_downstream

IMAGES, SIZE = 40, 48


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("downstream")
    for name in ("rsna", "siim", "covid_rural"):
        write_downstream(root / name, name, images=IMAGES, size=SIZE, seed=2, workers=1)
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def decoded(text: str, size: int) -> np.ndarray:
    """A mask from relative run lengths down the columns, as SIIM's competition describes them."""
    flat, at = np.zeros(size * size, bool), 0
    numbers = [int(number) for number in text.split()]
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        at += gap
        flat[at : at + length] = True
        at += length
    return flat.reshape(size, size).T


def test_rsna_has_boxes_in_the_images_of_its_positive_rows(trees: Path) -> None:
    rows = rows_of(trees / "rsna" / "stage_2_train_labels.csv")
    groups = {row["patientId"]: row["class"] for row in rows_of(trees / "rsna" / "stage_2_detailed_class_info.csv")}
    assert len(groups) == IMAGES
    assert set(groups.values()) == {"Normal", "Lung Opacity", "No Lung Opacity / Not Normal"}
    for row in rows:
        assert (row["Target"] == "1") == (groups[row["patientId"]] == "Lung Opacity") == bool(row["x"])
        image = pydicom.dcmread(trees / "rsna" / "stage_2_train_images" / f"{row['patientId']}.dcm")
        assert image.pixel_array.shape == (SIZE, SIZE)
        assert image.ViewPosition in ("AP", "PA")
        if row["x"]:
            x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
            assert 0 <= x < x + width <= SIZE
            assert 0 <= y < y + height <= SIZE
    boxes = [sum(row["patientId"] == name for row in rows) for name, group in groups.items() if group == "Lung Opacity"]
    assert 5 <= len(boxes) <= 22
    assert max(boxes) >= 2


def test_the_lists_of_rsna_split_its_images(trees: Path) -> None:
    splits = rsna(root=trees / "rsna", ids=trees / "rsna" / "lists").splits
    assert {name: len(keys) for name, keys in splits.items()} == {"train": 35, "val": 2, "test": 3}
    rows = rows_of(trees / "rsna" / "stage_2_train_labels.csv")
    assert [key for keys in splits.values() for key in keys] == list(dict.fromkeys(row["patientId"] for row in rows))


def test_siim_has_run_lengths_of_the_dark_side(trees: Path) -> None:
    rows = rows_of(trees / "siim" / "train-rle.csv")
    assert list(rows[0]) == ["ImageId", " EncodedPixels"]
    files = {path.stem: path for path in (trees / "siim" / "dicom-images-train").glob("*/*/*.dcm")}
    assert set(files) == {row["ImageId"] for row in rows}
    assert len(files) == IMAGES
    masks = [decoded(row[" EncodedPixels"], SIZE) for row in rows if row[" EncodedPixels"].strip() != "-1"]
    assert 4 <= len(masks) <= 22
    for mask in masks:
        rows_with, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert rows_with.mean() < SIZE / 2  # air rises to the apex
        assert columns.max() < 0.65 * SIZE or columns.min() > 0.35 * SIZE  # one lung


def test_the_recipes_read_the_trees(trees: Path) -> None:
    rows = rows_of(trees / "rsna" / "stage_2_train_labels.csv")
    read = rsna(root=trees / "rsna")
    assert read.rows.height == IMAGES
    assert read.rows["positive"].sum() == len({row["patientId"] for row in rows if row["Target"] == "1"})
    runs = [row[" EncodedPixels"].strip() for row in rows_of(trees / "siim" / "train-rle.csv")]
    read = siim(root=trees / "siim")
    assert (read.rows.height, read.rows["positive"].sum()) == (IMAGES, sum(run != "-1" for run in runs))
    masks = len(list((trees / "covid_rural" / "pngs_masks").iterdir()))
    assert covid_rural(root=trees / "covid_rural").rows.height == masks


def test_run_lengths_are_read_back() -> None:
    for mask in (np.zeros((5, 5), bool), np.ones((5, 5), bool), np.random.default_rng(0).random((5, 5)) < 0.5):
        assert np.array_equal(decoded(run_lengths(mask), 5), mask)


def test_covid_rural_has_masks_of_most_images_and_two_images_per_person(trees: Path) -> None:
    images = {path.stem: path for path in (trees / "covid_rural" / "jpgs").glob("*.jpg")}
    masks = {path.stem: path for path in (trees / "covid_rural" / "pngs_masks").glob("*.png")}
    assert len(images) == IMAGES
    assert set(masks) < set(images)
    assert len(masks) > 0.7 * IMAGES
    for name, path in masks.items():
        mask = np.asarray(Image.open(path))
        assert np.asarray(Image.open(images[name])).shape == (SIZE, SIZE, 3)
        assert mask.shape == (SIZE, SIZE)
        assert set(np.unique(mask)) == {0, 1}
    patients = [name.split("_")[0] for name in images]
    assert all(name.startswith("COVID-19-AR-") for name in patients)
    assert len(set(patients)) == IMAGES // 2
