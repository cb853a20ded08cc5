"""MIMIC-CXR: studies with their frontal images and reports, official splits, labels, and bad input."""

import gzip
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcl_jax import datasets
from mmcl_jax.cli.main import main
from mmcl_jax.data.kinds.text import SPECIAL, words_by_sentence
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.reports.sentences import split_sentences
from mmcl_jax.prepare.request import Request
from tests.datasets.chest.files import compressed, images_of, write_mimic

BASE = "mimic-cxr-jpg_2-0-0"
LABELS = ["cardiomegaly", "edema", "consolidation", "atelectasis", "pleural_effusion", "support_devices", "view"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mimic")
    write_mimic(root)
    return root


@pytest.fixture(scope="module")
def store(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    out = tmp_path_factory.mktemp("stores") / "mimic"
    assert main(["prepare", "--dataset", "mimic_cxr", "--root", str(root), "--out", str(out)]) == 0
    return Store.open(out)


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    """The files without the images, which no reader of tables opens."""
    shutil.copytree(root, tmp_path / "raw", ignore=shutil.ignore_patterns("*.jpg"))
    return tmp_path / "raw"


CLEAR = "There is a small left pleural effusion. The heart is of normal size."


def subject_of(study: int) -> int:
    return (study - 50_000_000) // 2


def test_a_row_is_a_study_with_its_frontal_images(root: Path, store: Store) -> None:
    """Of every study all frontal images and no lateral one; a study without frontal images is no row."""
    seen = 0
    for split in ("train", "val", "test"):
        images = store.read(split, ["image"])["image"]
        assert images.shape[1:] == (2, 12, 10, 1)
        for index, key in enumerate(store.keys(split)):
            study = int(key)
            subject = 10_000_000 + 100_000 * subject_of(study)
            frontal = [name for name, view in images_of(study) if view in ("AP", "PA")]
            assert images.counts[index] == len(frontal)
            for place, name in enumerate(frontal):
                path = root / BASE / f"files/p{str(subject)[:2]}/p{subject}/s{study}/{name}.jpg"
                np.testing.assert_array_equal(images[index][place, ..., 0], np.asarray(Image.open(path)))
            assert not images[index][len(frontal) :].any()
            seen += 1
        words = {"train": (0, 1), "val": (2,), "test": (3,)}[split]
        assert {subject_of(int(key)) % 4 for key in store.keys(split)} == set(words)
    assert seen == 24 - sum(study % 8 == 7 for study in range(50_000_000, 50_000_024))
    assert len(set(store.group("train").tolist())) == 6


def test_labels_of_chexpert(store: Store) -> None:
    """Uncertain is positive and blank negative, in LoVT's order; the age is that of the day of the study."""
    assert [label.name for label in store.schema.labels] == [*LABELS, "sex", "age"]
    order = ["atelectasis", "cardiomegaly", "consolidation", "edema", "fracture", "pleural_effusion", "support_devices"]
    values, keys = np.asarray(store.labels("train")["labels"]), store.keys("train")
    for row, key in zip(values, keys, strict=True):
        for index, name in enumerate(LABELS[:6]):
            assert row[index] == (1.0, 0.0, 1.0, 0.0)[(int(key) + order.index(name)) % 4]
        number = subject_of(int(key))
        frontal = {view for _, view in images_of(int(key)) if view != "LATERAL"}
        assert ("AP", "PA", "both")[int(row[6])] == (frontal.pop() if len(frontal) == 1 else "both")
        assert (row[7], row[8]) == (1 - number % 2, 40 + number + 2)


def test_reports_are_findings_then_impression(root: Path, store: Store) -> None:
    recipe = datasets.make("mimic_cxr", root, [])
    assert recipe.steps[-1].what == "studies; 3 have neither findings nor impression"
    for split in ("train", "val", "test"):
        rows = store.read(split, ["report"])["report"]
        for row, key in enumerate(store.keys(split)):
            effusion = [*split_sentences(CLEAR.lower()), "small effusion of patient"]
            expected = (effusion, ["no acute process in patient"], effusion, None)[int(key) % 4]
            assert rows.present[row] == (expected is not None)
            if expected is not None:
                words = words_by_sentence(np.asarray(rows[row]), store.names("report"))
                assert [*words[:-1]] == expected[:-1]
                assert words[-1].startswith(expected[-1])  # the number of a subject may have an unknown digit
    assert store.names("report")[:5] == SPECIAL
    assert not store.schema.entries["report"].show_text


def test_options(root: Path) -> None:
    other = datasets.make("mimic_cxr", root, ["uncertain=missing", "blank=missing", "share=0.3", "most=1"])
    train = datasets.make("mimic_cxr", root, []).splits["train"]
    assert other.splits["train"] == train[: int(0.3 * len(train))]  # in the order of subjects
    assert other.image_columns == ("image",)
    assert other.fields["aspect"] == "pad"
    assert "aspect" not in datasets.make("mimic_cxr", root, ["pad=False"]).fields
    assert "beyond the first 1 of a study are left out" in other.steps[1].what
    cells = dict(zip(other.rows["study"], other.rows["atelectasis"], strict=True))
    assert {cells[key] for key in cells if int(key) % 4 >= 2} == {None}
    assert datasets.make("mimic_cxr", root, ["uncertain=negative"]).rows["atelectasis"].null_count() == 0
    for option, match in (
        ("uncertain=maybe", r"--dataset\.uncertain"), ("share=0", r"--dataset\.share=0 is not a share"),
        ("most=0", r"--dataset\.most=0"), ("reports=none.zip", r"--dataset\.reports: neither none.zip nor"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=match):
            datasets.make("mimic_cxr", root, [option])


def test_reports_of_a_folder(copied: Path) -> None:
    expected = datasets.make("mimic_cxr", copied, [])
    with zipfile.ZipFile(copied / "mimic-cxr-reports.zip") as archive:
        archive.extractall(copied / "unpacked")
    again = datasets.make("mimic_cxr", copied, ["reports=unpacked"])
    assert next(iter(again.tables.values())).equals(next(iter(expected.tables.values())))
    path = next((copied / "unpacked").rglob("*.txt"))
    for content, match in (
        (b"\xff\xfe\x00F", "is not a text in UTF-8"), (b"FINDINGS\0", "holds zero bytes"),
        (b"x" * 1_000_001, "has 1,000,001 bytes, and more than 1,000,000 are refused"),
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(UserError, match=match):
            datasets.make("mimic_cxr", copied, ["reports=unpacked"])
    path.unlink()
    with pytest.raises(UserError, match=rf"The report .*{path.name} does not exist"):
        datasets.make("mimic_cxr", copied, ["reports=unpacked"])


def test_bad_reports(copied: Path) -> None:
    path = copied / "mimic-cxr-reports.zip"
    whole = path.read_bytes()
    middle = len(whole) // 8
    path.write_bytes(whole[:middle] + bytes(40) + whole[middle + 40 :])
    with pytest.raises(UserError, match=r"The report files/.* in .*reports\.zip cannot be read"):
        datasets.make("mimic_cxr", copied, [])
    with (
        zipfile.ZipFile(copied / "lzma.zip", "w", zipfile.ZIP_LZMA) as packed,
        zipfile.ZipFile(io.BytesIO(whole)) as was,
    ):
        for name in was.namelist():
            packed.writestr(name, was.read(name))
    content = (copied / "lzma.zip").read_bytes()
    middle = len(content) // 8
    path.write_bytes(content[:middle] + bytes(400) + content[middle + 400 :])
    with pytest.raises(UserError, match=r"The report files/.* in .*reports\.zip cannot be read"):
        datasets.make("mimic_cxr", copied, [])
    path.write_bytes(whole[:-30])
    with pytest.raises(UserError, match=r"reports\.zip is no zip that can be read"):
        datasets.make("mimic_cxr", copied, [])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../files/p10/p10000000/s50000000.txt", "FINDINGS: x")
    with pytest.raises(UserError, match=r"has no report files/p10/p10000000/s50000000\.txt, whose study is listed"):
        datasets.make("mimic_cxr", copied, [])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("files/p10/p10000000/s50000000.txt", "FINDINGS: " + "x" * 5_000_000)
    with pytest.raises(UserError, match=r"s50000000\.txt in .* has 5,000,010 bytes, and more than 1,000,000"):
        datasets.make("mimic_cxr", copied, [])
    path.unlink()
    with pytest.raises(UserError, match=r"--root: the zip of the reports is missing: .*mimic-cxr-reports\.zip or"):
        datasets.make("mimic_cxr", copied, [])


def test_bad_tables(copied: Path) -> None:
    for name, old, new, match in (
        ("split", ",train", ",training", r"split\.csv\.gz, row 1: split is 'training'; it must be train, validate"),
        ("split", "a50000000-1", "a5-1", r"split\.csv\.gz has no row of 1 frontal image of .*'a50000000-1'"),
        ("split", "a50000000-1,", "../x,", r"dicom_id is '\.\./x', which is no id of an image"),
        ("metadata", "a50000000-1,10000000", "a50000000-1,../..", r"row 1: subject_id is '\.\./\.\.'; an id"),
        ("metadata", "ViewPosition", "View", r"metadata\.csv\.gz has no column 'ViewPosition'"),
        ("chexpert", "50000000,1.0", "50000000,2.0", r"chexpert\.csv\.gz, row 1: Atelectasis is '2'; it must be 1\.0"),
        ("chexpert", "50000001", "50000000", r"chexpert\.csv\.gz has the study 50000000 twice"),
    ):  # fmt: skip
        path = copied / BASE / f"mimic-cxr-2.0.0-{name}.csv.gz"
        whole = path.read_bytes()
        text = gzip.decompress(whole).decode()
        assert old in text
        compressed(path, text.replace(old, new, 1).splitlines())
        with pytest.raises(UserError, match=match):
            datasets.make("mimic_cxr", copied, [])
        path.write_bytes(whole)
    lines = gzip.decompress(whole).decode().splitlines()
    others = [lines[0], *(line.replace(",5", ",7", 1) for line in lines[1:])]
    for table, match in ((lines[:1], "a header and no row"), (others, "no study of these images, so there are no")):
        compressed(path, table)
        with pytest.raises(UserError, match=rf"chexpert\.csv\.gz has {match}"):
            datasets.make("mimic_cxr", copied, [])
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"chexpert\.csv\.gz cannot be read"):
        datasets.make("mimic_cxr", copied, [])
    path.unlink()
    with pytest.raises(UserError, match=r"--root: the table of chexpert is missing"):
        datasets.make("mimic_cxr", copied, [])
    shutil.rmtree(copied / BASE / "files")
    with pytest.raises(UserError, match=r"has neither mimic-cxr-jpg_2-0-0/files nor files"):
        datasets.make("mimic_cxr", copied, [])


def test_a_study_without_its_image(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No image file was copied: the first sentence, status 2, and nothing is left behind."""
    out = tmp_path / "store"
    assert main(["prepare", "--dataset", "mimic_cxr", "--root", str(copied), "--out", str(out)]) == 2
    assert "a50000000-1.jpg does not exist." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_the_inner_cohort(root: Path, tmp_path: Path) -> None:
    """Rows without report are left out and counted; if none is left, that is said."""
    recipe = datasets.make("mimic_cxr", root, [])
    inner = prepare(Request(cohort="inner"), tmp_path / "inner", recipe=recipe)
    assert sum(inner.sizes.values()) == len(recipe.rows) - 3
    assert (tmp_path / "inner" / "quarantine.jsonl").read_text().count("no report") == 3
    write_mimic(tmp_path / "none", 8, reports=dict.fromkeys(range(50_000_000, 50_000_016), " WET READ: x\n"))
    bare = datasets.make("mimic_cxr", tmp_path / "none", [])
    with pytest.raises(UserError, match=r"entries\.report: none of its rows has both a key and a value"):
        prepare(Request(cohort="inner"), tmp_path / "store", recipe=bare)


def test_the_data_are_restricted_unless_they_are_drawn(root: Path, copied: Path) -> None:
    assert "PhysioNet" in datasets.make("mimic_cxr", root, []).origin()["restriction"]
    (copied / "drawn.json").write_text("{}")
    assert "restriction" not in datasets.make("mimic_cxr", copied, []).origin()
