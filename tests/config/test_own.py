"""Configs that are chosen for a store and its devices: the rules, and their explanation to the user."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax.cli.main import main
from mmcl_jax.config import ChestData, OwnData, RetinaData, TaxonomyData, data_names, experiments, explain, load
from mmcl_jax.config.own_data import one_sided
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.runs.plain import flattened, from_plain, to_plain
from mmcl_jax.training.step.train_step import check_step, make_step
from mmcl_jax.training.validate import check_config
from tests.conftest import raw_of

GOLDEN = Path(__file__).parent / "golden" / "own"
METHODS = [name.removesuffix(":own") for name in experiments() if name.endswith(":own")]

CARS = OwnData(
    rows=2665, height=32, width=32, channels=3, columns=17, incomplete=0, one_sided=0.0, device="cpu", devices=1
)
STORES = {
    "cars": CARS,
    "scans": dataclasses.replace(CARS, rows=28, height=512, width=300, channels=1, incomplete=2, one_sided=0.4),
    "photos": dataclasses.replace(CARS, rows=10**6, height=224, width=224, columns=2, device="gpu", devices=4),
}
# Every method on a small store and on a large one.
EXAMPLES = [("mmcl/mmcl", "cars")] + [(name, store) for name in METHODS for store in ("scans", "photos")]


def golden(method: str, store: str) -> Path:
    """Return the path of the golden file; methods of another paper than MMCL's have a folder of their own."""
    return GOLDEN / f"{method.removeprefix('mmcl/')}-{store}.json"


def resolved(method: str, store: str) -> str:
    return json.dumps(to_plain(load(f"{method}:own", data=STORES[store])), indent=2) + "\n"


def write() -> None:
    """Write the golden files."""
    for method, store in EXAMPLES:
        golden(method, store).parent.mkdir(exist_ok=True)
        golden(method, store).write_text(resolved(method, store))


@pytest.mark.core
@pytest.mark.parametrize(("method", "store"), EXAMPLES)
def test_the_choice_is_the_reviewed_one(method: str, store: str) -> None:
    hint = 'python -c "from tests.config.test_own import write; write()"'
    assert resolved(method, store) == golden(method, store).read_text(), hint


def test_every_method_has_it() -> None:
    assert len(METHODS) == 23
    data = {*data_names(), *get_args(RetinaData), *get_args(TaxonomyData), *get_args(ChestData)}
    assert {name.partition(":")[2] for name in experiments() if ":" in name} == data


def described(seed: int) -> OwnData:
    """Return a random store and devices, whose sizes are drawn over orders of magnitude."""
    rng = np.random.default_rng(seed)

    def drawn(low: int, high: int) -> int:
        return int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))

    return OwnData(
        rows=drawn(2, 10**7),
        height=drawn(1, 3000),
        width=drawn(1, 3000),
        channels=drawn(1, 8),
        columns=drawn(1, 2000),
        incomplete=int(rng.integers(0, 3)),
        one_sided=float(rng.random()) / 10,
        device=str(rng.choice(["cpu", "gpu", "tpu"])),
        devices=drawn(1, 16),
    )


@pytest.mark.parametrize("index", range(len(METHODS)))
def test_whatever_the_store_the_config_can_be_trained(index: int) -> None:
    for seed in range(12):
        can_be_trained(METHODS[index], described(100 * index + seed))


def can_be_trained(method: str, data: OwnData) -> None:
    config = load(f"{method}:own", ["data=somewhere"], data=data)
    check_config(config)
    assert config.batch_size % data.devices == 0
    assert config.batch_size <= max(data.rows, data.devices)
    assert config.batch_size <= 512
    assert 1 <= config.epochs <= 500
    assert config.schedule.get("warmup_epochs", 0) < config.epochs
    assert "table" not in config.inputs or config.inputs.table.missing != "refuse"
    for view in config.views.values():
        if view.modality == "image":
            height, width = view.size or (data.height, data.width)
            assert max(height, width) <= (64 if data.device == "cpu" else 128)
            assert height / width == pytest.approx(data.height / data.width, abs=1, rel=0.5) or min(height, width) == 1
        elif view.name == "scarf" and data.columns > 1:
            assert int(view.rate * data.columns) >= 1
    if method.endswith("nnclr"):
        assert config.objective[0].queue < data.rows
    if data.device == "cpu" and "image" in config.encoders:
        assert config.encoders.image.name == "cnn"
    assert to_plain(from_plain(json.loads(json.dumps(to_plain(config))))) == to_plain(config)
    lines = explain(config, [])
    assert 3 < len(lines) < 12
    assert f"batches of {config.batch_size} " in "\n".join(lines)


def test_an_override_wins_and_is_said() -> None:
    overrides = ["epochs=3", "encoders.image.name=resnet18"]
    config = load("mmcl/mmcl:own", overrides, data=CARS)
    assert (config.epochs, config.encoders.image.name) == (3, "resnet18")
    said = "\n".join(explain(config, overrides))
    assert "3 epochs of 20 steps (from your override)" in said
    assert "encoder resnet18 (from your override)" in said
    assert "batches of 128 (at most" in said


def test_the_description_can_be_overridden_too() -> None:
    config = load("mmcl/mmcl:own", ["own.device=gpu", "own.rows=50000"], data=CARS)
    assert (config.encoders.image.name, config.dtype, config.own.rows) == ("resnet50", "bfloat16", 50000)
    assert "though this device is a cpu" in "\n".join(explain(config, []))
    for override, sentence in (
        ("own.device=abacus", "config.own.device: 'abacus' is not one of cpu, gpu, tpu"),
        ("own.rows=1", "config.own.rows: 1 is not a whole number of at least 2"),
        ("own.row=1", "config.own.row: there is no such key \\(did you mean 'rows'\\?\\)"),
    ):
        with pytest.raises(UserError, match=sentence):
            load("mmcl/mmcl:own", [override], data=CARS)


@pytest.mark.parametrize("value", ["abc", "{[]: 1}", "-1", "True", "None", "()", "3.7"])
def test_a_value_of_another_type_is_left_to_the_check_of_the_config(value: str) -> None:
    for key in flattened(to_plain(load("mmcl/mmcl:own", data=CARS)), ""):
        overrides = [f"{key.removeprefix('.')}={value}"]
        with contextlib.suppress(UserError):
            assert explain(load("mmcl/mmcl:own", overrides, data=CARS), overrides)[0].startswith("own: ")


def test_data_are_said_once() -> None:
    assert load("mmcl/byol", data="cars") == load("mmcl/byol:cars")
    with pytest.raises(ValueError, match="give one of them"):
        load("mmcl/byol:dvm", data="cars")


def test_own_needs_a_store_and_a_table_needs_columns() -> None:
    with pytest.raises(UserError, match=r"config.data: mmcl/byol:own is chosen for your store; give it with"):
        load("mmcl/byol:own")
    bare = dataclasses.replace(CARS, columns=0)
    with pytest.raises(UserError, match=r"no columns to make a table of; mmcl/simclr:own"):
        load("mmcl/mmcl:own", data=bare)
    assert set(load("mmcl/simclr:own", data=bare).encoders) == {"image"}


@pytest.mark.parametrize("pictures", [0, 3])
def test_one_sided(pictures: int) -> None:
    """1 for equal images; 0 for images that are as likely as their mirror images, or equal to them."""
    rng = np.random.default_rng(0)
    shape = (pictures, 20, 10, 3) if pictures else (20, 10, 3)
    left = np.zeros((400, *shape), np.uint8)
    left[..., :4, :] = rng.integers(100, 255, size=(*shape[:-2], 4, 3))
    assert one_sided(left) == pytest.approx(1)
    either = np.where(rng.random((400, *[1] * len(shape))) < 0.5, left, left[..., ::-1, :])
    assert one_sided(either) < 0.02
    assert one_sided(np.maximum(left, left[..., ::-1, :])) == 0
    assert one_sided(left[:1]) == 0


@pytest.fixture(scope="module")
def holey(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store of 40 rows with missing values and images of 5 x 7 pixels."""
    folder = tmp_path_factory.mktemp("holey")
    raw = raw_of(folder)
    table = pl.read_csv(raw.table).with_columns(
        price=pl.when(pl.int_range(40) % 5 == 0).then(None).otherwise(pl.col("price"))
    )
    table.write_csv(raw.table)
    return prepare(dataclasses.replace(raw, image_size=(5, 7)), folder / "store")


def test_pretraining_says_what_it_chose_and_does(
    holey: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It trains on few rows with missing values and tiny images, and a second call continues with the same choices."""
    run = tmp_path / "run"
    command = ["pretrain", "--config", "mmcl/mmcl:own", f"--config.data={holey.directory}", "--workdir", str(run)]
    command += ["--config.epochs=1", "--config.schedule.warmup_epochs=0"]
    assert main(command) == 0
    out, error = capsys.readouterr()
    assert out.startswith("own: 20 training rows, images of 5 x 7 x 3, 3 columns, 8 cpus. Chosen for these:\n")
    assert "missing values: token (training rows lack values of 1 column; a token for them is learned)" in out
    assert "1 epoch of 2 steps (from your override)" in out
    assert "compiling the training step ...\n" in error
    assert "compiling the training step: " in error
    kept = json.loads((run / "config.json").read_text())
    assert kept["own"]["device"] == "cpu"
    # As if it was begun on another device: the run's own description decides.
    config, text = run / "config.json", (run / "config.json").read_text()
    config.write_text(text.replace('"device": "cpu"', '"device": "gpu"'))
    (run / "checksums.json").unlink()  # which would call the changed config damage
    assert OwnData.of_run(run).device == "gpu"
    assert main(command) == 0
    expected = "for a gpu, as in the run's config or --config.own.device, though this device is a cpu"
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "device"),
    [(method, "cpu") for method in METHODS] + [(f"mmcl/{name}", "gpu") for name in ("mmcl", "barlow_twins", "nnclr")],
)
def test_every_method_fits_a_real_store(method: str, device: str, holey: Store) -> None:
    """The step can be traced for the shapes of the store: parts fit together, and missing values are allowed."""
    config = load(f"{method}:own", [f"data={holey.directory}", f"own.device={device}"])
    if device == "gpu":  # of few and small pictures it is the CNN, too
        larger = dataclasses.replace(OwnData(**config.own), height=64, width=64)
        config = load(f"{method}:own", [f"data={holey.directory}"], data=larger)
        assert config.encoders.image.name == "resnet18"
    experiment = build_experiment(config, holey)
    check_step(make_step(experiment), *experiment.shapes())


def test_help_lists_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "one of dvm, cardiac, digits, cars, membranes, own" in said
    assert "mmcl/NAME:own is for your own store" in said


def test_large_pictures_are_seen_smaller(raw: Request, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for path in [*raw.images.rglob("*.png"), *raw.images.rglob("*.jpg")]:
        Image.fromarray(rng.integers(0, 255, (200, 100, 3), np.uint8)).save(path)
    store = prepare(raw, tmp_path / "store")
    config = load("mmcl/simclr:own", [f"data={store.directory}"])
    assert config.views.image_1.size == config.views.image_2.size == (64, 32)
    assert "views of 64 x 32 pixels" in "\n".join(explain(config, []))
