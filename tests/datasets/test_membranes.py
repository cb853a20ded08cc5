"""Drawn membranes: their files, the store that the documented command makes, and what the images tell."""

import dataclasses
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestRegressor

from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.synthetic.membranes.draw import Micrograph, draw
from mmcl_jax.synthetic.membranes.generator import generate_membranes
from mmcl_jax.synthetic.membranes.process import MAY_MISS, NOISE, SHAPES, Process
from mmcl_jax.synthetic.membranes.structure import Structure

COUNT, SIDE = 40, 32
STRUCTURE = Structure(fingers=0.5, skin_um=0.35, pore_nm=10.0, porosity=0.5, thickness_um=110.0)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("membranes") / "raw"
    options = [f"--dataset.membranes={COUNT}", f"--dataset.image_size={SIDE}", "--dataset.missing=0.2"]
    assert main(["generate", "membranes", "--out", str(folder), *options]) == 0
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_that_generate_prints_makes_a_store(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dataset.membranes=2", "--dataset.image_size=16"]
    assert main(["generate", "membranes", "--out", str(tmp_path / "few"), *options]) == 0
    printed = capsys.readouterr().out.partition("Next: ")[2]
    command = shlex.split(printed.replace(str(tmp_path / "few"), str(raw)).replace("stores/", f"{tmp_path}/"))
    assert command[:4] == ["mmcl", "prepare", "--dataset", "membranes"]
    assert main([*command[1:], "--folds", "5", "--workers", "1"]) == 0
    store = Store.open(command[-1])
    assert sum(store.sizes.values()) == COUNT
    assert store.schema.image.shape == (SIDE, SIDE, 1)
    assert len(store.folds) == 5
    (label,) = store.schema.labels
    assert (label.name, label.kind, label.unit) == ("permeance", "continuous", "L/(m2 h bar)")
    assert {column.name for column in store.schema.columns if "noise" in column.tags} == set(NOISE)
    kinds = [column.kind for column in store.schema.columns]
    assert (kinds.count("categorical"), kinds.count("continuous")) == (6, 11)
    table, names = pl.read_csv(raw / "membranes.csv"), [column.name for column in store.schema.columns]
    numbers = dict(zip(table["membrane"], table["permeance"], strict=True))
    empty = {row["membrane"]: [row[name] is None for name in names] for row in table.iter_rows(named=True)}
    for split in store.sizes:
        arrays = store.arrays(split)
        for key, row, image, value in zip(
            store.keys(split), arrays["table"], arrays["image"], arrays["labels"][:, 0], strict=True
        ):
            assert value == numbers[key]
            assert np.isnan(row).tolist() == empty[key]
            np.testing.assert_array_equal(image[..., 0], np.asarray(Image.open(raw / "images" / f"{key}.png")))


def test_cells_are_missing_where_they_may_be(raw: Path) -> None:
    table = pl.read_csv(raw / "membranes.csv")
    missing = {name: count for name, count in table.null_count().row(0, named=True).items() if count}
    assert set(missing) <= set(MAY_MISS)
    assert 0.1 < sum(missing.values()) / (COUNT * len(MAY_MISS)) < 0.3
    truth = pl.read_csv(raw / "truth.csv")
    assert not sum(truth.null_count().row(0))
    for name in table.columns[2:-1]:
        assert (table[name] == truth[name]).drop_nulls().all()
    assert (table["permeance"] / truth["permeance"]).log().std() == pytest.approx(0.06, rel=0.4)


def test_a_membrane_is_a_function_of_the_seed_and_its_number(raw: Path, tmp_path: Path) -> None:
    sizes = {"image_size": SIDE, "missing": 0.2}
    generate_membranes(tmp_path / "fewer", membranes=3, **sizes)
    generate_membranes(tmp_path / "other", membranes=3, seed=1, **sizes)
    generate_membranes(tmp_path / "full", membranes=3, image_size=SIDE, missing=0.0)
    every, fewer, other, full = (files(folder) for folder in (raw, *(tmp_path / n for n in ("fewer", "other", "full"))))
    for name, content in fewer.items():
        assert every[name].startswith(content) if name.endswith(".csv") else every[name] == content
        assert other[name] != content
        assert full[name] == content or name == "membranes.csv"
    assert b",," not in full["membranes.csv"]


def test_noise_changes_nothing_and_every_other_column_something() -> None:
    """Of enough membranes, since an effect may need another column, as that of humidity needs exposure to air."""
    process = [Process.random(np.random.default_rng((0, n))) for n in range(60)]
    others = [Process.random(np.random.default_rng((1, n))) for n in range(60)]

    def structures(made: list[Process]) -> list[Structure]:
        return [Structure.of(one, np.random.default_rng(n)) for n, one in enumerate(made)]

    for field in dataclasses.fields(Process):
        swapped = [
            dataclasses.replace(one, **{field.name: getattr(other, field.name)})
            for one, other in zip(process, others, strict=True)
        ]
        inert = field.name in NOISE or field.name == "shape"  # which the image shows
        assert (structures(swapped) == structures(process)) == inert, field.name


@pytest.mark.parametrize(
    ("name", "values", "sign"),
    [
        ("fingers", np.linspace(0, 1, 9), 1),
        ("pore_nm", np.linspace(4, 25, 9), 1),
        ("porosity", np.linspace(0.25, 0.75, 9), 1),
        ("skin_um", np.linspace(0.1, 1, 9), -1),
        ("thickness_um", np.linspace(50, 200, 9), -1),
    ],
)
def test_water_passes_where_there_are_holes(name: str, values: np.ndarray, sign: int) -> None:
    found = np.array([dataclasses.replace(STRUCTURE, **{name: float(value)}).permeance for value in values])
    assert (found > 0).all()
    assert (sign * np.diff(found) > 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_shows_the_structure(shape: str) -> None:
    """Thickness by the share of bright pixels, voids by the share of dark ones inside, pores by their edges."""
    still = Micrograph(tilt=0.0, shift=0.0, field_um=170.0, brightness=1.0, contrast=1.0, noise=0.02, focus=0.4)

    def drawn(seed: int, **changes: float) -> np.ndarray:
        made = dataclasses.replace(STRUCTURE, **changes)
        return draw(made, still, shape=shape, size=64, random=np.random.default_rng(seed)).astype(float)

    thin, thick = (np.mean([(drawn(n, fingers=0.0, thickness_um=t) > 60).mean() for n in range(4)]) for t in (60, 120))
    assert thick > 1.5 * thin
    middle = (slice(20, 36), slice(22, 42))
    sponge, open_ = (np.mean([(drawn(n, fingers=f)[middle] < 50).mean() for n in range(4)]) for f in (0.0, 0.95))
    assert open_ > sponge + 0.1
    fine, coarse = (
        np.mean([np.abs(np.diff(drawn(n, fingers=0.0, pore_nm=p)[middle], axis=1)).mean() for n in range(4)])
        for p in (5.0, 25.0)
    )
    assert fine > 1.1 * coarse


def test_the_structure_decides_and_the_table_tells_some_of_it() -> None:
    made = [(Process.random(random), random) for random in (np.random.default_rng((2, n)) for n in range(900))]
    structures = [Structure.of(process, random) for process, random in made]
    number = np.array([structure.permeance for structure in structures])
    rows = pl.DataFrame([dataclasses.asdict(process) for process, _ in made])
    table = rows.with_columns(pl.col(pl.String).cast(pl.Categorical).to_physical()).to_numpy().astype(float)
    seen = np.array([dataclasses.astuple(structure) for structure in structures])

    def explained(features: np.ndarray) -> float:
        forest = RandomForestRegressor(60, random_state=0).fit(features[:600], number[:600])
        return float(forest.score(features[600:], number[600:]))

    assert explained(seen) > 0.85
    assert 0.3 < explained(table) < explained(seen) - 0.2


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("membranes=0", "--dataset.membranes=0 is too small; give 1 or more."),
        ("image_size=8", "--dataset.image_size=8 is not between 16 and 512."),
        ("missing=0.6", "--dataset.missing=0.6 is not a share between 0 and 0.5."),
        ("seed=-1", "--dataset.seed=-1 is negative; give 0 or more."),
        ("missing=yes", "--dataset.missing: 'yes' is not of type float."),
    ],
)
def test_options_out_of_range_are_refused(
    option: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "membranes", "--out", str(tmp_path / "raw"), f"--dataset.{option}"]) == 2
    assert capsys.readouterr().err.strip().endswith(sentence)
    assert list(tmp_path.iterdir()) == []


def test_another_folder_is_refused(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare = ["prepare", "--dataset", "membranes", "--root", str(tmp_path), "--out", str(tmp_path / "store")]
    assert main(prepare) == 2
    assert "membranes.csv does not exist; make the folder with mmcl generate membranes" in capsys.readouterr().err
    pl.read_csv(raw / "membranes.csv").drop("bath", "gap_um").write_csv(tmp_path / "membranes.csv")
    assert main(prepare) == 2
    assert "membranes.csv has no column bath, gap_um; make it with mmcl generate membranes" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["membranes.csv"]
