"""The table of where findings are: which boxes are used, where they lie in a view, and tables that are wrong."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.alignment.truth import Query, inside_of, read_truth

ROW = {
    "study_id": "a", "finding": "edema", "x": 10, "y": 20, "width": 30, "height": 40, "image_width": 100,
    "image_height": 200, "sentence": 1,
}  # fmt: skip


def store(aspect: str = "stretch") -> Any:
    entry = SimpleNamespace(shape=(50, 50, 1))
    return SimpleNamespace(schema=SimpleNamespace(entries={"image": entry}), made_by={"request": {"aspect": aspect}})


def table(path: Path, *rows: dict[str, Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_boxes_lie_where_the_image_was_fitted(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ROW)
    (query,) = read_truth(path, store(), "image", ["b", "a"]).queries
    assert (query.row, query.finding, query.sentence, query.phrase) == (1, "edema", 1, "")
    np.testing.assert_allclose(query.boxes, [[0.1, 0.1, 0.3, 0.2]])
    (padded,) = read_truth(path, store("pad"), "image", ["a"]).queries  # 25 x 50 pixels, from the 12th column on
    np.testing.assert_allclose(padded.boxes, [[(2.5 + 12) / 50, 0.1, 7.5 / 50, 0.2]])
    (cropped,) = read_truth(path, store("crop"), "image", ["a"]).queries  # 50 x 100 pixels, without the first 25 rows
    np.testing.assert_allclose(cropped.boxes, [[0.1, 0, 0.3, 5 / 50]])


def test_images_of_a_further_entry_are_fitted_as_it_says(tmp_path: Path) -> None:
    path, entry = table(tmp_path / "t.csv", ROW), SimpleNamespace(shape=(50, 50, 1))
    request = {"aspect": "stretch", "entries": {"scan": {"kind": "image", "aspect": "pad"}, "photo": {"aspect": None}}}
    entries = {"scan": entry, "photo": entry}
    made: Any = SimpleNamespace(schema=SimpleNamespace(entries=entries), made_by={"request": request})
    boxes = {name: read_truth(path, made, name, ["a"]).queries[0].boxes for name in entries}
    np.testing.assert_allclose(boxes["scan"], [[(2.5 + 12) / 50, 0.1, 7.5 / 50, 0.2]])
    np.testing.assert_allclose(boxes["photo"], [[0.1, 0.1, 0.3, 0.2]])


def test_boxes_of_one_sentence_are_one_query_and_unused_rows_are_told(tmp_path: Path) -> None:
    path = table(
        tmp_path / "t.csv",
        {**ROW, "dicom_id": "i", "mention": "present"},
        {**ROW, "dicom_id": "i", "mention": "uncertain", "x": 60},
        {**ROW, "dicom_id": "j", "mention": "present"},
        {**ROW, "dicom_id": "i", "mention": "none", "sentence": ""},
        {**ROW, "dicom_id": "i", "mention": "negated"},
        {**ROW, "dicom_id": "i", "mention": "absent", "x": "", "y": "", "width": "", "height": ""},
        {**ROW, "study_id": "elsewhere", "dicom_id": "k", "mention": "present"},
        {**ROW, "study_id": "b", "dicom_id": "l", "mention": "present"},
    )
    truth = read_truth(path, store(), "image", ["a", "b"], np.array([2, 2]))
    assert [(query.picture, len(query.boxes)) for query in truth.queries] == [(0, 2), (1, 1)]
    assert [note.partition(" of")[0] for note in truth.notes] == ["1 box", "2 boxes", "1 box"]
    assert "does not name all images" in truth.notes[2]


def test_phrases_and_pictures(tmp_path: Path) -> None:
    plain = {name: value for name, value in ROW.items() if name != "sentence"}
    path = table(tmp_path / "t.csv", {**plain, "phrase": "left effusion", "picture": 1})
    (query,) = read_truth(path, store(), "image", ["a"], np.array([2])).queries
    assert (query.sentence, query.phrase, query.picture) == (-1, "left effusion", 1)
    path = table(tmp_path / "u.csv", {**plain, "finding": "pleural_effusion"})
    assert read_truth(path, store(), "image", ["a"]).queries[0].phrase == "pleural effusion"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x": "left"}, "row 1: x is 'left', which is no number"),
        ({"x": 80}, "row 1: the box 80, 20, 30, 40 is empty or lies outside of its image, which is 100 wide"),
        ({"width": 0}, "is empty or lies outside"),
        ({"sentence": "-1"}, "row 1: sentence is '-1', which is no index from 0"),
        ({"finding": ""}, "row 1: finding is empty"),
        ({"picture": "3"}, "row 1: picture is 3, and the row has 1 image"),
        ({"study_id": "z"}, "no box of .* is about the rows that are read, such as a; its keys are z"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    path = table(tmp_path / "t.csv", {**ROW, **change})
    with pytest.raises(UserError, match=sentence):
        read_truth(path, store(), "image", ["a"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("finding\nedema\n", "has no column key or study or study_id"),
        ("key,finding\na,edema\n", "lacks the column 'x'"),
        ("", "is no CSV file"),
    ],
)
def test_a_table_that_lacks_columns(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=sentence):
        read_truth(tmp_path / "t.csv", store(), "image", ["a"])
    with pytest.raises(UserError, match=r"none\.csv"):
        read_truth(tmp_path / "none.csv", store(), "image", ["a"])


def test_boxes_follow_the_geometry_of_the_view() -> None:
    query = Query(0, 0, "edema", 0, "", np.array([[0.0, 0.0, 0.5, 0.5]]))
    whole = np.array([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]])  # a view of 4 x 4 of a stored image of 8 x 8
    assert inside_of(query, whole, (4, 4), (8, 8), (2, 2)).tolist() == [True, False, False, False]
    middle = np.array([[1.0, 0, 2], [0, 1.0, 2], [0, 0, 1]])  # the middle 4 x 4 pixels of the same
    assert inside_of(query, middle, (4, 4), (8, 8), (4, 4)).reshape(4, 4)[:, 0].tolist() == [True, True, False, False]
    padded = np.array([[2.0, 0, 0.5], [0, 2.0, -7.5], [0, 0, 1]])  # 4 x 12 pixels: 4 columns of padding on both sides
    found = inside_of(query, padded, (4, 12), (8, 8), (4, 12)).reshape(4, 12)
    assert np.flatnonzero(found[0]).tolist() == [4, 5]
