"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import jax
import pytest

import mmcl_jax
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.samplers import SAMPLERS
from mmcl_jax.encoders import ENCODERS, PROJECTORS
from mmcl_jax.evaluation import heads
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.objectives import TERMS
from mmcl_jax.tasks import TASKS
from mmcl_jax.training.optim.optimizer import OPTIMIZERS
from mmcl_jax.training.optim.schedules import SCHEDULES
from mmcl_jax.views import VIEWS

REGISTRIES = (ENCODERS, OPTIMIZERS, PROJECTORS, SAMPLERS, SCHEDULES, TERMS, VIEWS)
PARTS = {f"{registry.what} {name}": registry.factory(name) for registry in REGISTRIES for name in registry.names()}
PARTS |= {f"task {name}": task for name, task in TASKS.items()}
PARTS |= {f"kind {name}": type(kind) for name, kind in KINDS.items()}
for file in pkgutil.iter_modules(heads.__path__, f"{heads.__name__}."):
    importlib.import_module(file.name)
PARTS |= {f"head {head.__name__}": head for head in (LinearHead, *LinearHead.__subclasses__())}

MODULES = [
    module.name for module in pkgutil.walk_packages(mmcl_jax.__path__, "mmcl_jax.") if ".configs" not in module.name
]
WITH_EXAMPLES = {
    "mmcl_jax.arrays",
    "mmcl_jax.cli.disk",
    "mmcl_jax.data.input",
    "mmcl_jax.data.kinds.boxes",
    "mmcl_jax.data.kinds.image",
    "mmcl_jax.data.kinds.table",
    "mmcl_jax.data.kinds.text",
    "mmcl_jax.data.kinds.vector",
    "mmcl_jax.data.kinds.volume",
    "mmcl_jax.data.padded",
    "mmcl_jax.data.samplers.balanced",
    "mmcl_jax.data.samplers.one_per_group",
    "mmcl_jax.data.samplers.shuffle",
    "mmcl_jax.datasets.cardiac.icd10",
    "mmcl_jax.encoders.cnn",
    "mmcl_jax.encoders.cnn3d",
    "mmcl_jax.encoders.fusions.concat_mlp",
    "mmcl_jax.encoders.fusions.cross_attention",
    "mmcl_jax.encoders.fusions.fused",
    "mmcl_jax.encoders.keys",
    "mmcl_jax.encoders.mlp",
    "mmcl_jax.encoders.projectors",
    "mmcl_jax.encoders.resnet",
    "mmcl_jax.encoders.table_input",
    "mmcl_jax.encoders.text",
    "mmcl_jax.encoders.vector",
    "mmcl_jax.evaluation.heads.dense",
    "mmcl_jax.evaluation.heads.linear",
    "mmcl_jax.evaluation.results.interval",
    "mmcl_jax.evaluation.results.per_row",
    "mmcl_jax.evaluation.sources.budgets",
    "mmcl_jax.evaluation.sources.reads",
    "mmcl_jax.objectives.base",
    "mmcl_jax.objectives.collapse",
    "mmcl_jax.objectives.local",
    "mmcl_jax.objectives.pairs.local",
    "mmcl_jax.objectives.pairs.partners",
    "mmcl_jax.objectives.pairs.sigmoid",
    "mmcl_jax.objectives.pairs.softmax",
    "mmcl_jax.objectives.reads",
    "mmcl_jax.objectives.stages",
    "mmcl_jax.objectives.terms.agreement",
    "mmcl_jax.objectives.terms.barlow_twins",
    "mmcl_jax.objectives.terms.clip",
    "mmcl_jax.objectives.terms.local_alignment",
    "mmcl_jax.objectives.terms.matching",
    "mmcl_jax.objectives.terms.nnclr",
    "mmcl_jax.objectives.terms.nt_xent",
    "mmcl_jax.objectives.terms.siglip",
    "mmcl_jax.objectives.terms.supcon",
    "mmcl_jax.objectives.terms.supervised",
    "mmcl_jax.objectives.terms.vicreg",
    "mmcl_jax.objectives.terms.vime",
    "mmcl_jax.objectives.unit",
    "mmcl_jax.page.wording",
    "mmcl_jax.prepare.card.forest",
    "mmcl_jax.prepare.join.keys",
    "mmcl_jax.prepare.splits.subsets",
    "mmcl_jax.reproduce.grid",
    "mmcl_jax.reproduce.page.axis",
    "mmcl_jax.tasks.choice",
    "mmcl_jax.tasks.classes",
    "mmcl_jax.tasks.multi_label",
    "mmcl_jax.tasks.number",
    "mmcl_jax.tasks.numbers",
    "mmcl_jax.tasks.ordinal",
    "mmcl_jax.tasks.segmentation",
    "mmcl_jax.text",
    "mmcl_jax.training.optim.optimizer",
    "mmcl_jax.training.optim.schedules",
    "mmcl_jax.training.outlook",
    "mmcl_jax.training.runs.renamed",
    "mmcl_jax.training.state.average",
    "mmcl_jax.training.state.groups",
    "mmcl_jax.training.step.finite_step",
    "mmcl_jax.training.step.norm",
    "mmcl_jax.views.base",
    "mmcl_jax.views.image",
    "mmcl_jax.views.table",
    "mmcl_jax.views.text",
    "mmcl_jax.views.vector",
    "mmcl_jax.views.volume",
}


PROMOTE = {"mmcl_jax.training.optim.optimizer"}  # optax raises floats to integer powers


@pytest.mark.core
@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    with jax.numpy_dtype_promotion("standard" if name in PROMOTE else "strict"):
        result = doctest.testmod(module)
    assert result.failed == 0
    assert (result.attempted > 0) == (name in WITH_EXAMPLES)


@pytest.mark.core
@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_an_example_and_says_what_it_is(part: str) -> None:
    made = PARTS[part]
    (found,) = doctest.DocTestFinder(recurse=False).find(made, part, globs={})
    assert found.examples, f"the docstring of {made.__module__}.{made.__qualname__} has no example"
    assert made.__module__ in WITH_EXAMPLES  # so that the example is run
    first = found.docstring.splitlines()[0]
    assert first.endswith(".")
    if not isinstance(made, type):
        assert first.startswith("Return "), first
