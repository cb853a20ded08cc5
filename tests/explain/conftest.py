"""A run on images and a table whose weights a test sets, without training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.training.runs.run import Run

N = 80
CATEGORIES = ("a", "b", "c")


def frame() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "key": [f"row{i}" for i in range(N)],
            "size": rng.normal(size=N),
            "price": [None if i % 9 == 0 else float(rng.normal()) for i in range(N)],
            "kind": rng.choice(CATEGORIES, N),
            "noise": rng.normal(size=N),
            "model": [f"m{i % 3}" for i in range(N)],
        }
    )


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Images, and a table with two tags."""
    pixels = np.random.default_rng(1).integers(0, 256, (N, 16, 16, 1), np.uint8)
    tags = {"tags": ["morphometric"]}
    schema = {"columns": {"size": {"kind": "continuous", **tags}, "kind": {"kind": "categorical", **tags}}}
    return mj.prepare(
        frame(), pixels, key_column="key", label="model", split=(0.5, 0.2, 0.3), schema=schema,
        out=tmp_path_factory.mktemp("explain") / "store",
    )  # fmt: skip


@pytest.fixture(scope="package")
def begun(store: Store) -> Run:
    """A run with its initial weights, as if it had been trained for no step."""
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "planted", str(store.directory), 16, 1
    config.inputs = {"image": input(), "table": input(missing="indicator")}
    config.views = {
        "image": view("augment"),
        "table": view("rows"),
        "fused": view("fused", of=("image", "table"), modality="fused"),
    }
    config.encoders = {
        "image": encoder("cnn", channels=(4,)),
        "table": encoder("table_mlp", hidden=16, features=8),
        "fused": encoder("concat_mlp", hidden=8, features=8),
    }
    config.projectors = {name: projector("mlp", hidden=8, out=8) for name in ("image", "table")}
    config.objective = (term("clip", between=("image", "table"), temperature=0.1),)
    config.optimizer, config.schedule = optimizer("adam_l2"), schedule("warmup_cosine", warmup_epochs=0)
    return Run.begin(store.directory.parent / "run", config, store, Inputs.fit(config.inputs, store))


Plant = Callable[[Callable[[Model], None]], Run]


@pytest.fixture
def plant(begun: Run, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Returns the run whose model a function has changed."""

    return lambda change: with_model(begun, change, monkeypatch)


def with_model(begun: Run, change: Callable[[Model], None], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Returns the run, whose model is the untrained one, changed by a function."""

    def model(run: Run) -> Model:
        made = run.untrained_model()
        change(made)
        return made

    monkeypatch.setattr(Run, "model", model)
    monkeypatch.setattr(Run, "step", lambda run: 0)
    return begun


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the explanations."""
    return tmp_path / "explanations"
