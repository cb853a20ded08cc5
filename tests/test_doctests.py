"""The examples in docstrings run."""

import doctest
import importlib
import inspect
import pkgutil
import re

import jax
import pytest

import mmcl_jax
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.samplers import SAMPLERS
from mmcl_jax.encoders import DECODERS, ENCODERS, PROJECTORS
from mmcl_jax.evaluation import heads
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.objectives import TERMS
from mmcl_jax.tasks import TASKS
from mmcl_jax.training.optim.optimizer import OPTIMIZERS
from mmcl_jax.training.optim.schedules import SCHEDULES
from mmcl_jax.views import VIEWS

REGISTRIES = (DECODERS, ENCODERS, OPTIMIZERS, PROJECTORS, SAMPLERS, SCHEDULES, TERMS, VIEWS)
PARTS = {f"{registry.what} {name}": registry.factory(name) for registry in REGISTRIES for name in registry.names()}
PARTS = {name: part for name, part in PARTS.items() if part.__module__.startswith("mmcl_jax.")}  # not those of tests
PARTS |= {f"task {name}": task for name, task in TASKS.items()}
PARTS |= {f"kind {name}": type(kind) for name, kind in KINDS.items()}
for file in pkgutil.iter_modules(heads.__path__, f"{heads.__name__}."):
    importlib.import_module(file.name)
PARTS |= {f"head {head.__name__}": head for head in (LinearHead, *LinearHead.__subclasses__())}

# Configs are no modules of the package, `modeling_torch` imports PyTorch, and `pipeline` Apache Beam.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(mmcl_jax.__path__, "mmcl_jax.")
    if not {"configs", "modeling_torch", "pipeline"} & set(module.name.split("."))
]
# optax raises floats to integer powers.
PROMOTE = {f"mmcl_jax.training.optim.{name}" for name in ("amsgrad", "optimizer", "trust")}


@pytest.mark.core
@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    with jax.numpy_dtype_promotion("standard" if name in PROMOTE else "strict"):
        result = doctest.testmod(module)
    assert result.failed == 0
    written = re.findall(r"^ +>>> (?!.*# doctest: \+SKIP)", inspect.getsource(module), re.MULTILINE)
    assert result.attempted - getattr(result, "skipped", 0) == len(written)  # none hides where doctest does not look


@pytest.mark.core
@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_an_example_and_says_what_it_is(part: str) -> None:
    made = PARTS[part]
    (found,) = doctest.DocTestFinder(recurse=False).find(made, part, globs={})
    assert found.examples, f"the docstring of {made.__module__}.{made.__qualname__} has no example"
    assert made.__module__ in MODULES  # so that the example is run
    first = found.docstring.splitlines()[0]
    assert first.endswith(".")
    if not isinstance(made, type):
        assert first.startswith("Return "), first
