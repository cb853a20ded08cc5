"""The recipes of APTOS, RFMiD and PALM on drawn trees: labels, masks, splits, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.model_selection import StratifiedShuffleSplit

from mmcl_jax import datasets as recipes
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.synthetic.eyes.downstream import write_aptos, write_palm, write_rfmid
from mmcl_jax.synthetic.eyes.findings import FINDINGS

pytest.importorskip("cv2")
WRITERS = {"aptos": (write_aptos, 30), "rfmid": (write_rfmid, 20), "palm": (write_palm, 24)}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trees")
    for name, (write, images) in WRITERS.items():
        write(root / name, images, 48, 5)
    return root


@pytest.fixture
def copied(trees: Path, tmp_path: Path) -> Path:
    """A copy of the trees, to be spoilt."""
    return Path(shutil.copytree(trees, tmp_path / "trees"))


def prepared(name: str, root: Path, out: Path, *more: str) -> Store:
    command = ["prepare", "--dataset", name, "--root", str(root / name), "--out", str(out), "--image-size", "40"]
    assert main([*command, "--workers", "1", *more]) == 0
    return Store.open(out)


def test_grades_of_aptos(trees: Path, tmp_path: Path) -> None:
    store = prepared("aptos", trees, tmp_path / "store")
    table = pl.read_csv(trees / "aptos" / "train.csv", schema_overrides={"id_code": pl.String})
    order = np.random.RandomState(42).permutation(30)
    parts = {"train": order[:18], "val": order[18:24], "test": order[24:]}
    (label,) = store.schema.labels
    assert (label.name, label.kind, label.categories) == ("diagnosis", "ordinal", tuple("01234"))
    grade = dict(table.iter_rows())
    for split, rows in parts.items():
        assert set(store.keys(split)) == set(table["id_code"][rows.tolist()])
        values = store.arrays(split)["labels"][:, 0]
        assert values.tolist() == [grade[key] for key in store.keys(split)]
    # Photographs that are cut off above and below still fill the square.
    assert (np.asarray(store.arrays("train")["image"])[:, 18:22, 18:22].mean(axis=(1, 2, 3)) > 30).all()


def test_findings_of_rfmid(trees: Path, tmp_path: Path) -> None:
    store = prepared("rfmid", trees, tmp_path / "store")
    names = [name for name in FINDINGS if name not in ("HR", "ODPM")]
    entry = store.schema.entries["findings"]
    assert [column.name for column in entry.columns] == names
    assert len(names) == 43
    assert store.sizes == {"train": 12, "val": 4, "test": 4}
    words = {"train": ("Training", "Training"), "val": ("Evaluation", "Validation"), "test": ("Test", "Testing")}
    for split, (folder, word) in words.items():
        table = pl.read_csv(trees / f"rfmid/{folder}_Set/{folder}_Set/RFMiD_{word}_Labels.csv")
        expected = {f"{split}/{row[0]}": row[1:] for row in table.select("ID", *names).iter_rows()}
        values = np.asarray(store.read(split, ["findings"])["findings"][:])
        assert {key: tuple(row) for key, row in zip(store.keys(split), values, strict=True)} == expected


def test_masks_of_palm(trees: Path, tmp_path: Path) -> None:
    store = prepared("palm", trees, tmp_path / "store")
    root = trees / "palm"
    names = sorted(path.stem for path in (root / "PALM-Training400").glob("*.jpg"))
    strata = np.array([name[0] == "H" for name in names])
    train, rest = next(StratifiedShuffleSplit(1, test_size=0.4, random_state=42).split(names, strata))
    val, test = next(StratifiedShuffleSplit(1, test_size=0.5, random_state=43).split(rest, strata[rest]))
    for split, rows in (("train", train), ("val", rest[val]), ("test", rest[test])):
        assert set(store.keys(split)) == {names[row] for row in rows}
        read = store.read(split, ["disc", "atrophy"])
        for mask, folder in (("disc", "Disc_Masks"), ("atrophy", "Lesion_Masks/Atrophy")):
            assert store.schema.entries[mask].columns[0].categories == ("none", mask)
            for key, values in zip(store.keys(split), np.asarray(read[mask][:]), strict=True):
                path = root / folder / f"{key}.bmp"
                if path.exists():
                    image = Image.open(path).resize((40, 40), Image.Resampling.NEAREST)
                    assert np.array_equal(values[..., 0], np.asarray(image) == 0)
                    assert values.any()
                else:
                    assert mask == "atrophy"
                    assert key.startswith("N")
                    assert not values.any()
    three = recipes.make("palm", root, ("stratify=prefix",)).splits
    assert three is not None
    assert {name[0] for name in three["test"]} == {"H", "N", "P"}


def test_a_disc_mask_that_is_absent_is_absent(copied: Path, tmp_path: Path) -> None:
    gone = sorted((copied / "palm/Disc_Masks").iterdir())[0]
    gone.unlink()
    store = prepared("palm", copied, tmp_path / "store")
    present = {}
    for split in store.sizes:
        rows = store.read(split, ["disc"])["disc"]
        has = np.ones(store.sizes[split], bool) if rows.present is None else rows.present
        present |= dict(zip(store.keys(split), has.tolist(), strict=True))
    assert [key for key, there in present.items() if not there] == [gone.stem]


def test_a_row_without_photograph_or_with_an_unknown_grade_is_refused_or_listed(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pl.read_csv(copied / "aptos/train.csv", infer_schema=False)
    (copied / "aptos/train_images" / f"{table['id_code'][0]}.png").unlink()
    grades = ["7", *table["diagnosis"][:-1]][::-1]  # the last row is of no grade
    table.with_columns(pl.Series("diagnosis", grades)).write_csv(copied / "aptos/train.csv")
    command = ["prepare", "--dataset", "aptos", "--root", str(copied / "aptos"), "--out", str(tmp_path / "store")]
    assert main([*command, "--workers", "1"]) == 2
    assert "'7'" in capsys.readouterr().err
    assert main([*command, "--workers", "1", "--image-size", "40", "--max-bad", "0.1"]) == 0
    listed = (tmp_path / "store" / "quarantine.jsonl").read_text()
    assert listed.count("\n") == 2
    assert "'7'" in listed
    assert f"{table['id_code'][0]}.png does not exist" in listed


def without(path: str, column: str) -> Callable[[Path], object]:
    """Drop a column of a table."""
    return lambda root: pl.read_csv(root / path, infer_schema=False).drop(column).write_csv(root / path)


TRAINING, TEST = "rfmid/Training_Set/Training_Set", "rfmid/Test_Set/Test_Set"
BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no grades": ("aptos", lambda root: (root / "aptos/train.csv").unlink(), r"train\.csv does not exist"),
    "no column": ("aptos", without("aptos/train.csv", "diagnosis"), r"train\.csv has no column diagnosis"),
    "no folder": ("aptos", lambda root: shutil.rmtree(root / "aptos/train_images"), r"train_images does not exist"),
    "no labels": (
        "rfmid", lambda root: (root / TEST / "RFMiD_Testing_Labels.csv").unlink(), r"Testing_Labels\.csv does not",
    ),
    "no images": ("rfmid", lambda root: shutil.rmtree(root / TEST / "Test"), r"Test_Set/Test does not exist"),
    "other findings": (
        "rfmid", without(f"{TEST}/RFMiD_Testing_Labels.csv", "DR"), r"Testing_Labels\.csv has other findings",
    ),
    "no ID": ("rfmid", without(f"{TRAINING}/RFMiD_Training_Labels.csv", "ID"), r"has no column ID"),
    "no masks": ("palm", lambda root: shutil.rmtree(root / "palm/Disc_Masks"), r"Disc_Masks does not exist"),
    "too few": (
        "palm",
        lambda root: [path.unlink() for path in (root / "palm/PALM-Training400").glob("H*") if path.stem != "H0001"],
        r"19 of the others, 1 of H\) are too few to be divided",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_trees_are_named(name: str, copied: Path) -> None:
    dataset, spoil, sentence = BAD[name]
    spoil(copied)
    with pytest.raises(UserError, match=sentence):
        recipes.make(dataset, copied / dataset, ())


@pytest.mark.parametrize(
    ("dataset", "option", "sentence"),
    [
        ("aptos", "crop=round", r"--dataset\.crop: 'round' is not of type"),
        ("rfmid", "crop=round", r"--dataset\.crop: 'round' is not of type"),
        ("palm", "stratify=N", r"--dataset\.stratify: 'N' is not of type"),
    ],
)
def test_bad_options_are_named(dataset: str, option: str, sentence: str, trees: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        recipes.make(dataset, trees / dataset, (option,))
