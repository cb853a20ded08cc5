"""One run that all formats are tried with."""

import pytest

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
