"""The cardiac recipe on generated hearts with known volumes, diagnoses and faults."""

import functools
import pickle
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mmcl_jax.datasets.cardiac import icd10
from mmcl_jax.datasets.cardiac.fields import FIELDS
from mmcl_jax.datasets.cardiac.image import es_frames, load_cine, read_heart
from mmcl_jax.datasets.cardiac.recipe import cardiac, find_hearts
from mmcl_jax.datasets.cardiac.splits import split, subsets
from mmcl_jax.datasets.cardiac.ukb import Field, UkbTable
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.synthetic.hearts.generator import generate_cardiac

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
SUBJECTS, DICOMS = 20, 1


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cardiac")
    generate_cardiac(root, subjects=SUBJECTS, dicom=DICOMS, prevalence=0.5)
    return root


@pytest.fixture(scope="module")
def recipe(raw: Path) -> Recipe:
    return cardiac(raw)


@pytest.fixture(scope="module")
def truth(raw: Path) -> pl.DataFrame:
    return pl.read_csv(raw / "truth.csv", schema_overrides={"eid": pl.String, "fault": pl.String}).fill_null("")


def sound(truth: pl.DataFrame, raw: Path) -> list[dict]:
    """Return the subjects without a fault."""
    actual = find_hearts(raw / "images")
    return [row | {"path": raw / "images" / actual[row["eid"]]} for row in truth.to_dicts() if not row["fault"]]


def field(name: str) -> Field:
    return next(one for one in FIELDS if one.name == name)


def table(folder: Path, cells: dict[str, list[object]]) -> UkbTable:
    """Write a main table with these columns, quoted like UK Biobank's."""
    rows = len(next(iter(cells.values())))
    frame = pl.DataFrame({"eid": [str(1000 + row) for row in range(rows)], **cells}, strict=False)
    frame.with_columns(pl.all().cast(pl.String).fill_null("")).write_csv(folder / "table.csv", quote_style="always")
    return UkbTable(folder / "table.csv", {n for one in FIELDS for n in one.needs}, frame["eid"].to_list())


# Images


@pytest.mark.core
def test_every_way_of_saying_end_systole_gives_the_drawn_frames(raw: Path, recipe: Recipe, truth: pl.DataFrame) -> None:
    ways = set()
    for subject in sound(truth, raw):
        path, es = subject["path"], subject["es_frame"]
        cine = load_cine(path)
        highest = np.percentile(cine, 99)
        expected = np.minimum(cine[:, :, cine.shape[2] // 2, [es, es // 2, 0]], highest)
        made = recipe.read(path)
        assert made.shape == (210, 210, 3)
        assert made.dtype == np.uint8
        top, left = (210 - expected.shape[0]) // 2, (210 - expected.shape[1]) // 2
        inside = made[top : top + expected.shape[0], left : left + expected.shape[1]]
        np.testing.assert_allclose(inside, 255 * expected / expected.max(), atol=0.51)  # min-max over all channels
        assert made.astype(int).sum() == inside.astype(int).sum()  # zeros around
        ways.add("".join(sorted(file.name for file in path.parent.glob("s*.nii.gz"))))
    assert len(ways) == 4  # DICOM, and three kinds of NIfTI folders


def test_the_heart_is_the_drawn_one(raw: Path, recipe: Recipe, truth: pl.DataFrame) -> None:
    pools = []
    for subject in sound(truth, raw):
        if not (labels := subject["path"].with_name("seg_sa.nii.gz")).is_file():
            continue
        marked = np.asarray(nibabel.load(labels).dataobj).swapaxes(0, 1)
        volumes = (marked == 1).sum((0, 1, 2)) * 1.83**2 * 10 / 1000
        assert volumes[0] == pytest.approx(subject["lvedv"], rel=0.05)
        assert volumes[subject["es_frame"]] == pytest.approx(subject["lvesv"], rel=0.08)
        picture = recipe.read(subject["path"])
        top, left = (210 - marked.shape[0]) // 2, (210 - marked.shape[1]) // 2
        for channel, frame in enumerate((subject["es_frame"], subject["es_frame"] // 2, 0)):
            at = np.pad(
                marked[:, :, 4, frame], ((top, 210 - top - marked.shape[0]), (left, 210 - left - marked.shape[1]))
            )
            assert picture[at == 1, channel].mean() > 1.5 * picture[at == 2, channel].mean()
        pools.append([(marked[:, :, 4, frame] == 1).sum() for frame in (subject["es_frame"], 0)])
    assert len(pools) >= 3
    assert all(small < large for small, large in pools)


def test_dicom_folder_and_zip_equal_nifti(raw: Path, tmp_path: Path) -> None:
    generate_cardiac(tmp_path / "nifti", subjects=5, dicom=0, broken=0)
    generate_cardiac(tmp_path / "dicom", subjects=5, dicom=1, broken=0)
    paths = {eid: name for eid, name in find_hearts(tmp_path / "dicom" / "images").items() if name.endswith(".dcm")}
    assert len(paths) == 1
    for eid, name in paths.items():
        path = tmp_path / "dicom" / "images" / name
        frames = tmp_path / "dicom" / "frames.csv"
        other = tmp_path / "nifti" / "images" / eid / "sa.nii.gz"
        np.testing.assert_array_equal(load_cine(path), load_cine(other))
        from_files = read_heart(path, frames=frames)
        np.testing.assert_array_equal(from_files, read_heart(other, frames=frames))

        # As UK Biobank ships them: with results of the scanner's own analysis among them.
        foreign = pydicom.dcmread(path)
        foreign.SeriesDescription, foreign.SeriesNumber = "CINE_segmented_SAX_InlineVF", 99
        foreign.save_as(tmp_path / "foreign.dcm")
        with zipfile.ZipFile(tmp_path / f"{eid}_20209_2_0.zip", "w") as archive:
            for file in [*path.parent.iterdir(), tmp_path / "foreign.dcm"]:
                archive.write(file, file.name)
        np.testing.assert_array_equal(read_heart(tmp_path / f"{eid}_20209_2_0.zip", frames=frames), from_files)


def test_a_repeated_slice_counts_as_it_was_taken_last(raw: Path, truth: pl.DataFrame, tmp_path: Path) -> None:
    path = next(one["path"] for one in sound(truth, raw) if one["path"].suffix == ".dcm")
    expected = load_cine(path)
    for file in path.parent.iterdir():
        data = pydicom.dcmread(file)
        data.save_as(tmp_path / file.name)
        if data.SeriesDescription.endswith("b3"):
            data.SeriesNumber, data.SeriesInstanceUID = 1, "1.2.3"
            data.PixelData = bytes(len(data.PixelData))
            data.save_as(tmp_path / f"a{file.name}")
    np.testing.assert_array_equal(load_cine(tmp_path / path.name), expected)
    (tmp_path / path.name).unlink()
    with pytest.raises(UserError, match="different numbers of frames"):
        load_cine(next(tmp_path.glob("0*.dcm")))


def test_hearts_that_are_refused(raw: Path, recipe: Recipe, truth: pl.DataFrame, tmp_path: Path) -> None:
    by_fault = dict(truth.filter(pl.col("fault") != "").select("fault", "eid").iter_rows())
    with pytest.raises(UserError, match=f"{by_fault['slices']}.*7 slices"):
        recipe.read(raw / "images" / by_fault["slices"] / "sa.nii.gz")
    with pytest.raises(UserError, match=f"{by_fault['broken']}.*cannot be read"):
        recipe.read(raw / "images" / by_fault["broken"] / "sa.nii.gz")

    def write(shape: tuple[int, ...]) -> Path:
        folder = tmp_path / "7"
        folder.mkdir(exist_ok=True)
        values = np.random.default_rng(0).integers(0, 99, shape).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / "sa.nii.gz")
        return folder / "sa.nii.gz"

    with pytest.raises(UserError, match="a cine has four"):
        read_heart(write((20, 20, 9)))
    with pytest.raises(UserError, match=r"frames\.csv"):
        read_heart(write((20, 20, 9, 4)))
    assert read_heart(write((20, 20, 9, 4)), es_share=0.5, channels="es-ed").shape == (210, 210, 2)
    with pytest.raises(UserError, match="20 x 220, larger than"):
        read_heart(write((220, 20, 8, 4)), es_share=0.5)
    path = write((20, 20, 9, 4))
    (tmp_path / "frames.csv").write_text("eid,es_frame\n7,4\n")
    with pytest.raises(UserError, match=r"frame 4 .* 4 frames"):
        read_heart(path, frames=tmp_path / "frames.csv")
    (tmp_path / "twice.csv").write_text("eid,es_frame\n7,1\n7,2\n")
    with pytest.raises(UserError, match="more than once"):
        read_heart(path, frames=tmp_path / "twice.csv")
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 20, 9), np.int16), np.eye(4)), path.with_name("sa_ES.nii.gz"))
    with pytest.raises(UserError, match="equal to no frame"):
        read_heart(path)


# Table


@pytest.mark.core
def test_rows_and_labels(recipe: Recipe, truth: pl.DataFrame) -> None:
    kept = truth.filter(~pl.col("fault").is_in(["no row", "no cine", "ethnicity"]))
    assert recipe.rows["eid"].to_list() == kept["eid"].to_list()
    for label in ("cad", "infarction"):
        assert recipe.rows[label].to_list() == (kept[label] == 1).to_list()
    values = kept.select("eid", "lvesv").join(recipe.rows.select("eid", "LVESV").drop_nulls(), on="eid")
    np.testing.assert_allclose(values["LVESV"], values["lvesv"], atol=0.01)
    declared = recipe.declaration.columns
    assert [name for name, one in declared.items() if one.role == "label"] == ["cad", "infarction"]
    assert "morphometric" in declared["LVESV"].tags
    assert (declared["LVESV"].kind, declared["LVESV"].unit) == ("continuous", "mL")
    assert declared["Smoking status"].categories == ("never", "previous", "current")
    assert recipe.rows.schema["Ever smoked"] == pl.Boolean
    assert recipe.steps[0].before == SUBJECTS - 1
    assert any("without a row of the table" in step.what for step in recipe.steps)
    assert recipe.steps[2].before - recipe.steps[2].after == 1  # of another ethnic background


def test_target_ethnicity_and_coverage(raw: Path, recipe: Recipe) -> None:
    other = cardiac(raw, target="infarction", ethnicity=None, min_coverage=0.2)
    assert [name for name, one in other.declaration.columns.items() if one.role == "label"] == ["infarction", "cad"]
    assert len(other.rows) == len(recipe.rows) + 1
    few = "Pulse wave arterial stiffness index"
    assert recipe.declaration.columns[few].role == "ignore"
    assert any(few in step.what and "fewer than 80%" in step.what for step in recipe.steps)
    assert other.declaration.columns[few].role == "feature"


def test_the_visit_of_the_images_before_the_first(tmp_path: Path) -> None:
    cells = table(tmp_path, {"49-0.0": [90, 91, None], "49-2.0": [100, None, None], "49-1.0": [1, 1, 1]})
    hips = field("Hip circumference")
    assert cells.values(hips, (2, 0)).to_list() == [100, 91, None]
    assert cells.values(hips, (2,)).to_list() == [100, None, None]
    first = table(tmp_path, {"1160-0.0": [7, 7], "1160-2.0": [-3, 8]})
    assert first.values(field("Sleep duration"), (2, 0)).to_list() == [7, 8]


def test_columns_named_as_in_r(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("f.eid,f.49.2.0\n1,100\n2,101\n")
    cells = UkbTable(tmp_path / "table.csv", {49}, ["2"])
    assert cells.values(field("Hip circumference"), (2,)).to_list() == [101]


def test_the_platform_s_export_gives_the_same_rows(raw: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Its column names are read, and several answers in one cell, in both notations."""
    cells = pl.read_csv(raw / "table.csv", infer_schema=False)
    renamed: dict[str, pl.Series] = {"eid": cells["eid"]}
    arrays: dict[str, list[str]] = {}
    for name in cells.columns[1:]:
        number, visit, array = name.replace("-", ".").split(".")
        if number in ("41270", "6177", "6153"):
            arrays.setdefault(f"p{number}" + (f"_i{visit}" if number != "41270" else ""), []).append(name)
        else:
            several = sum(other.startswith(f"{number}-{visit}.") for other in cells.columns) > 1
            renamed[f"p{number}_i{visit}" + (f"_a{array}" if several else "")] = cells[name]
    for index, (name, parts) in enumerate(arrays.items()):
        answers = [[cell for cell in row if cell] for row in cells.select(parts).rows()]
        forms = ["|".join(row) if index % 2 else f"[{','.join(map(repr, row))}]".replace("'", '"') for row in answers]
        renamed[name] = pl.Series([form if row else None for form, row in zip(forms, answers, strict=True)])
    pl.DataFrame(renamed).write_csv(tmp_path / "table.csv")
    (tmp_path / "images").symlink_to(raw / "images")
    assert cardiac(tmp_path).rows.equals(recipe.rows)


def test_readings_are_averaged(tmp_path: Path) -> None:
    cells = table(tmp_path, {"4080-2.0": [140, 140, 600], "4080-2.1": [150, None, 610], "93-2.0": [None, 120, None]})
    assert cells.values(field("Systolic blood pressure"), (2, 0)).to_list() == [145, 130, None]
    assert cells.changes["beyond what can be measured, now missing"] == {"Systolic blood pressure": 1}


def test_codes_that_are_no_answer(tmp_path: Path) -> None:
    cells = table(
        tmp_path, {"1160-2.0": [8, -1, -3], "1289-2.0": [2, -10, -1], "1558-2.0": [1, 6, -3], "12681-2.0": [-1, -3, 20]}
    )
    assert cells.values(field("Sleep duration"), (2,)).to_list() == [8, None, None]
    assert cells.values(field("Cooked vegetable intake"), (2,)).to_list() == [2, 0, None]
    assert cells.values(field("Alcohol intake frequency"), (2,)).to_list() == ["daily or almost daily", "never", None]
    assert cells.values(field("Augmentation index for PWA"), (2,)).to_list() == [-1, -3, 20]  # measured, not asked
    assert cells.changes["no answer, now missing"] == {
        "Sleep duration": 2,
        "Cooked vegetable intake": 1,
        "Alcohol intake frequency": 1,
    }


def test_questions_that_were_not_asked(tmp_path: Path) -> None:
    cells = table(
        tmp_path,
        {
            "864-2.0": [0, 3, -1],
            "874-2.0": [None, None, None],
            "20161-2.0": [None, 10, None],
            "21002-2.0": [None, 70, 80],
            "12143-2.0": [60, 61, 62],
        },
    )
    assert cells.values(field("Duration of walks"), (2,)).to_list() == [0, None, None]
    assert cells.values(field("Pack years of smoking"), (2,)).to_list() == [0, 10, 0]
    assert cells.values(field("Weight"), (2,)).to_list() == [60, 70, 80]


def test_several_answers(tmp_path: Path) -> None:
    cells = table(
        tmp_path,
        {
            "6150-0.0": [1, None, -7, -3, None],
            "6150-2.0": [4, 2, None, None, None],
            "6150-2.1": [None, 4, None, None, None],
            "6150-3.0": [2, 1, 1, 1, 1],  # after the images
            "42000-0.0": [None, None, None, None, "1999-01-01"],
            "20004-0.0": [1070, None, 1095, None, 5],
            "20004-2.1": [1070, None, None, None, None],
        },
    )
    assert cells.values(field("Heart attack diagnosed by doctor"), (2,)).to_list() == [True, False, False, None, True]
    assert cells.values(field("Angina diagnosed by doctor"), (2,)).to_list() == [False, True, False, None, None]
    assert cells.values(field("Cardiac operations performed"), (2,)).to_list() == [2, 0, 1, 0, 0]


def test_tables_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="code 9, which is none of"):
        table(tmp_path, {"1349-2.0": [9]}).values(field("Processed meat intake"), (2,))
    with pytest.raises(UserError, match=r"Column 49-2\.0 .*'wide', which is no number"):
        table(tmp_path, {"49-2.0": ["wide"]}).values(field("Hip circumference"), (2,))
    (tmp_path / "table.csv").write_text("eid,49-2.0\n1,2\n1,3\n")
    with pytest.raises(UserError, match="subject 1 more than once"):
        UkbTable(tmp_path / "table.csv", {49}, ["1"])
    (tmp_path / "table.csv").write_text("id,49-2.0\n1,2\n")
    with pytest.raises(UserError, match="no column eid"):
        UkbTable(tmp_path / "table.csv", {49}, ["1"])
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match="no <eid>"):
        cardiac(tmp_path)


def test_field_list() -> None:
    assert len(FIELDS) == len({one.name for one in FIELDS}) == 118
    kinds = [one.how for one in FIELDS]
    assert kinds.count("number") + kinds.count("count of") == 68
    # The released one-hot block is 179 wide: it has a column for the code 0 of 20403, which does not exist.
    assert sum(len(one.coding) for one in FIELDS[86:]) == 178


# Diagnoses


def test_code_lists_with_and_without_the_comma() -> None:
    released, paper = icd10.codes("cad"), icd10.codes("cad", "paper")
    assert set(paper) - set(released) == {"I249", "I250"}
    assert {"I200", "I214", "I229", "I251", "I259"} <= set(released)
    assert "I241" not in paper
    assert icd10.codes("infarction") == icd10.codes("infarction", "paper")
    assert set(icd10.codes("infarction")) < set(released)
    cells = pl.DataFrame({"41270-0.0": ["I10", None, "I25.0", "I252"], "41270-0.1": ["I214", None, None, None]})
    names = cells.columns
    assert icd10.diagnosed(cells, names, released).to_list() == [True, False, False, True]
    assert icd10.diagnosed(cells, names, paper).to_list() == [True, False, True, True]
    assert icd10.diagnosed(cells, names, icd10.codes("infarction")).to_list() == [True, False, False, False]


# Splits and subsets


def test_split_sizes_of_the_paper() -> None:
    positive = np.random.default_rng(0).random(40_874) < 0.06
    parts = split(positive, "paper", 2023)
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 29_428, "val": 7_358, "test": 4_088}
    assert sorted(np.concatenate(list(parts.values()))) == list(range(40_874))
    for rows in parts.values():
        assert positive[rows].mean() == pytest.approx(positive.mean(), abs=2e-4)
    notebook = split(positive, "notebook", 2023)
    assert {name: len(rows) for name, rows in notebook.items()} == {"train": 28_610, "val": 6_132, "test": 6_132}


def test_subsets_are_balanced_and_nested() -> None:
    positive = np.random.default_rng(0).random(5_000) < 0.06
    parts = split(positive, "paper", 2023)
    made = subsets(positive, parts, 2023)
    train = int(positive[parts["train"]].sum())
    for name, count in (("train_balanced", train), ("train_balanced_10", round(train / 10)), ("train_balanced_1", 2)):
        assert [int((positive[made[name]] == is_positive).sum()) for is_positive in (True, False)] == [count, count]
    for outer, inner in (
        (parts["train"], made["train_balanced"]),
        (made["train_balanced"], made["train_balanced_10"]),
        (made["train_balanced_10"], made["train_balanced_1"]),
        (parts["train"], made["train_10"]),
        (made["train_10"], made["train_1"]),
        (parts["val"], made["val_balanced"]),
    ):
        assert set(inner) < set(outer)
    assert positive[made["train_10"]].mean() == pytest.approx(positive[parts["train"]].mean(), abs=2e-3)
    assert positive[made["val_balanced"]].mean() == 0.5
    again = subsets(positive, parts, 2023)
    assert all(np.array_equal(made[name], again[name]) for name in made)
    tiny = subsets(positive[:40], {"train": np.arange(40), "val": np.arange(40)}, 0)
    assert sorted(positive[tiny["train_balanced_1"]]) == [False, True]
    with pytest.raises(UserError, match="1 positive of 30"):
        split(np.arange(30) == 3, "paper", 0)


def test_splits_do_not_depend_on_the_order_of_the_table(raw: Path, recipe: Recipe, tmp_path: Path) -> None:
    cells = pl.read_csv(raw / "table.csv", infer_schema=False)
    cells.sample(fraction=1, shuffle=True, seed=1).write_csv(tmp_path / "table.csv")
    (tmp_path / "images").symlink_to(raw / "images")
    other = cardiac(tmp_path)
    assert other.splits == recipe.splits
    assert other.subsets == recipe.subsets
    assert sorted(eid for part in recipe.splits.values() for eid in part) == recipe.rows["eid"].to_list()


def test_whole_numbers_that_a_program_wrote_with_a_fraction_are_the_same_subjects(
    raw: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """This holds in the main table and in the table of frames, whose identifiers join images and rows."""
    table = pl.read_csv(raw / "table.csv", infer_schema=False)
    numbers = [name for name in table.columns if table[name].str.contains(r"^-?[0-9]+$").any()]
    assert len(numbers) > 20
    floats = [table[name].str.replace(r"^(-?[0-9]+)$", "$1.0").alias(name) for name in numbers]
    table.with_columns(floats).write_csv(tmp_path / "table.csv")
    (tmp_path / "images").symlink_to(raw / "images")
    other = cardiac(tmp_path)
    assert other.rows.equals(recipe.rows)
    assert (other.splits, other.subsets) == (recipe.splits, recipe.subsets)
    frames = pl.read_csv(raw / "frames.csv")
    frames.select(pl.all().cast(pl.Float64)).write_csv(tmp_path / "frames.csv")
    assert es_frames(tmp_path / "frames.csv") == es_frames(raw / "frames.csv")
    (tmp_path / "half.csv").write_text("eid,es_frame\n7,1.5\n")
    with pytest.raises(UserError, match=r"has the es_frame '1\.5', no whole number"):
        es_frames(tmp_path / "half.csv")


# Files


def test_reader_travels_to_worker_processes(recipe: Recipe, raw: Path, truth: pl.DataFrame) -> None:
    assert isinstance(recipe.read, functools.partial)
    path = sound(truth, raw)[0]["path"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(recipe.read))(path), recipe.read(path))


def test_generated_files_are_a_function_of_the_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate_cardiac(tmp_path / name, subjects=5, seed=seed, dicom=1, broken=0)
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(files) > 90
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert (tmp_path / "a/table.csv").read_bytes() != (tmp_path / "c/table.csv").read_bytes()
