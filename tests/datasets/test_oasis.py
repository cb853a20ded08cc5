"""OASIS-3: drawn heads and their truth, folds with a hold-out, BIDS trees, and bad input."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from mmcl_jax import datasets
from mmcl_jax.data.affine import affine_of, nifti_axes
from mmcl_jax.data.store import Store
from mmcl_jax.datasets.oasis.bids import Scan, paired
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.images.falff import falff
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.synthetic.heads.anatomy import REGIONS, Head, tissues
from mmcl_jax.synthetic.heads.generator import generate_oasis
from tests.docs.blocks import blocks_of

nibabel = pytest.importorskip("nibabel")
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("heads") / "oasis"
    assert generate_oasis(root, subjects=60, size=16, visits=3) == ("--dataset.brain_mask=brain_mask.nii.gz",)
    return root


@pytest.fixture(scope="module")
def store(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    recipe = datasets.make("oasis", drawn, ["brain_mask=brain_mask.nii.gz"])
    return prepare(Request(), tmp_path_factory.mktemp("stores") / "oasis", recipe=recipe)


@pytest.fixture
def copied(drawn: Path, tmp_path: Path) -> Path:
    """The tables without the volumes, which no reader of tables opens."""
    for path in drawn.glob("fold_*"):
        shutil.copytree(path, tmp_path / path.name)
    return tmp_path


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t" if path.suffix == ".tsv" else ","))


def rewritten(path: Path, change: object) -> None:
    rows = table(path)
    names = list(rows[0])
    change(rows)  # type: ignore[operator]
    path.write_text("\n".join([",".join(names), *(",".join(row[name] for name in names) for row in rows)]) + "\n")


def test_the_atrophy_shrinks_its_regions_and_nothing_else() -> None:
    """And the regions of the truth file are those."""
    well, ill = tissues(Head(), 32), tissues(Head(atrophy=1.0), 32)
    np.testing.assert_allclose(ill.grey + ill.white + ill.csf, ill.brain, atol=1e-5)
    for index, region in enumerate(REGIONS, start=1):
        inside = well.atlas == index
        assert inside.sum() > 5, region.name
        matter = [(one.grey + one.white)[inside].mean() for one in (well, ill)]
        change = 1 - matter[1] / max(matter[0], 1e-3)
        if region.t1 > 0:
            assert change > 0.08, region.name
        elif region.t1 == 0 and not region.name.startswith(("white", "thalamus")):  # which the ventricles grow into
            assert abs(change) < 0.12, region.name
    ventricles = np.isin(well.atlas, [1, 2])
    assert ill.csf.sum() > well.csf.sum()
    assert ill.csf[ventricles].mean() > well.csf[ventricles].mean()


def test_a_drawn_head_depends_on_its_seed_and_number_alone(drawn: Path, tmp_path: Path) -> None:
    generate_oasis(tmp_path / "more", subjects=60, size=16, visits=3)
    scan = table(drawn / "truth" / "scans.csv")[0]
    for name in ("filename_1", "filename_2"):
        both = [np.asarray(nibabel.load(root / scan[name]).dataobj) for root in (drawn, tmp_path / "more")]
        np.testing.assert_array_equal(*both)
    with pytest.raises(UserError, match=r"--dataset\.size=20 is not 16, 32, 64 or 128"):
        generate_oasis(tmp_path / "odd", size=20)


def test_the_store_of_drawn_heads(drawn: Path, store: Store) -> None:
    """Raw intensities in the brain, the common grid, and labels of which the first is on one pair per subject."""
    mask = np.asarray(nibabel.load(drawn / "brain_mask.nii.gz").dataobj) > 0
    files = {}
    for part in ("train", "valid", "infer"):
        for row in table(drawn / "fold_0" / f"{part}.csv"):
            number = sum(key.startswith(row["subject"] + "-") for key in files) + 1
            files[f"{row['subject']}-{number}"] = row
    seen = 0
    for split in SPLITS:
        arrays, keys = store.read(split, ["t1", "falff"]), store.keys(split)
        labels, names = np.asarray(store.labels(split)["labels"]), [one.name for one in store.schema.labels]
        assert names == ["diagnosis", "diagnosis_of_all", "age", "sex", "scanner"]
        for index, key in enumerate(keys):
            row = files[key]
            assert labels[index, 1] == int(row["target"])
            assert labels[index, 2] == float(row["ageAtEntry"])
            first = key.endswith("-1") and row["target"] != "2"
            np.testing.assert_equal(labels[index, 0], float(row["target"]) if first else np.nan)
            seen += 1
        for name, column in (("t1", "filename_1"), ("falff", "filename_2")):
            image = nibabel.load(drawn / files[keys[0]][column])
            expected = (np.asarray(image.dataobj) * mask).astype(np.float16)
            np.testing.assert_array_equal(nifti_axes(arrays[name][0]), expected)
            np.testing.assert_allclose(affine_of(store.schema, name), image.affine)
    assert seen == len(files)


def test_folds_are_those_of_the_files(drawn: Path, store: Store) -> None:
    """Every fold has its own train and val rows, and one test; no subject is in two of them."""
    assert len(store.folds) == 5
    for fold in range(5):
        groups = {}
        for split, part in zip(SPLITS, ("train", "valid", "infer"), strict=True):
            subjects = {row["subject"] for row in table(drawn / f"fold_{fold}" / f"{part}.csv")}
            assert {key.rpartition("-")[0] for key in store.keys(split, fold)} == subjects
            groups[split] = set(store.group(split, fold).tolist())
        assert not groups["train"] & groups["val"]
        assert not (groups["train"] | groups["val"]) & groups["test"]
        assert store.rows_of("test", fold).tolist() == store.rows_of("test").tolist()
    again = Store.open(store.directory)
    assert [rows.tolist() for rows in again.folds] == [rows.tolist() for rows in store.folds]


def test_the_python_of_the_page(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`docs/volumes.md` writes a stored volume as NIfTI."""
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "oasis").symlink_to(store.directory)
    monkeypatch.chdir(tmp_path)
    (block,) = [one for one in blocks_of(Path("docs/volumes.md")) if "nifti_axes(" in one.text]
    exec(block.text, {})
    image = nibabel.load(tmp_path / "t1.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), nifti_axes(store.read("test", ["t1"])["t1"][0]))
    np.testing.assert_allclose(image.affine, affine_of(store.schema, "t1"))


def test_bad_tables_of_folds(copied: Path) -> None:
    valid, train = copied / "fold_2" / "valid.csv", copied / "fold_2" / "train.csv"
    kept = {path: path.read_text() for path in (valid, train)}
    moved = table(valid)[0]

    def both(rows: list[dict[str, str]]) -> None:
        rows.append(moved)

    rewritten(train, both)
    with pytest.raises(
        UserError, match=rf"fold_2: the subject '{moved['subject']}' is in train.csv and valid.csv; all"
    ):
        datasets.make("oasis", copied, [])
    train.write_text(kept[train])
    for column, value, match in (
        ("target", "3", r"valid.csv, row 1: target is '3'; it must be 0 or HC"),
        ("ageAtEntry", "old", r"valid.csv, row 1: ageAtEntry is 'old', which is no number"),
        ("M/F", "X", r"valid.csv, row 1: M/F is 'X'; it must be M, F"),
        ("subject", "", r"valid.csv, row 1: the cell of subject is empty"),
        ("filename_1", "scans/other.nii", r"fold_0 has no such pair of the subject .*scans/other.nii"),
    ):
        rewritten(valid, lambda rows, column=column, value=value: rows[0].update({column: value}))
        with pytest.raises(UserError, match=match):
            datasets.make("oasis", copied, [])
        valid.write_text(kept[valid])
    valid.write_text(kept[valid].replace("filename_2", "falff"))
    with pytest.raises(UserError, match=r"valid\.csv has no column 'filename_2'; it needs subject"):
        datasets.make("oasis", copied, [])
    valid.unlink()
    with pytest.raises(UserError, match=r"valid\.csv does not exist; each fold has train\.csv"):
        datasets.make("oasis", copied, [])
    shutil.copytree(copied / "fold_1", copied / "fold_2", dirs_exist_ok=True)  # now two folds validate on the same
    with pytest.raises(UserError, match=r"is in valid\.csv of (none|2) of the folds"):
        datasets.make("oasis", copied, [])
    with pytest.raises(UserError, match=r"has neither fold_0 nor pairs\.csv nor participants\.tsv"):
        datasets.make("oasis", copied / "fold_0", [])


def test_splits_of_a_plain_table_are_drawn_by_subject(copied: Path) -> None:
    lines = [(copied / "fold_0" / f"{part}.csv").read_text().splitlines() for part in ("train", "valid", "infer")]
    for path in copied.glob("fold_*"):
        shutil.rmtree(path)
    (copied / "pairs.csv").write_text("\n".join([lines[0][0], *(line for part in lines for line in part[1:])]))
    recipe = datasets.make("oasis", copied, [])
    assert recipe.splits is None
    assert recipe.fields == {"split": (0.7, 0.15, 0.15)}
    assert recipe.declaration.columns["subject"].role == "group"
    assert recipe.rows["diagnosis"].drop_nulls().len() <= recipe.rows["subject"].n_unique()


def test_a_bids_tree(tmp_path: Path) -> None:
    """Functional scans take the image of their session, or of the nearest date."""
    generate_oasis(tmp_path / "tree", subjects=60, size=16, visits=1, layout="bids")
    root = tmp_path / "tree"
    whole = datasets.make("oasis", root, [])
    assert whole.rows.height == 60
    person = table(root / "participants.tsv")[0]["participant_id"]
    session = next((root / person).iterdir())
    (session / "anat").rename(root / person / "anat")  # the image has a session of its own no longer
    with pytest.raises(UserError, match=rf"{person}: the session of the subject has no date"):
        datasets.make("oasis", root, [])
    far = root / person / "ses-d9000"
    far.mkdir()
    (root / person / "anat").rename(far / "anat")
    assert datasets.make("oasis", root, []).rows.height == 60
    near = datasets.make("oasis", root, ["max_days=365"])
    assert near.rows.height == 59
    assert [step.what for step in near.steps][:2] == [
        "1 functional scans without a T1-weighted image are left out",
        "1 T1-weighted images that no functional scan takes are left out",
    ]
    both = datasets.make("oasis", root, ["max_days=365", "unpaired=True"])
    assert both.rows.height == 61
    assert sorted(frame.height for frame in both.tables.values()) == [60, 60]
    dates = root / person / f"{person}_sessions.tsv"
    dates.write_text(f"session_id\tacq_time\n{session.name}\t2015-03-29T10:00:00\nses-d9000\t2015-04-02\n")
    assert datasets.make("oasis", root, ["max_days=4"]).rows.height == 60
    dates.write_text("session_id\tacq_time\nses-d9000\tspring\n")
    with pytest.raises(UserError, match=r"sessions\.tsv, row 1: acq_time is 'spring'; write it as 2015-03-29"):
        datasets.make("oasis", root, [])
    with pytest.raises(UserError, match=r"--dataset\.tr and --dataset\.band are for"):
        datasets.make("oasis", root, ["tr=2.0"])
    dates.unlink()
    (root / "participants.tsv").write_text("participant_id\tdiagnosis\n")
    with pytest.raises(UserError, match=r"participants\.tsv has no row of sub-\w+, whose folder exists; add it"):
        datasets.make("oasis", root, [])


def test_the_nearest_date() -> None:
    images = [Scan("a", "ses-1", 0.0), Scan("b", "ses-2", 100.0), Scan("c", "ses-2", 100.0)]
    series = [Scan("f", "ses-2", 100.0), Scan("g", "ses-3", 30.0), Scan("h", "ses-4", 50.0), Scan("i", "ses-5", 500.0)]
    found = paired(images, series, 300, Path("sub-1"))
    assert [(image and image.file, scan.file) for image, scan in found] == [
        ("b", "f"),
        ("a", "g"),
        ("a", "h"),
        (None, "i"),
    ]


def test_falff_of_the_series_of_a_bids_tree(tmp_path: Path) -> None:
    """`functional=bold` stores fALFF, with the TR of the option, and of a scan without an image no row."""
    random, series = np.random.default_rng(0), {}
    lines = ["participant_id\tdiagnosis\tsex\tage"]
    for number in range(8):
        name = f"sub-{number:02d}"
        lines.append(f"{name}\t{'cognitively normal' if number % 2 else 'AD Dementia'}\tmale\tn/a")
        for kind, ending, shape in (("anat", "T1w", (4, 4, 4)), ("func", "task-rest_bold", (4, 4, 4, 40))):
            folder = tmp_path / name / kind
            folder.mkdir(parents=True)
            values = random.normal(100, 5, shape).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(values, np.diag([6, 6, 6, 1])), folder / f"{name}_{ending}.nii.gz")
            series[f"{number:02d}-1"] = values
    (tmp_path / "participants.tsv").write_text("\n".join(lines))
    recipe = datasets.make("oasis", tmp_path, ["functional=bold", "tr=2.2"])
    assert set(recipe.rows["diagnosis"]) == {"HC", "AD"}
    assert set(recipe.rows["sex"]) == {"M"}
    assert "no age among the files" in [step.what for step in recipe.steps]
    store = prepare(Request(), tmp_path / "store", recipe=recipe)
    for key, stored in zip(store.keys("train"), store.read("train", ["falff"])["falff"][:], strict=True):
        np.testing.assert_array_equal(nifti_axes(stored), falff(series[key], tr=2.2).astype(np.float16))
