"""The recipes of eyes on drawn photographs: circles, quality lists, people, labels, masks, and what is refused."""

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax import datasets as recipes
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.datasets.fundus.photographs import split_people
from mmcl_jax.errors import UserError
from mmcl_jax.genotypes import open_genotypes
from mmcl_jax.prepare.images.circle import brightness, find_circle, middle, read_eye
from mmcl_jax.synthetic.eyes.anatomy import Camera, Eye
from mmcl_jax.synthetic.eyes.draw import photograph
from mmcl_jax.synthetic.eyes.generator import generate_fundus

pytest.importorskip("cv2")
SIDE = 48


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fundus") / "raw"
    small = {"people": 60, "variants": 360, "chromosomes": 2, "scores": 8, "genes": 40, "missing": 0.2}
    generate_fundus(root, **small, image_size=SIDE, aptos=30, rfmid=20, palm=24, seed=2)
    return root


@pytest.fixture
def copied(raw: Path, tmp_path: Path) -> Path:
    """A copy of the raw files, to be spoilt."""
    return Path(shutil.copytree(raw, tmp_path / "raw"))


def picture(eye: Eye, height: int = 120, **camera: float) -> Image.Image:
    return Image.fromarray(photograph(eye, Camera(**camera), height, np.random.default_rng(1)).pixels)


@pytest.mark.parametrize("height", [48, 120, 400])
def test_a_circle_is_found_at_any_size(height: int) -> None:
    image = picture(Eye(left=True), height)
    box = find_circle(image)
    assert box is not None
    left, top, right, bottom = box
    expected = 2 * 0.465 * height + 10
    tolerance = max(3, 0.03 * height)
    assert abs((right - left) - expected) < tolerance
    assert abs((bottom - top) - expected) < tolerance
    assert abs((left + right) / 2 - image.width / 2) < tolerance
    assert abs((top + bottom) / 2 - image.height / 2) < tolerance


def test_photographs_without_a_circle_are_refused_or_cropped_to_their_middle(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(90, 4, (60, 80, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "lid.png")
    with pytest.raises(UserError, match=r"lid\.png shows no round field of view"):
        read_eye(tmp_path / "lid.png")
    assert read_eye(tmp_path / "lid.png", otherwise="middle").shape == (80, 80, 3)
    assert read_eye(tmp_path / "lid.png", crop="none").shape == (60, 80, 3)
    assert brightness(tmp_path / "lid.png") is None
    assert brightness(tmp_path / "lid.png", crop="none") == pytest.approx(89.5, abs=1)
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert brightness(tmp_path / "broken.png") is None


def test_the_middle_keeps_what_is_not_black() -> None:
    values = np.zeros((40, 100, 3), np.uint8)
    values[:, 30:70] = 200
    square = np.asarray(middle(Image.fromarray(values)))
    # 10 pixels beyond the nearest black columns, 29 and 70, on either side; then a square.
    assert square.shape == (61, 61, 3)
    assert (square[10:50, 11:51] == 200).all()
    assert square.sum() == values.sum()
    bright = Image.fromarray(np.full((40, 100, 3), 200, np.uint8))
    assert middle(bright).size == (100, 100)


def test_without_opencv_one_sentence_names_the_extra(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = importlib.import_module

    def without(name: str, *more: object) -> object:
        if name == "cv2":
            raise ImportError(name)
        return imported(name, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(UserError, match=r'pip install "mmcl_jax\[fundus\]"'):
        recipes.make("fundus", raw, ())


def test_people_are_divided_as_in_the_released_code() -> None:
    people = [str(number) for number in range(100, 200)]
    splits = split_people([*people, *people[:30]])
    order = np.random.RandomState(42).permutation(np.arange(100, 200))
    assert splits["train"] == [str(number) for number in order[:70]]
    assert splits["val"] == [str(number) for number in order[70:80]]
    assert splits["test"] == [str(number) for number in order[80:]]
    first, last = str(order[0]), str(order[99])
    kept = split_people(people, [[last, first]])
    assert last in kept["train"]
    assert len(kept["test"]) == 19
    assert split_people(["9", "10"])["test"] == split_people(["10", "9"])["test"]


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The photographs alone: a root without genetics."""
    root, out = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("store") / "store"
    for name in ("left", "right", "covariates.csv"):
        copy = shutil.copytree if (raw / name).is_dir() else shutil.copy
        copy(raw / name, root / name)
    options = ["--image-size", str(SIDE), "--workers", "1"]
    command = ["prepare", "--dataset", "fundus", "--root", str(root), "--out", str(out), *options]
    assert main(command) == 0
    return Store.open(out)


def keys(store: Store) -> list[str]:
    return [key for split in store.sizes for key in store.keys(split)]


def test_both_eyes_of_a_person_are_rows_of_one_group_in_one_split(raw: Path, prepared: Store) -> None:
    truth = pl.read_csv(raw / "truth" / "images.csv").filter(pl.col("fault").is_null())
    expected = {f"{side}/{file.removesuffix('.jpg')}" for file, side in truth.select("file", "eye").iter_rows()}
    assert set(keys(prepared)) == expected
    people: dict[str, set[str]] = {}
    for split in prepared.sizes:
        for key in prepared.keys(split):
            people.setdefault(key.partition("/")[2].partition("_")[0], set()).add(split)
    assert all(len(splits) == 1 for splits in people.values())
    listed = split_people(list(people))
    assert {person for person, splits in people.items() if splits == {"test"}} == set(listed["test"])
    group = {}
    for key, number in zip(keys(prepared), prepared.lists.group, strict=True):
        assert group.setdefault(key.partition("/")[2].partition("_")[0], number) == number
    assert len(set(group.values())) == len(group)


def test_labels_are_the_traits_of_the_person(raw: Path, prepared: Store) -> None:
    names = [label.name for label in prepared.schema.labels]
    assert names == ["age", "bmi", "sbp", "dbp", "sex", "smoking"]
    truth = {row["IID"]: row for row in pl.read_csv(raw / "covariates.csv").iter_rows(named=True)}
    missing = 0
    for split in prepared.sizes:
        values = prepared.arrays(split)["labels"]
        for key, row in zip(prepared.keys(split), values, strict=True):
            person = truth[int(key.partition("/")[2].partition("_")[0])]
            for name, value in zip(names, row, strict=True):
                if person[name] is None:
                    missing += 1
                    assert np.isnan(value)
                else:
                    assert value == pytest.approx(person[name])
    assert missing > 0


def test_images_are_cropped_to_the_circle(prepared: Store) -> None:
    images = np.asarray(prepared.arrays("train")["image"])
    assert images.shape[1:] == (SIDE, SIDE, 3)
    middle_rows = images[:, SIDE // 2].mean(axis=-1)
    assert (middle_rows[:, [6, -7]] > 25).mean() > 0.95  # the eye reaches to the sides of a 4:3 photograph
    assert images[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean() < 8


def test_without_lists_the_darkest_and_brightest_are_left_out_and_lids_are_quarantined(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = pl.read_csv(copied / "truth" / "images.csv").filter(pl.col("eye") == "left")
    fault = dict(truth.select("file", "fault").iter_rows())
    (copied / "left" / "qc_paths_left.txt").unlink()
    plain = recipes.make("fundus", copied, ("sides=('left',)",))
    assert len(plain.rows) == len(truth) - 1  # half a percent of so few is none, and the brightest one
    filtered = recipes.make("fundus", copied, ("sides=('left',)", "dark_and_bright=0.05"))
    kept = {Path(file).name for file in filtered.rows["file"]}
    means = {name: brightness(copied / "left" / "photographs" / name) for name in fault}
    ranked = sorted((mean, name) for name, mean in means.items() if mean is not None)
    gone = {name for _, name in (*ranked[:2], *ranked[int(0.95 * len(ranked)) :])}
    assert kept == set(fault) - gone
    assert "bright" in {fault[name] for name in gone}
    lid = next(name for name in fault if fault[name] == "no circle")
    options = ["--dataset.sides=('left',)", "--image-size", "32", "--workers", "1", "--out", str(tmp_path / "store")]
    bare = Path(shutil.copytree(copied / "left", tmp_path / "bare" / "left")).parent
    command = ["prepare", "--dataset", "fundus", "--root", str(bare), *options]
    assert main(command) == 2
    assert "shows no round field of view" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
    assert main([*command, "--max-bad", "0.1"]) == 0
    listed = (tmp_path / "store" / "quarantine.jsonl").read_text()
    assert lid in listed
    assert listed.count('"no circle"') == listed.count("\n") == sum(mean is None for mean in means.values())


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The photographs with all modalities, as the line that `mmcl generate` prints prepares them."""
    out = tmp_path_factory.mktemp("whole") / "store"
    options = ["--dataset.every=1", "--image-size", "32", "--workers", "1"]
    assert main(["prepare", "--dataset", "fundus", "--root", str(raw), "--out", str(out), *options]) == 0
    return Store.open(out)


def person_of(key: str) -> str:
    return key.partition("/")[2].partition("_")[0]


def test_both_eyes_share_the_genetics_of_their_person(raw: Path, whole: Store) -> None:
    pytest.importorskip("h5py")
    truth = {row["IID"]: row for row in pl.read_csv(raw / "truth/people.csv", infer_schema=False).iter_rows(named=True)}
    genotypes = open_genotypes(sorted((raw / "genotypes").glob("*.bed")), where="--genotypes")
    calls = dict(zip(genotypes.people, genotypes.read(), strict=True))
    scores = {}
    for number in range(8):
        table = pl.read_csv(raw / f"scores/PGS{number + 1:06d}.sscore", separator="\t")
        for person, score in table.select("IID", "SCORE1_AVG").iter_rows():
            scores.setdefault(str(person), []).append(score)
    assert whole.schema.entries["snp"].dtype == "int8"
    assert whole.names("pgs") == tuple(f"PGS{number:06d}" for number in range(1, 9))
    assert set(whole.names("burden")) <= {f"GENE{number:05d}" for number in range(1, 41)}
    assert whole.names("covariates")[:6] == ("sex", "age", "dbp", "sbp", "smoking", "bmi")
    checked = 0
    for split in whole.sizes:
        read = whole.read(split, ["snp", "pgs", "burden", "covariates"])
        for row, key in enumerate(whole.keys(split)):
            person = truth[person_of(key)]
            for name in ("snp", "pgs", "burden"):
                present = read[name].present is None or bool(read[name].present[row])
                assert present == (person[f"has_{name}"] == "1")
            if person["has_snp"] == "1":
                assert np.array_equal(read["snp"][row], calls[person["IID"]])
                checked += 1
            if person["has_pgs"] == "1":
                assert np.allclose(read["pgs"][row], scores[person["IID"]], rtol=1e-6)
    assert checked > 40


def test_people_of_other_ancestry_are_listed_and_families_stay_together(raw: Path, whole: Store) -> None:
    ancestry = dict(pl.read_csv(raw / "ancestry.tsv", separator="\t").select("IID", "EUR").iter_rows())
    split_of = {person_of(key): split for split in whole.sizes for key in whole.keys(split)}
    assert all(ancestry[int(person)] >= 0.99 for person in split_of)
    pairs = pl.read_csv(raw / "truth/relatives.csv", infer_schema=False).select("one", "other").rows()
    together = [(split_of.get(one), split_of.get(other)) for one, other in pairs]
    assert all(first == second or None in (first, second) for first, second in together)
    listed = (whole.directory / "quarantine.jsonl").read_text()
    photographs = pl.read_csv(raw / "truth/images.csv").filter(pl.col("fault").is_null())["IID"].to_list()
    assert listed.count('"ancestry"') == sum(ancestry[person] < 0.99 for person in photographs)


def test_the_inner_cohort_has_every_modality(raw: Path, whole: Store, tmp_path: Path) -> None:
    options = ["--dataset.every=2", "--image-size", "32", "--workers", "1", "--cohort", "inner"]
    out = tmp_path / "inner"
    assert main(["prepare", "--dataset", "fundus", "--root", str(raw), "--out", str(out), *options]) == 0
    inner = Store.open(out)
    truth = pl.read_csv(raw / "truth/people.csv", infer_schema=False)
    whole_people = truth.filter(pl.all_horizontal(pl.col("has_snp", "has_pgs", "has_burden") == "1"))["IID"]
    assert set(keys(inner)) == {key for key in keys(whole) if person_of(key) in set(whole_people)}
    assert inner.schema.entries["snp"].shape == (180,)
    assert not any(inner.schema.entries[name].optional for name in ("image", "snp", "pgs", "burden"))


def test_withdrawn_people_leave_the_store(copied: Path, tmp_path: Path) -> None:
    person = sorted(split_people([str(1_000_001 + 7 * index) for index in range(60)])["train"])[0]
    (copied / "withdrawn.txt").write_text(f"{person}\n")
    recipe = recipes.make("fundus", copied, ("every=1",))
    assert recipe.splits is not None
    assert not any(person_of(key) == person for listed in recipe.splits.values() for key in listed)
    assert recipe.fields["withdrawn"] == (copied / "withdrawn.txt",)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no side": (lambda root: shutil.rmtree(root / "left"), r"left does not exist"),
    "no photographs": (lambda root: shutil.rmtree(root / "left/photographs"), r"left has no photographs"),
    "two folders": (
        lambda root: shutil.copytree(root / "left/photographs", root / "left/others"),
        r"name one folder with --dataset\.folder",
    ),
    "listed but absent": (
        lambda root: (root / "left/qc_paths_left.txt").write_text("1_2.jpg\n"),
        r"lists 1_2\.jpg, which .* does not have",
    ),
    "empty list": (lambda root: (root / "right/qc_paths_right.txt").write_text("\n"), r"quality list .* is empty"),
    "no person": (
        lambda root: (
            (root / "left/qc_paths_left.txt").unlink(),
            Image.new("RGB", (9, 9)).save(root / "left/photographs/nobody.png"),
        ),
        r"nobody\.png has no person",
    ),
    "no column": (
        lambda root: (root / "covariates.csv").write_text("IID,age\n1,2\n"),
        r"covariates\.csv has no column bmi; it needs",
    ),
    "person twice": (
        lambda root: (root / "covariates.csv").write_text("IID,age,bmi,sbp,dbp,sex,smoking\n1,1,1,1,1,1,1\n" * 2),
        r"has the person IID more than once|has the person 1 more than once",
    ),
    "no genotypes": (
        lambda root: [path.unlink() for path in (root / "genotypes").iterdir()],
        r"genotypes has no file that ends in \.bed, \.pgen, \.bgen",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named(name: str, copied: Path) -> None:
    spoil, sentence = BAD[name]
    spoil(copied)
    with pytest.raises(UserError, match=sentence):
        recipes.make("fundus", copied, ())


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("sides=('middle',)", r"--dataset\.sides must be"),
        ("crop=square", r"--dataset\.crop: 'square' is not of type"),
        ("dark_and_bright=0.7", r"--dataset\.dark_and_bright=0\.7 is not a share"),
        ("scores=nowhere", r"--dataset\.scores: neither nowhere nor .* exists"),
        ("folder=nowhere", r"--dataset\.folder: the folder .*nowhere does not exist"),
    ],
)
def test_bad_options_are_named(option: str, sentence: str, raw: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        recipes.make("fundus", raw, (option,))
