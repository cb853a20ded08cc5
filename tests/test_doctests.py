"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import mmcl_jax

MODULES = [
    module.name for module in pkgutil.walk_packages(mmcl_jax.__path__, "mmcl_jax.") if ".configs" not in module.name
]
WITH_EXAMPLES = {
    "mmcl_jax.cli.disk",
    "mmcl_jax.prepare.card.forest",
    "mmcl_jax.page.wording",
    "mmcl_jax.data.input",
    "mmcl_jax.datasets.cardiac.icd10",
    "mmcl_jax.prepare.splits.subsets",
    "mmcl_jax.encoders.table_input",
    "mmcl_jax.evaluation.sources.budgets",
    "mmcl_jax.evaluation.results.per_row",
    "mmcl_jax.tasks.task",
    "mmcl_jax.objectives.collapse",
    "mmcl_jax.objectives.pairs.softmax",
    "mmcl_jax.objectives.unit",
    "mmcl_jax.reproduce.page.axis",
    "mmcl_jax.reproduce.grid",
    "mmcl_jax.text",
    "mmcl_jax.training.finite_step",
    "mmcl_jax.training.outlook",
}


@pytest.mark.core
@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert (result.attempted > 0) == (name in WITH_EXAMPLES)
