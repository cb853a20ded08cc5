"""mmcl_jax: multimodal contrastive pretraining of images paired with tables, in JAX and Flax NNX.

    import mmcl_jax as mj

    store = mj.prepare("ads.csv", "photos/", image_column="file", label="model", out="stores/ads")
    run = mj.pretrain("mmcl/mmcl:own", data=store, workdir="runs/ads")
    scores = mj.evaluate(run, protocol=["probe", "knn"])

Every command of `mmcl` is a function here, with the same names and defaults. `mj.fit` returns an estimator like those
of scikit-learn, and `mj.TableClassifier` and `mj.TableRegressor` fine-tune a table encoder as such. `mj.objectives`,
`mj.pairs`, `mj.encoders` and `mj.views` hold the parts, each of which can be used by itself. A name is imported when it
is first used, so `import mmcl_jax` loads neither JAX nor polars.

The package reads in the order of its folders: `data` (raw files to a store to batches), `views` (augmentation),
`encoders`, `tasks`, `objectives`, `training`, `aot`, `evaluation`, `reproduce`, `explain`, `export`,
`gwas`, `report`, `api`, `cli`. A folder never imports one to its right.
"""

import importlib
import sys
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors, which do not run __getattr__
    from mmcl_jax import encoders as encoders
    from mmcl_jax import objectives as objectives
    from mmcl_jax import views as views
    from mmcl_jax.api.commands.align import align as align
    from mmcl_jax.api.commands.compile import compile as compile
    from mmcl_jax.api.commands.embed import embed as embed
    from mmcl_jax.api.commands.evaluate import evaluate as evaluate
    from mmcl_jax.api.commands.explain import explain as explain
    from mmcl_jax.api.commands.export import export as export
    from mmcl_jax.api.commands.generate import generate as generate
    from mmcl_jax.api.commands.gwas import gwas as gwas
    from mmcl_jax.api.commands.import_weights import import_weights as import_weights
    from mmcl_jax.api.commands.prepare import prepare as prepare
    from mmcl_jax.api.commands.pretrain import pretrain as pretrain
    from mmcl_jax.api.commands.quickstart import quickstart as quickstart
    from mmcl_jax.api.commands.report import report as report
    from mmcl_jax.api.commands.reproduce import reproduce as reproduce
    from mmcl_jax.api.commands.similarity import similarity as similarity
    from mmcl_jax.api.commands.upkeep.check import check as check
    from mmcl_jax.api.commands.upkeep.runs import runs as runs
    from mmcl_jax.api.commands.upkeep.upgrade import upgrade as upgrade
    from mmcl_jax.api.embedder import ContrastiveEmbedder as ContrastiveEmbedder
    from mmcl_jax.api.fit import fit as fit
    from mmcl_jax.api.table_estimators import TableClassifier as TableClassifier
    from mmcl_jax.api.table_estimators import TableRegressor as TableRegressor
    from mmcl_jax.api.table_estimators import load_estimator as load_estimator
    from mmcl_jax.data.store import Store as Store
    from mmcl_jax.errors import UserError as UserError
    from mmcl_jax.export.programs.load import load_program as load_program
    from mmcl_jax.objectives import pairs as pairs
    from mmcl_jax.training.runs.run import Run as Run

__version__ = version("mmcl_jax")

_COMMANDS = (
    "prepare", "generate", "compile", "pretrain", "import_weights", "evaluate", "embed", "explain", "similarity",
    "align", "gwas", "export", "report", "runs", "reproduce", "check", "upgrade", "quickstart",
)  # fmt: skip
_MODULES = {
    "encoders": "mmcl_jax.encoders",
    "objectives": "mmcl_jax.objectives",
    "pairs": "mmcl_jax.objectives.pairs",
    "views": "mmcl_jax.views",
}
_HOMES = {
    **{name: f"mmcl_jax.api.commands.{name}" for name in _COMMANDS},
    **{name: f"mmcl_jax.api.commands.upkeep.{name}" for name in ("runs", "check", "upgrade")},
    "fit": "mmcl_jax.api.fit",
    "load_program": "mmcl_jax.export.programs.load",
    "ContrastiveEmbedder": "mmcl_jax.api.embedder",
    **dict.fromkeys(("TableClassifier", "TableRegressor", "load_estimator"), "mmcl_jax.api.table_estimators"),
    "Run": "mmcl_jax.training.runs.run",
    "Store": "mmcl_jax.data.store",
    "UserError": "mmcl_jax.errors",
}
__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = importlib.import_module(_MODULES[name])
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package's own type, which keeps `mj.prepare` a function although the package has a folder `prepare`.

    Importing a module makes Python set it as an attribute of its package, in place of the function. This type ignores
    that; `from mmcl_jax.prepare.make import ...` does not need the attribute.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _COMMANDS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
