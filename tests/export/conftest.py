"""Two runs that all formats are tried with, and an export."""

from pathlib import Path

import pytest

from mmcl_jax.cli.main import main
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.training.runs.run import Run
from tests.export.untrained import cohort, everything, untrained_run


@pytest.fixture(scope="session")
def every_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A small cohort with entries of every kind."""
    return cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="session")
def every_run(every_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with an encoder of every kind."""
    return untrained_run(everything(every_store), every_store, tmp_path_factory.mktemp("runs") / "every")


@pytest.fixture(scope="session")
def digits_run(digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with the encoders of the quickstart, and with averages of the weights beside the last weights."""
    config = load("digits_mmcl", [f"data={digits_store.directory}", "average.kind=ema"])
    return untrained_run(config, digits_store, tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="session")
def release(digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of it, written by the command; tests do not change it."""
    out = tmp_path_factory.mktemp("release") / "release"
    assert main(["export", "--run", str(digits_run.directory), "--format", "safetensors,orbax", "--out", str(out)]) == 0
    return out
