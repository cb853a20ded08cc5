"""LoVT's downstream data sets: boxes, masks and splits of files in their layouts, and bad input."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from mmcl_jax import datasets
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from tests.datasets.chest.downstream_files import HEIGHT, OBJECTS, WIDTH, WRITERS, pixels_of, write_rows

pytest.importorskip("pydicom")
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chest")
    for name, write in WRITERS.items():
        write(root / name)
    return root


@pytest.fixture
def copied(roots: Path, tmp_path: Path) -> Path:
    """A copy of the files, to be spoilt."""
    return Path(shutil.copytree(roots, tmp_path / "raw"))


def prepared(name: str, roots: Path, out: Path, *more: str) -> Store:
    command = ["prepare", "--dataset", name, "--root", str(roots / name), "--out", str(out)]
    assert main([*command, "--aspect", "pad", *more]) == 0
    return Store.open(out)


def rows_of(store: Store) -> dict[str, dict[str, np.ndarray]]:
    """All entries of every row, by key."""
    found = {}
    for split in SPLITS:
        arrays = {name: np.asarray(rows) for name, rows in store.read(split, list(store.schema.entries)).items()}
        for index, key in enumerate(store.keys(split)):
            found[key] = {name: arrays[name][index] for name in store.schema.entries}
    return found


def boxes_of(row: dict[str, np.ndarray]) -> list[list[float]]:
    return [box.tolist() for box in row["lesions"] if np.isfinite(box[0])]


def equalised(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(ImageOps.equalize(Image.fromarray(pixels)))


def test_rsna(roots: Path, tmp_path: Path) -> None:
    """Boxes in pixels of the stored image, their union as mask, and the pixels as they are."""
    store = prepared("rsna", roots, tmp_path / "store")
    assert store.sizes == {"train": 12, "val": 4, "test": 4}
    assert store.schema.entries["lesions"].columns[0].categories == ("opacity",)
    rows = rows_of(store)
    assert len(rows) == 20
    for key, row in rows.items():
        number = int(key[:4])
        np.testing.assert_array_equal(row["image"][..., 0], pixels_of(key))
        expected = [] if number % 2 else [[2, 3, 7, 9]]
        expected += [[9, number % 8, 16, number % 8 + 12]] if number % 4 == 0 else []
        assert boxes_of(row) == [[*box, 0] for box in expected]
        mask = np.zeros((HEIGHT, WIDTH))
        for left, top, right, bottom in expected:
            mask[top:bottom, left:right] = 1
        np.testing.assert_array_equal(row["mask"][..., 0], mask)
        assert row["labels"].tolist() == [1 - number % 2]


def test_siim(roots: Path, tmp_path: Path) -> None:
    """Run lengths count down the columns; annotations are joined; histograms are equalised."""
    store = prepared("siim", roots, tmp_path / "store")
    rows = rows_of(store)
    assert len(rows) == 20
    for key, row in rows.items():
        number = int(key.rpartition(".")[2])
        np.testing.assert_array_equal(row["image"][..., 0], equalised(pixels_of(key)))
        flat = np.zeros(HEIGHT * WIDTH)
        if number % 3 == 0:
            flat[21:24] = flat[41:45] = 1
        if number == 0:
            flat[:2] = 1
        np.testing.assert_array_equal(row["mask"][..., 0], flat.reshape(WIDTH, HEIGHT).T)
    plain = datasets.make("siim", roots / "siim", ["equalise=False"])
    assert "equalise" not in plain.fields
    assert "aspect" not in datasets.make("siim", roots / "siim", ["pad=False"]).fields
    assert (plain.steps[0].before, plain.steps[0].after) == (21, 20)


def test_covid_rural(roots: Path, tmp_path: Path) -> None:
    """Colours are averaged; images without a mask are left out; no patient is in two splits."""
    store = prepared("covid_rural", roots, tmp_path / "store")
    rows, folder = rows_of(store), roots / "covid_rural" / "covid_rural_annot"
    assert len(rows) == 19
    for key, row in rows.items():
        colours = np.asarray(Image.open(folder / "jpgs" / f"{key}.jpg"), np.float64)
        np.testing.assert_array_equal(row["image"][..., 0], equalised(np.rint(colours.mean(axis=2)).astype(np.uint8)))
        np.testing.assert_array_equal(row["mask"][..., 0], np.asarray(Image.open(folder / "pngs_masks" / f"{key}.png")))
    assert store.schema.entries["mask"].columns[0].categories == ("none", "opacity")
    groups = [set(store.group(split).tolist()) for split in SPLITS]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert "images with a mask" in (store.directory / "findings.json").read_text()


@pytest.mark.parametrize("boxes", ["right", "released"])
def test_object_cxr(roots: Path, tmp_path: Path, boxes: str) -> None:
    store = prepared("object_cxr", roots, tmp_path / "store", f"--dataset.boxes={boxes}")
    rows = rows_of(store)
    assert store.sizes == {"train": 16, "val": 4, "test": 6}
    assert set(store.keys("test")) == {f"{number:05d}" for number in range(20, 26)}
    of = {
        "right": [[2, 3, 8, 5], [4, 6, 12, 9], [1, 1, 12, 6]],
        "released": [[2, 3, 4, 9], [4, 6, 7, 14], [1, 1, 6, 12]],
    }
    for key, row in rows.items():
        text = OBJECTS[int(key) % 4]
        expected = of[boxes][:2] if ";" in text else of[boxes][2:] if text else []
        assert boxes_of(row) == [[*box, 0] for box in expected]
        mask = Image.new("L", (WIDTH, HEIGHT))
        if ";" in text:
            for left, top, right, bottom in of["right"][:2]:
                mask.paste(1, (left, top, right, bottom))
        elif text:
            corners = [(1, 1), (12, 1), (12, 6), (1, 6)]
            ImageDraw.Draw(mask).polygon([point[::-1] for point in corners] if boxes == "released" else corners, fill=1)
        np.testing.assert_array_equal(row["mask"][..., 0], np.asarray(mask))


def test_nih_boxes(roots: Path, tmp_path: Path) -> None:
    """A mask per class, since boxes of classes overlap."""
    store = prepared("nih_boxes", roots, tmp_path / "store", "--dataset.classes=('mass','effusion')")
    rows = rows_of(store)
    kept = [number for number in range(20) if number % 5 == 0 or number % 4 in (2, 3)]
    assert sorted(rows) == [f"{number // 2:08d}_{number:03d}" for number in kept]
    assert store.schema.entries["lesions"].columns[0].categories == ("mass", "effusion")
    for key, row in rows.items():
        number, masks = int(key[-3:]), {name: np.zeros((HEIGHT, WIDTH)) for name in ("mask_mass", "mask_effusion")}
        expected = [[1.5, 2, 7.75, 10, number % 4 - 2]] if number % 4 in (2, 3) else []
        expected += [[8, 9, 12, 13, 0]] if number % 5 == 0 else []
        assert boxes_of(row) == expected
        for left, top, right, bottom, code in expected:
            sides = round(left), round(top), round(right), round(bottom)
            masks["mask_effusion" if code else "mask_mass"][sides[1] : sides[3], sides[0] : sides[2]] = 1
        for name, mask in masks.items():
            np.testing.assert_array_equal(row[name][..., 0], mask)
    whole = datasets.make("nih_boxes", roots / "nih_boxes", ["no_finding=3"])
    assert whole.rows["positive"].to_list().count(False) == 3
    assert len(whole.targets) == 9
    for option, match in (
        ("no_finding=6", "has 5 images without a finding"), ("classes=('nodul',)", "there is no class 'nodul'.*nodule"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=match):
            datasets.make("nih_boxes", roots / "nih_boxes", [option])


def test_released_lists(roots: Path, tmp_path: Path) -> None:
    """Both headers, by the recipe's option, with the first rows as subsets, and by --split-ids."""
    keys = [f"{number:04d}-rsna" for number in range(20)][::-1]
    parts = {"train": keys[:12], "validation": keys[12:16], "test": keys[16:]}
    for name, part in parts.items():
        write_rows(
            tmp_path / f"{name}.csv", ("ID", "boxes", "classes"), [(key, "2;3;5;6|1;1;2;2", "1|1") for key in part]
        )
    recipe = datasets.make("rsna", roots / "rsna", [f"ids={tmp_path}"])
    assert recipe.splits == {"train": keys[:12], "val": keys[12:16], "test": keys[16:]}
    assert recipe.subsets == {"train_1": keys[:1], "train_10": keys[:1]}
    assert recipe.rows["image"].to_list() == keys  # so that `mmcl evaluate --first` takes the first rows of the lists
    cut = datasets.make("rsna", roots / "rsna", [f"ids={tmp_path}", "validation_rows=3"])
    assert cut.splits == {"train": keys[:12], "val": keys[12:15], "test": keys[16:]}
    assert cut.rows["image"].to_list() == [*keys[:15], *keys[16:]]
    assert "behind the first 3 of validation" in cut.steps[-2].what
    for options, match in (
        (["validation_rows=3"], r"validation_rows needs --dataset\.ids"),
        ([f"ids={tmp_path}", "validation_rows=0"], "validation_rows=0 is not a number from 1 on"),
    ):
        with pytest.raises(UserError, match=match):
            datasets.make("rsna", roots / "rsna", options)
    with pytest.raises(UserError, match=r"no_finding: the lists of --dataset\.ids choose them"):
        datasets.make("nih_boxes", roots / "nih_boxes", [f"ids={tmp_path}", "no_finding=3"])
    for name, part in parts.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(["ID", *part]))
    lists = tuple(tmp_path / f"{name}.csv" for name in parts)
    plain = datasets.make("rsna", roots / "rsna", [])
    store = prepare(Request(split_ids=lists), tmp_path / "store", recipe=plain)
    assert set(store.keys("val")) == set(keys[12:16])
    (tmp_path / "test.csv").unlink()
    with pytest.raises(UserError, match=r"--dataset\.ids: .*test\.csv does not exist"):
        datasets.make("rsna", roots / "rsna", [f"ids={tmp_path}"])


def spoil(path: Path, old: str, new: str) -> Callable[[Path], None]:
    """Return a change of a text file below the root."""

    def change(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new, 1))

    return change


def row_again(root: Path) -> None:
    lines = (root / NIH).read_text().splitlines()
    (root / NIH).write_text("\n".join([*lines, lines[1], ""]))


def without_rows(root: Path) -> None:
    path = root / RSNA
    path.write_text(path.read_text().partition("\n")[0] + "\n")


def twin_of(pattern: str) -> Callable[[Path], None]:
    """Return a change that copies the first file of a pattern to another folder."""

    def change(root: Path) -> None:
        path = min(root.rglob(pattern))
        top = root / path.relative_to(root).parts[0]
        shutil.copy(path, top / path.name)

    return change


def smaller_mask(root: Path) -> None:
    path = next((root / "covid_rural_annot" / "pngs_masks").glob("*.png"))
    Image.open(path).resize((WIDTH, HEIGHT - 1)).save(path)


RSNA, RLE, NIH = Path("stage_2_train_labels.csv"), Path("train-rle.csv"), Path("BBox_List_2017.csv")
DEV = Path("input/dev.csv")
BAD = (
    ("rsna", spoil(RSNA, "2.0,3.0,5.0", "12.0,3.0,5.0"), r"from 12, 3, 17, 9, outside of its image, which is 16"),
    ("rsna", spoil(RSNA, "2.0,3.0,5.0", "2.0,3.0,-5.0"), r"row 1: the box has the width -5 and the height 6"),
    ("rsna", spoil(RSNA, "2.0,3.0", "two,3.0"), r"labels\.csv, row 1: x is 'two', which is no number"),
    ("rsna", spoil(RSNA, ",1\n", ",0\n"), r"row 1: Target is 0, and the box is .*; they disagree"),
    ("rsna", spoil(RSNA, "0000-rsna", "0000-gone"), r"0000-gone\.dcm does not exist"),
    ("rsna", spoil(RSNA, "patientId,x,", "patientId,x,x,"), r"labels\.csv has the column 'x' twice; keep one"),
    ("rsna", spoil(RSNA, "2.0,3.0", "2.0,7,3.0"), r"labels\.csv, row 1: it has 7 cells, and the header has 6"),
    ("rsna", spoil(RSNA, "0001-rsna", "0003-rsna"), r"labels\.csv, row 5: it is the same as row 3; keep one"),
    ("rsna", without_rows, r"labels\.csv has a header and no row; download it again"),
    ("siim", twin_of("*.dcm"), r"two files named 1\.2\.276\.0\.dcm, 1.*dcm and a\.0/b\.0/1.*dcm; move one away"),
    ("nih_boxes", twin_of("*.png"), r"two files named .*\.png, images/.*png and images/images_01.*; move one away"),
    ("siim", spoil(RLE, " 21 3 17 4", "21 3 400 4"), r"276\.0' has a run that ends at pixel 428, and its im"),
    ("siim", spoil(RLE, " 21 3 17 4", "21 3 17"), r"'1\.2\.276\.0' has 3 run lengths; they are pairs"),
    ("siim", spoil(RLE, " 21 3 17 4", "21 -3"), r"'1\.2\.276\.0' has the run length '-3'"),
    ("siim", spoil(RLE, "1.2.276.1,", "1.2.276.99,"), r"row 2: .*dicom-images-train has no file 1\.2\.276\.99\.dcm"),
    ("covid_rural", smaller_mask, r"has the size 19 x 16 and its image .* has 20 x 16"),
    ("object_cxr", spoil(DEV, "0 2 3 8 5", "0 2 3 18 5"), r"'00020' has a shape from 2, 3, 18, 5, outside of its"),
    ("object_cxr", spoil(DEV, "0 2 3 8 5", "3 2 3 8 5"), r"dev\.csv, row 1 has the shape '3 2 3 8 5'; write"),
    ("object_cxr", spoil(DEV, "0 2 3 8 5", "0 2 3 8 a"), r"row 1 has the shape '0 2 3 8 a', which holds no"),
    ("nih_boxes", spoil(NIH, "Infiltrate", "Infiltration"), r"row \d+: Finding Label: there is no class 'inf"),
    ("nih_boxes", row_again, r"2017\.csv, row \d+: it is the same as row 1; keep one"),
    ("nih_boxes", spoil(NIH, "00000000_001", "00000000_901"), r"there is no image 00000000_901\.png below"),
)  # fmt: skip


@pytest.mark.parametrize("index", range(len(BAD)), ids=lambda index: f"{BAD[index][0]}-{index}")
def test_bad_input(index: int, roots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, status 2, and nothing is left behind."""
    name, change, match = BAD[index]
    root = Path(shutil.copytree(roots / name, tmp_path / "raw"))
    change(root)
    assert main(["prepare", "--dataset", name, "--root", str(root), "--out", str(tmp_path / "store")]) == 2
    (sentence,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mmcl prepare: ")]
    with pytest.raises(UserError, match=match):
        raise UserError(sentence)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
