"""The DVM-CAR recipe on a generated tree of the published files."""

import dataclasses
import random
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax import datasets as recipes
from mmcl_jax.datasets.dvm.recipe import CATEGORICAL, CONTINUOUS, dvm
from mmcl_jax.datasets.dvm.splits import draw_splits, draw_subset
from mmcl_jax.datasets.dvm.tables import physical_sizes
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.synthetic.cars.canvas import Car
from mmcl_jax.synthetic.cars.draw import draw
from mmcl_jax.synthetic.cars.generator import generate_dvm
from mmcl_jax.synthetic.cars.scene import Scene

FEATURES = (
    *("Wheelbase", "Height", "Width", "Length", "Adv_year", "Adv_month", "Reg_year", "Runned_Miles", "Price"),
    *("Seat_num", "Door_num", "Entry_price", "Engine_size", "Color", "Bodytype", "Gearbox", "Fuel_type"),
)
MORPHOMETRIC = ("Wheelbase", "Height", "Width", "Length", "Bodytype")
SMALL = {"models": 8, "ads": 300, "image_size": 32, "min_ads": 20}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dvm") / "raw"
    generate_dvm(root, **SMALL)
    return root


@pytest.fixture(scope="module")
def truth(tree: Path) -> pl.DataFrame:
    return pl.read_csv(tree / "truth.csv")


@pytest.fixture(scope="module")
def recipe(tree: Path) -> Recipe:
    return dvm(tree, min_ads=20)


@pytest.fixture
def tables(tree: Path, tmp_path: Path) -> Path:
    """Return a root with a copy of the tables, for tests that damage them."""
    shutil.copytree(tree / "tables_V2.0", tmp_path / "tables_V2.0")
    return tmp_path


def spoil(root: Path, name: str, old: str, new: str) -> None:
    path = root / "tables_V2.0" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# The generator.


def test_the_same_seed_draws_the_same_files(tree: Path, tmp_path: Path):
    generate_dvm(tmp_path / "again", workers=2, **SMALL)
    assert contents(tmp_path / "again") == contents(tree)


def test_an_advertisement_looks_the_same_in_a_larger_tree_and_not_for_another_seed(tree: Path, tmp_path: Path):
    generate_dvm(tmp_path / "larger", **(SMALL | {"ads": 330, "broken": 0}))
    generate_dvm(tmp_path / "other", **(SMALL | {"seed": 1}))
    small, larger = contents(tree / "resized_DVM"), contents(tmp_path / "larger" / "resized_DVM")
    broken = set(pl.read_csv(tree / "truth.csv").filter(pl.col("broken").is_not_null())["Image_name"])
    names = [name for name in small if Path(name).name not in broken]
    assert len(names) > 250
    assert all(larger[name] == small[name] for name in names)
    assert not set(contents(tmp_path / "other" / "resized_DVM").values()) & set(small.values()) - {b""}


def test_broken_images_are_the_planted_ones(tree: Path, truth: pl.DataFrame):
    bad = {}
    images = pl.read_csv(tree / "tables_V2.0" / "Image_table.csv")[" Image_name"]
    for name in images:
        path = tree.joinpath("resized_DVM", *name.split("$$")[:4], name)
        try:
            with Image.open(path) as image:
                image.load()
                assert image.size == (32, 32)
        except OSError:
            bad[name] = path.stat().st_size if path.exists() else None
    planted = truth.filter(pl.col("broken").is_not_null()).sort("broken")
    assert planted["broken"].to_list() == ["absent", "empty", "truncated"]
    assert set(bad) == set(planted["Image_name"])
    absent, empty, truncated = (bad[name] for name in planted["Image_name"])
    assert absent is None
    assert empty == 0
    assert truncated > 0


def box(car: Car, scene: Scene, size: int = 150) -> tuple[int, int]:
    """Width and height in pixels of what has the car's paint: where two images differ that differ in paint alone."""
    red, blue = (
        np.asarray(draw(dataclasses.replace(car, paint=p), scene, size), int) for p in ((200, 0, 0), (0, 0, 200))
    )
    rows, columns = np.nonzero(np.abs(red - blue).sum(-1) > 60)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def test_a_drawn_car_has_the_proportions_of_the_car():
    rng = random.Random(0)
    drawn, true, front_drawn, front_true = [], [], [], []
    for k in range(60):
        car = Car(
            wheelbase=2650,
            height=rng.uniform(1350, 1800),
            width=rng.uniform(1650, 2000),
            length=rng.uniform(3700, 5000),
            body=("Hatchback", "Saloon", "Estate", "SUV", "MPV", "Coupe")[k % 6],
            paint=(0, 0, 0),
            doors=5,
            spokes=5,
            grille=0.5,
        )
        scene = dataclasses.replace(Scene.random(rng), light=1.0)
        width, height = box(car, dataclasses.replace(scene, viewpoint=(90, 270)[k % 2]))
        drawn.append(width / height)
        true.append(car.length / car.height)
        width, height = box(car, dataclasses.replace(scene, viewpoint=180, yaw=0.0))
        front_drawn.append(width / height)
        front_true.append(car.width / car.height)
    assert np.corrcoef(drawn, true)[0, 1] > 0.9
    assert np.corrcoef(front_drawn, front_true)[0, 1] > 0.9


CAR = Car(
    wheelbase=2600,
    height=1450,
    width=1750,
    length=4400,
    body="Hatchback",
    paint=(200, 0, 0),
    doors=5,
    spokes=5,
    grille=0.5,
)


def plain(viewpoint: int) -> Scene:
    """Return a scene without randomness, except for the grain."""
    scene = Scene.random(random.Random(1))
    still = {"yaw": 0.0, "shift": (0.0, 0.0), "sun": 0.0, "place": "studio", "zoom": 0.18}
    return dataclasses.replace(scene, viewpoint=viewpoint, **still)


def test_axles_are_drawn_a_wheelbase_apart():
    apart = []
    for wheelbase in (2300, 2900):
        car = dataclasses.replace(CAR, wheelbase=wheelbase)
        # Images that differ in the spokes alone differ at the two wheels.
        five, eight = (
            np.asarray(draw(dataclasses.replace(car, spokes=k), plain(90), 300), int).sum(-1) for k in (5, 8)
        )
        columns = np.nonzero(np.abs(five - eight).max(0) > 60)[0]
        gap = int(np.argmax(np.diff(columns))) + 1
        apart.append(columns[gap:].mean() - columns[:gap].mean())
    assert apart[1] / apart[0] == pytest.approx(2900 / 2300, rel=0.02)


def test_the_other_side_is_the_mirror_image():
    left, right = (np.asarray(draw(CAR, plain(viewpoint), 150), int) for viewpoint in (60, 300))
    assert np.abs(left - right).mean() > 3
    assert np.abs(left - right[:, ::-1]).mean() < 3


def test_refuses_a_folder_that_is_not_empty_and_models_without_advertisements(tree: Path, tmp_path: Path):
    with pytest.raises(UserError, match="not empty"):
        generate_dvm(tree)
    with pytest.raises(UserError, match="too few for 12 models"):
        generate_dvm(tmp_path / "new", ads=20)
    with pytest.raises(UserError, match="No model has 100"):
        generate_dvm(tmp_path / "new", models=2, ads=20)
    assert not (tmp_path / "new").exists()


# The recipe.


@pytest.mark.core
def test_features_are_the_17_published_columns_in_their_order(recipe: Recipe):
    declared = recipe.declaration
    assert tuple(declared.named("feature")) == FEATURES == CONTINUOUS + CATEGORICAL
    assert [declared.of(column).kind for column in FEATURES] == ["continuous"] * 13 + ["categorical"] * 4
    assert [column for column in recipe.rows.columns if column in FEATURES] == list(FEATURES)
    assert (declared.named("identifier"), declared.named("label")) == (["Adv_ID"], ["Genmodel_ID"])
    assert recipe.image_columns == tuple(declared.named("image")) == ("Image_path",)
    assert {column for column in FEATURES if declared.of(column).tags} == set(MORPHOMETRIC)
    assert {declared.of(column).unit for column in ("Wheelbase", "Price", "Runned_Miles", "Engine_size")} == {
        *("mm", "GBP", "miles", "litres")
    }
    assert declared.of("Maker").role == "ignore"
    assert all(recipe.rows[column].dtype == pl.Float64 for column in CONTINUOUS)


def test_rows_are_the_complete_ones_of_models_that_have_enough(recipe: Recipe, truth: pl.DataFrame):
    complete = truth.filter(pl.col("planted").is_null())
    kept = complete.filter(pl.len().over("Genmodel_ID") >= 20)
    assert len(truth) > len(complete) > len(kept) > 0
    assert recipe.rows["Adv_ID"].to_list() == kept["Adv_ID"].to_list()
    lost = {step.what: step.before - step.after for step in recipe.steps if step.before != step.after}
    planted = dict(truth["planted"].value_counts().drop_nulls().rows())
    assert list(lost.values()) == [
        *(planted[why] for why in ("no price", "no image", "missing", "not a number")),
        len(complete) - len(kept),
    ]
    assert recipe.steps[0].before == len(truth)
    size = recipe.rows["Genmodel_ID"].value_counts()["count"].min()
    model = recipe.rows["Genmodel_ID"].value_counts().filter(pl.col("count") == size)["Genmodel_ID"][0]
    assert model in dvm(recipe.images.parent, min_ads=size).rows["Genmodel_ID"]
    assert model not in dvm(recipe.images.parent, min_ads=size + 1).rows["Genmodel_ID"]
    assert all(a.after == b.before for a, b in zip(recipe.steps, recipe.steps[1:], strict=False))


def test_the_image_is_the_first_listed_and_the_price_that_of_the_year(recipe: Recipe, tree: Path, truth: pl.DataFrame):
    listed = pl.read_csv(tree / "tables_V2.0" / "Image_table.csv")
    assert len(listed) > listed[" Image_ID"].str.extract(r"^(.*)\$\$").n_unique()  # some have a second image
    first = dict(truth.select("Adv_ID", "Image_name").rows())
    prices = {row[2:4]: row[4] for row in pl.read_csv(tree / "tables_V2.0" / "Price_table.csv").rows()}
    for row in recipe.rows.iter_rows(named=True):
        name = first[row["Adv_ID"]]
        assert row["Image_path"] == "/".join([*name.split("$$")[:4], name])
        assert row["Entry_price"] == prices[row["Genmodel_ID"], row["Reg_year"]]


def test_physical_sizes_are_true_up_to_the_jitter(recipe: Recipe, tree: Path, truth: pl.DataFrame):
    exact = dvm(tree, min_ads=20, physical_jitter=0)
    joined = exact.rows.join(truth, on="Adv_ID", maintain_order="left")
    offsets = []
    for column in ("Wheelbase", "Height", "Width", "Length"):
        # Planted zeros and gaps are filled from another year of the model, and the rest is untouched.
        off = (joined[column] - joined[column.lower()]).abs()
        assert 0 < (off > 0).mean() < 0.05
        assert (off / joined[column]).max() < 0.05
        offsets.append((recipe.rows[column] - exact.rows[column]).to_numpy())
    offsets = np.stack(offsets)
    assert offsets.min() == -50
    assert offsets.max() == 50
    assert np.all(offsets == np.round(offsets))
    assert abs(offsets.mean()) < 4 * 29.2 / np.sqrt(offsets.size)
    assert np.all(np.abs(np.corrcoef(offsets) - np.eye(4)) < 0.3)


def test_jitter_is_that_of_the_published_notebook(tree: Path, recipe: Recipe):
    # One stream of Python's generator over the whole extra table: wheelbases first, then lengths, widths, heights.
    exact = dvm(tree, min_ads=20, physical_jitter=0).rows
    extra = pl.read_csv(tree / "tables_V2.0" / "Ad_table (extra).csv", infer_schema=False)["Adv_ID"].to_list()
    stream = random.Random(2022)
    for column in ("Wheelbase", "Length", "Width", "Height"):
        noise = dict(zip(extra, [stream.randint(-50, 50) for _ in extra], strict=True))
        assert (recipe.rows[column] - exact[column]).to_list() == [noise[key] for key in recipe.rows["Adv_ID"]]


def test_sizes_are_corrected_by_hand_and_filled_from_the_first_of_the_model(tmp_path: Path):
    (tmp_path / "Ad_table (extra).csv").write_text(
        "Maker, Genmodel, Genmodel_ID,Adv_ID,Wheelbase,Height,Width,Length\n"
        "A,RCZ,69_36,69_36$$1,9999,1400,1800,\n"
        "A,Grand,29_20,29_20$$1,0,1400,1800,4500\n"
        "A,Ranger,29_30,29_30$$1,3200,805.0,1800,5200\n"
        "A,Ranger,29_30,29_30$$2,3200,1703,1800,5200\n"
        "A,Van,59_29,59_29$$1,5246.0,1400,1800,4500\n"
        "A,Rio,43_9,43_9$$1,4065.0,1400,1800,4500\n"
        "A,Plain,1_1,1_1$$1,,1400,0,4500\n"
        "A,Plain,1_1,1_1$$2,2500,1410,1810,4510\n"
        "A,Plain,1_1,1_1$$3,2600,0,1820,4520\n"
    )
    sizes, done = physical_sizes(tmp_path, 0, 2022)
    rows = {key: row for key, *row in sizes.select("Adv_ID", "Wheelbase", "Height", "Width", "Length").rows()}
    assert rows == {
        "69_36$$1": [2612, 1400, 1800, None],
        "29_20$$1": [2788, 1400, 1800, 4500],
        "29_30$$1": [3200, 1805, 1800, 5200],
        "29_30$$2": [3200, 1703, 1800, 5200],
        "59_29$$1": [3106, 1400, 1800, 4500],
        "43_9$$1": [2580, 1400, 1800, 4500],
        "1_1$$1": [2500, 1400, 1810, 4500],
        "1_1$$2": [2500, 1410, 1810, 4510],
        "1_1$$3": [2600, 1400, 1820, 4520],
    }
    assert [sentence.split()[0] for sentence in done] == ["5", "3"]


@pytest.mark.core
def test_splits_are_disjoint_stratified_and_complete(recipe: Recipe):
    splits = recipe.splits
    assert sorted(key for keys in splits.values() for key in keys) == sorted(recipe.rows["Adv_ID"])
    label = dict(recipe.rows.select("Adv_ID", "Genmodel_ID").rows())
    counts = dict(recipe.rows["Genmodel_ID"].value_counts().rows())
    # Other seeds too: one draw without strata can come near by chance.
    others = [draw_splits(list(label), list(label.values()), seed) for seed in range(5)]
    for drawn in (splits, *others):
        for name, share in ("test", 0.5), ("val", 0.1), ("train", 0.4):
            for model, count in counts.items():
                here = sum(label[key] == model for key in drawn[name])
                assert abs(here - share * count) < 2, (name, model)
    assert dvm(recipe.images.parent, min_ads=20).splits == splits
    assert dvm(recipe.images.parent, min_ads=20, seed=1).splits != splits


def test_subsets_are_nested_and_have_every_class(recipe: Recipe):
    label = dict(recipe.rows.select("Adv_ID", "Genmodel_ID").rows())
    train, ten, one = recipe.splits["train"], recipe.subsets["train_10"], recipe.subsets["train_1"]
    assert set(one) <= set(ten) < set(train)
    classes = set(label.values())
    for part in (ten, one):
        assert {label[key] for key in part} == classes
    assert len(ten) == max(int(len(train) * 0.1), len(classes))
    for model in classes:
        assert next(key for key in train if label[key] == model) in one


def test_a_large_subset_is_filled_up_by_class():
    labels = ["a"] * 1000 + ["b"] * 300 + ["c"] * 100
    keys = [f"{label}{i}" for i, label in enumerate(labels)]
    part = draw_subset(keys, labels, 0.1, 2023)
    assert part == sorted(part, key=keys.index)
    assert {"a0", "b1000", "c1300"} <= set(part)
    counts = [sum(key.startswith(label) for key in part) for label in "abc"]
    assert sum(counts) == 140
    assert np.allclose(counts, [100, 30, 10], atol=2)


def test_given_lists_are_the_splits(tree: Path, tables: Path, recipe: Recipe):
    made = dvm(tree, ids=tree / "ids", min_ads=20)
    for split, keys in made.splits.items():
        assert keys == (tree / "ids" / f"{split}_ids_dvm_all_views.txt").read_text().split(",")
    assert made.splits != recipe.splits
    assert made.rows.equals(recipe.rows)
    ids = shutil.copytree(tree / "ids", tables / "ids")
    path = ids / "val_ids_dvm_all_views.txt"
    dropped, rest = path.read_text().split(",", 1)
    path.write_text(rest)
    fewer = dvm(tables, ids=ids, min_ads=20)
    assert dropped not in fewer.rows["Adv_ID"]
    assert fewer.steps[-1] == ("in the lists of identifiers", len(recipe.rows), len(recipe.rows) - 1)


def test_an_identifier_that_no_row_has_or_that_is_listed_twice_is_refused(tree: Path, tmp_path: Path):
    ids = shutil.copytree(tree / "ids", tmp_path / "ids")
    path = ids / "val_ids_dvm_all_views.txt"
    whole = path.read_text()
    path.write_text(whole + ",94_9$$5044")
    with pytest.raises(UserError, match=r"val_ids_dvm_all_views.txt lists 94_9\$\$5044"):
        dvm(tree, ids=ids, min_ads=20)
    path.write_text(whole + "," + (ids / "train_ids_dvm_all_views.txt").read_text().split(",")[0])
    with pytest.raises(UserError, match="is in the list of train too"):
        dvm(tree, ids=ids, min_ads=20)
    path.unlink()
    with pytest.raises(UserError, match=r"val_ids_dvm_all_views.txt is missing"):
        dvm(tree, ids=ids, min_ads=20)


def test_the_label_becomes_a_feature_in_training_and_not_in_the_store(tree: Path):
    with pytest.raises(
        UserError, match=r"--dataset.label_as_feature: .* train with --config.inputs.table.label_as_feature=True"
    ):
        recipes.make("dvm", tree, ["min_ads=20", "label_as_feature=True"])
    with pytest.raises(TypeError, match="label_as_feature"):
        dvm(tree, label_as_feature=True)


def test_column_groups_split_the_features(tree: Path, recipe: Recipe):
    morphometric = dvm(tree, min_ads=20, columns="morphometric")
    others = dvm(tree, min_ads=20, columns="non-morphometric")
    assert tuple(morphometric.declaration.named("feature")) == MORPHOMETRIC
    assert tuple(others.declaration.named("feature")) == tuple(name for name in FEATURES if name not in MORPHOMETRIC)
    assert morphometric.rows.equals(recipe.rows)
    with pytest.raises(UserError, match=r"--dataset\.columns: there is no group of columns"):
        dvm(tree, columns="some")


@pytest.mark.parametrize("name", ["Ad_table.csv", "Ad_table (extra).csv", "Image_table.csv", "Price_table.csv"])
def test_a_missing_table_is_named(tables: Path, name: str):
    (tables / "tables_V2.0" / name).unlink()
    with pytest.raises(UserError) as caught:
        dvm(tables)
    assert f"{tables / 'tables_V2.0' / name} is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        (
            "Ad_table.csv",
            "Gearbox",
            "Gear",
            r"Ad_table.csv has no column 'Gearbox' \(did you mean 'Gear'\?\); it has Maker, Ge",
        ),
        ("Price_table.csv", " Year", " Jahr", r"Price_table.csv has no column 'Year'"),
        ("Ad_table (extra).csv", "Wheelbase", "Base", r"has no column 'Wheelbase'"),
        ("Image_table.csv", "$$image", "image", r"Image_table.csv, row 1, column Image_name: .* does not have 7 parts"),
        ("Image_table.csv", "$$1$$", "$$1", r"Image_table.csv, row 1, column Image_ID: .* does not have 3 parts"),
    ],
)
def test_a_wrong_table_is_refused(tables: Path, name: str, old: str, new: str, sentence: str):
    spoil(tables, name, old, new)
    with pytest.raises(UserError, match=sentence):
        dvm(tables)


def test_cells_that_are_no_numbers_and_rows_that_are_there_twice_are_refused(tables: Path):
    path = tables / "tables_V2.0" / "Ad_table.csv"
    whole = path.read_text()
    lines = whole.splitlines()
    path.write_text("\n".join([*lines, lines[3]]))
    with pytest.raises(UserError, match=r"Ad_table.csv has Adv_ID .* more than once, first in row 3"):
        dvm(tables)
    path.write_text(whole)
    for name, key in ("Price_table.csv", "Genmodel_ID .*, Reg_year"), ("Ad_table (extra).csv", "Adv_ID"):
        other = path.with_name(name)
        once = other.read_text()
        other.write_text(once + "\n".join(once.splitlines()[1:]))
        with pytest.raises(UserError, match=f"{re.escape(name)} has {key} .* more than once"):
            dvm(tables)
        other.write_text(once)
    cells = lines[3].split(",")
    cells[4] = "last year"
    path.write_text("\n".join([*lines[:3], ",".join(cells), *lines[4:]]))
    with pytest.raises(UserError, match=r"Ad_table.csv, row 3, column Adv_year: 'last year' is no number"):
        dvm(tables)
    path.write_text(whole.replace("L,Manual", "l,Manual"))
    with pytest.raises(UserError, match=r"column Engin_size: '.*l' is no number with unit L"):
        dvm(tables)


def test_too_few_advertisements_are_refused(tree: Path):
    with pytest.raises(UserError, match=r"No model in .* has 5000 usable advertisements"):
        dvm(tree, min_ads=5000)
    with pytest.raises(UserError, match=r"5 rows of 2 classes cannot be split by class .* raise --dataset.min_ads"):
        draw_splits(list("vwxyz"), list("aaaab"), 2022)
    with pytest.raises(UserError, match="physical_jitter must be a whole number"):
        dvm(tree, physical_jitter=0.5)
