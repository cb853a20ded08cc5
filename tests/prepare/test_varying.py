"""Rows with fewer images than others, equalised histograms, and masks that a table holds as text."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.images.files import Fit, read_image
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request

COUNT = 12


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images of one to three views per row, and masks of them as text."""
    lines, masks = ["id,front,side,back"], ["id,runs"]
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for row in range(COUNT):
        names = [f"{row}-{view}.png" for view in range(row % 3 + 1)]
        for name in names:
            Image.fromarray(random.integers(50, 90, (4, 6), np.uint8)).save(tmp_path / "images" / name)
        lines.append(",".join([f"r{row}", *names, *[""] * (3 - len(names))]))
        masks.append(f"r{row},{f'{row} 2' if row % 2 else '-1'}")
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    (tmp_path / "masks.csv").write_text("\n".join(masks))
    return tmp_path


def request_of(root: Path, **more: object) -> Request:
    return Request.from_json({"table": root / "rows.csv", "images": root / "images", "key_column": "id", **more})


def test_a_row_has_as_many_images_as_cells(root: Path) -> None:
    columns = {"image_column": ["front", "side", "back"], "stack": "varying"}
    store = prepare(request_of(root, **columns), root / "store")
    stored = Store.open(store.directory)
    assert stored.schema.entries["image"].pictures == 3
    for split in ("train", "val", "test"):
        images = stored.read(split, ["image"])["image"]
        for index, key in enumerate(stored.keys(split)):
            row = int(key[1:])
            assert images.counts[index] == row % 3 + 1
            for view in range(3):
                path = root / "images" / f"{row}-{view}.png"
                expected = np.asarray(Image.open(path)) if path.is_file() else np.zeros((4, 6), np.uint8)
                np.testing.assert_array_equal(images[index][view, ..., 0], expected)
    # Later rows of the same kind, none of which has three images.
    text = (root / "rows.csv").read_text().splitlines()
    (root / "later.csv").write_text("\n".join([text[0], *(line for line in text[1:] if line.endswith(","))]))
    later = Request.from_json(
        {"table": root / "later.csv", "images": root / "images", "key_column": "id", "like": store.directory,
         "image_column": ["front", "side", "back"]}
    )  # fmt: skip
    assert prepare(later, root / "later").schema.entries["image"].stored == (3, 4, 6, 1)
    with pytest.raises(UserError, match=r"The cell in the image column 'side' is empty"):
        prepare(request_of(root, image_column=["front", "side", "back"], stack="views"), root / "views")
    (root / "images" / "2-1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"Row 3 of .*2-1\.png cannot be read"):
        prepare(request_of(root, **columns), root / "broken")


def test_histograms_are_equalised_at_the_size_of_the_file(root: Path) -> None:
    path = root / "images" / "0-0.png"
    equal = ImageOps.equalize(Image.open(path))
    for shape in ((4, 6, 1), (2, 3, 1)):
        found, _ = read_image(str(path), shape, Fit(equalise=True))
        expected = equal.resize(shape[1::-1], Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(found[..., 0], np.asarray(expected))
    deep, _ = read_image(
        str(path), (4, 6, 1), Fit(equalise=True), read=lambda file: np.asarray(Image.open(file))[..., None]
    )
    np.testing.assert_array_equal(deep[..., 0], np.asarray(equal))
    assert "histogram equalised" in Fit(equalise=True).describe()
    with pytest.raises(UserError, match=r"--equalise: a histogram of 8 bits is equalised; leave out --bits 16"):
        Request(equalise=True, bits=16)


def test_masks_as_text(root: Path) -> None:
    mask = {
        "kind": "mask", "of": "image", "file": str(root / "masks.csv"), "key": "id", "column": "runs", "draw": "runs",
        "classes": {"none": 0, "lesion": 1},
    }  # fmt: skip
    store = prepare(
        request_of(root, image_column="front", ignore=["side", "back"], targets={"lesion": mask}), root / "s"
    )
    for split in ("train", "val", "test"):
        masks = store.read(split, ["lesion"])["lesion"]
        for index, key in enumerate(store.keys(split)):
            flat, row = np.zeros(24), int(key[1:])
            flat[row : row + 2] = row % 2
            np.testing.assert_array_equal(masks[index][..., 0], flat.reshape(6, 4).T)
    for change, match in (
        ({"folder": str(root)}, "draw needs file and column"), ({"empty": True}, "empty is for files; .* is -1"),
        ({"draw": "circles"}, "'circles' is not one of runs"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=match):
            request_of(root, image_column="front", targets={"lesion": {**mask, **change}})


def test_boxes_belong_to_one_image_of_a_row(root: Path) -> None:
    (root / "boxes.csv").write_text("id,x0,y0,x1,y1,class\nr0,0,0,2,2,spot\n")
    boxes = {"kind": "boxes", "of": "image", "file": str(root / "boxes.csv"), "key": "id"}
    for stack, columns in (("varying", ["front", "side", "back"]), ("channels", ["front", "front_again"])):
        text = (root / "rows.csv").read_text().splitlines()
        rows = [f"{line},{'front_again' if not index else line.split(',')[1]}" for index, line in enumerate(text)]
        (root / "again.csv").write_text("\n".join(rows))
        ignored = [name for name in ("front", "side", "back", "front_again") if name not in columns]
        request = request_of(root, image_column=columns, stack=stack, ignore=ignored, targets={"lesions": boxes})
        with pytest.raises(UserError, match=r"lesions: 'image' has \d images per row; boxes belong to one image"):
            prepare(Request.from_json({**request.to_json(), "table": root / "again.csv"}), root / stack)


def test_an_entry_of_16_bits_cannot_be_equalised(root: Path) -> None:
    entry = {"kind": "image", "folder": str(root / "images"), "files": "{key}-0.png", "bits": 16}
    (root / "keys.csv").write_text("\n".join(["id,age", *(f"{row},{row}" for row in range(COUNT))]))
    for own, whole in (({"equalise": True}, {}), ({}, {"equalise": True})):
        request = Request.from_json(
            {"table": root / "keys.csv", "key_column": "id", "entries": {"film": {**entry, **own}}, **whole}
        )
        with pytest.raises(UserError, match=r"film: equalise: a histogram of 8 bits is equalised; leave it out, or"):
            prepare(request, root / "store")
