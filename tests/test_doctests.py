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
    "mmcl_jax.data.kinds.vector",
    "mmcl_jax.data.padded",
    "mmcl_jax.data.samplers.balanced",
    "mmcl_jax.data.samplers.one_per_group",
    "mmcl_jax.data.samplers.shuffle",
    "mmcl_jax.datasets.cardiac.icd10",
    "mmcl_jax.prepare.join.keys",
    "mmcl_jax.prepare.splits.subsets",
    "mmcl_jax.encoders.cnn3d",
    "mmcl_jax.encoders.keys",
    "mmcl_jax.encoders.table_input",
    "mmcl_jax.encoders.text",
    "mmcl_jax.encoders.vector",
    "mmcl_jax.evaluation.heads.standard",
    "mmcl_jax.evaluation.sources.budgets",
    "mmcl_jax.evaluation.results.per_row",
    "mmcl_jax.tasks.choice",
    "mmcl_jax.tasks.classes",
    "mmcl_jax.tasks.number",
    "mmcl_jax.tasks.ordinal",
    "mmcl_jax.tasks.segmentation",
    "mmcl_jax.evaluation.results.interval",
    "mmcl_jax.evaluation.sources.reads",
    "mmcl_jax.objectives.collapse",
    "mmcl_jax.objectives.local",
    "mmcl_jax.objectives.pairs.local",
    "mmcl_jax.objectives.pairs.partners",
    "mmcl_jax.objectives.reads",
    "mmcl_jax.objectives.stages",
    "mmcl_jax.objectives.terms.agreement",
    "mmcl_jax.objectives.terms.barlow_twins",
    "mmcl_jax.objectives.terms.clip",
    "mmcl_jax.objectives.terms.local_alignment",
    "mmcl_jax.objectives.terms.nnclr",
    "mmcl_jax.objectives.terms.nt_xent",
    "mmcl_jax.objectives.terms.siglip",
    "mmcl_jax.objectives.terms.supervised",
    "mmcl_jax.objectives.terms.vicreg",
    "mmcl_jax.objectives.terms.vime",
    "mmcl_jax.objectives.pairs.softmax",
    "mmcl_jax.objectives.unit",
    "mmcl_jax.reproduce.page.axis",
    "mmcl_jax.reproduce.grid",
    "mmcl_jax.text",
    "mmcl_jax.training.state.average",
    "mmcl_jax.training.step.finite_step",
    "mmcl_jax.training.state.groups",
    "mmcl_jax.training.step.norm",
    "mmcl_jax.training.runs.renamed",
    "mmcl_jax.views.vector",
    "mmcl_jax.views.volume",
    "mmcl_jax.training.outlook",
}


@pytest.mark.core
@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert (result.attempted > 0) == (name in WITH_EXAMPLES)
