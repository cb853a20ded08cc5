"""MS-CXR: phrases with boxes, from the table and from COCO's layout, and bad input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcl_jax import datasets
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from tests.datasets.chest.downstream_files import pixels_of, write_picture, write_rows

PHRASES = ("small left effusion", "heart is enlarged", "right apical pneumothorax")
CATEGORIES = ("Pleural Effusion", "Cardiomegaly", "Pneumothorax")
NAMES = ("category_name", "label_text", "path", "x", "y", "w", "h", "dicom_id", "image_width", "image_height")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Nine images of as many subjects; every third has a second phrase, and every fourth a second box."""
    rows = []
    for number in range(9):
        path = f"files/p10/p{10_000_000 + number}/s{50_000_000 + number}/d{number}.jpg"
        write_picture(tmp_path / "raw" / path, pixels_of(path))
        rows.append([CATEGORIES[number % 3], PHRASES[number % 3], path, 1, 2, 5, 6, f"d{number}", 16, 20])
        if number % 4 == 0:
            rows.append([*rows[-1][:3], 8, 3, 4, 5, *rows[-1][7:]])
        if number % 3 == 0:
            rows.append([CATEGORIES[1], PHRASES[1], path, 2, 2, 9, 9, f"d{number}", 16, 20])
    write_rows(tmp_path / "raw" / "MS_CXR_Local_Alignment_v1.0.0.csv", NAMES, rows)
    return tmp_path / "raw"


def as_json(root: Path, change: Callable[[dict[str, Any]], object] = lambda raw: None) -> None:
    """Replace the table by COCO's layout."""
    path = root / "MS_CXR_Local_Alignment_v1.0.0.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    images = {row[2]: {"id": index, "path": row[2], "width": 16} for index, row in enumerate(rows)}
    raw: dict[str, Any] = {
        "info": {"version": "1.0.0"},
        "images": list(images.values()),
        "categories": [{"id": index, "name": name, "supercategory": "x"} for index, name in enumerate(CATEGORIES)],
        "annotations": [
            {
                "id": index, "image_id": images[row[2]]["id"], "category_id": CATEGORIES.index(row[0]),
                "bbox": list(map(int, row[3:7])), "label_text": row[1] + "\n", "area": 3,
            }
            for index, row in enumerate(rows)
        ],
    }  # fmt: skip
    change(raw)
    path.with_suffix(".json").write_text(json.dumps(raw))
    path.unlink()


def test_a_row_is_a_phrase_with_its_boxes(root: Path, tmp_path: Path) -> None:
    recipe = datasets.make("ms_cxr", root, [])
    store = prepare(Request(image_size=(20, 20)), tmp_path / "store", recipe=recipe)
    assert sum(store.sizes.values()) == 12
    for split in ("train", "val", "test"):
        rows = store.read(split, ["image", "report", "lesions"])
        for index, key in enumerate(store.keys(split)):
            number, _, phrase = key.removeprefix("d").partition("-")
            first = phrase == "1"
            expected = (
                [[3, 2, 8, 8], *([[10, 3, 14, 8]] if int(number) % 4 == 0 else [])] if first else [[4, 2, 13, 11]]
            )
            code = sorted(CATEGORIES).index(CATEGORIES[int(number) % 3] if first else CATEGORIES[1])
            boxes = rows["lesions"][index]
            assert boxes[np.isfinite(boxes[:, 0])].tolist() == [[*box, code] for box in expected]
            assert store.labels(split)["labels"][index].tolist() == [code]
            assert rows["image"][index][:, 2:18].any()
            assert not rows["image"][index][:, :2].any()
            assert (rows["report"][index][:, 0] >= 0).any()
    texts = dict(recipe.tables[recipe.entries["report"].file].iter_rows())  # type: ignore[index]
    assert texts["d0-2"] == PHRASES[1]
    as_json(root)
    again = datasets.make("ms_cxr", root, [])
    assert again.rows.equals(recipe.rows)
    for old, new in zip(recipe.tables.values(), again.tables.values(), strict=True):
        assert new.cast(old.schema).equals(old)  # type: ignore[arg-type]


def test_the_data_are_restricted_as_those_of_mimic_cxr_are(root: Path) -> None:
    assert "PhysioNet" in datasets.make("ms_cxr", root, []).origin()["restriction"]


def test_bad_input(root: Path, tmp_path: Path) -> None:
    path = root / "MS_CXR_Local_Alignment_v1.0.0.csv"
    text = path.read_text()
    for old, new, match in (
        (",1,2,5,6,", ",1,2,wide,6,", r"row 1: w is 'wide', which is no number"),
        ("files/p10/p10000000/s", "../p10/p10000000/s", r"row 1: path is '\.\./p10.*not like files/p10"),
        ("small left effusion", "", r"row 1: label_text is empty"),
        ("label_text", "text", r"has no column 'label_text'"),
        (",1,2,5,6,", ",1,2,50,6,", r"the box 1, 2, 51, 8 lies outside of its image, which is 16 wide and 20 high"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(UserError, match=match):
            prepare(Request(), tmp_path / "store", recipe=datasets.make("ms_cxr", root, []))
    _, first, *_ = text.splitlines(keepends=True)
    path.write_text(text + first)
    with pytest.raises(UserError, match=r"row \d+: the box is the same as that of .*, row 1; keep one"):
        datasets.make("ms_cxr", root, [])
    path.write_text(text)
    with pytest.raises(UserError, match=r"--dataset\.mimic: .* has no folder files"):
        datasets.make("ms_cxr", root, [f"mimic={tmp_path}"])
    as_json(root, lambda raw: raw["annotations"][1].update(image_id=77))
    with pytest.raises(UserError, match=r"annotations\[1\]: there is no image 77"):
        datasets.make("ms_cxr", root, [])
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(UserError, match=r"\.json has no images; download the file again"):
        datasets.make("ms_cxr", root, [])
    path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"has no file MS_CXR_Local_Alignment"):
        datasets.make("ms_cxr", root, [])
