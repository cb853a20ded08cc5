"""The parts a config is made of."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.data.inputs import OPTIONS
from mmcl_jax.data.samplers import SAMPLERS
from mmcl_jax.encoders import ENCODERS, PROJECTORS
from mmcl_jax.errors import check
from mmcl_jax.objectives import TERMS
from mmcl_jax.registry import Registry
from mmcl_jax.training.optim.optimizer import OPTIMIZERS
from mmcl_jax.training.optim.schedules import SCHEDULES
from mmcl_jax.views import VIEWS

encoder = ENCODERS.spec
projector = PROJECTORS.spec
view = VIEWS.spec
term = TERMS.spec
optimizer = OPTIMIZERS.spec
schedule = SCHEDULES.spec
sampler = SAMPLERS.spec

# Entries of a config that name a factory: a group of them by the user's names, a list of them, or a single one.
PARTS: dict[str, Registry] = {
    "encoders": ENCODERS,
    "projectors": PROJECTORS,
    "predictors": PROJECTORS,
    "views": VIEWS,
    "objective": TERMS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "sampler": SAMPLERS,
}


def input(**options: Any) -> ConfigDict:
    """Return one entry of `config.inputs`; the name of that entry is the modality.

    Options:
      of: entry of the store that the input is read from; "" for that of the modality's name.
      missing: what becomes of missing values of a table: "refuse", "mean" (or most frequent category), "iterative"
        imputation as in MMCL, a learned "token", or an "indicator" beside a zero. Of a vector: "refuse" or "mean".
      outside: what becomes of a table's numbers beyond the training range in later rows: "keep", "clip" or "missing".
      columns: which columns of a table are used: "all", those with a tag, such as "morphometric", or those without,
        "not morphometric".
      label_as_feature: append the store's class label to the table as one more categorical column (MMCL's LaaF).

    Raises:
      UserError: there is no such option.
    """
    for option in options:
        check(option in OPTIONS, f"An input has no option {option!r}; it has {', '.join(OPTIONS)}.")
    return ConfigDict({**OPTIONS, **options})


class Config(ConfigDict):
    """A config whose groups may have names with dots, such as the projector `"image.local"`."""

    def __init__(self, entries: Mapping[str, Any] | None = None) -> None:
        super().__init__(entries, allow_dotted_keys=True)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, ConfigDict(value, allow_dotted_keys=True) if isinstance(value, dict) else value)


def experiment() -> ConfigDict:
    """Return a config with the keys all experiments share, at MMCL's published values; `get_config` fills in the rest.

    Keys:
      data: folder of the store.
      seed: of parameters, order of the data, and views.
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
      batch_size: examples per step, over all devices.
      micro_batch: examples that are encoded at a time, over all devices, to save memory; None for all. The loss still
        contrasts the whole batch.
      epochs: passes over the training split.
      inputs: what the experiment reads of the store, by modality, see `input`.
      cohort: which rows take part: "outer" keeps those that have at least one of the inputs, "inner" those with all.
      fold: which of the store's folds is left out of the training rows; None for none.
      loader: `images` are read "mapped" (from memory-mapped arrays), "streamed" (from the shards), or "auto": streamed
        where they are larger than memory. `workers` processes draw batches ahead (0: a thread of this one; None: 2
        where images are streamed, else 0).
      batch_norm: `group_size` examples are normalised together (None: the whole batch); `momentum`; `epsilon`.
      log_every: steps between log lines.
      checkpoint_every: steps between checkpoints.
      keep_checkpoints: how many of the latest are kept, beside the best.
      keep_every: checkpoints of steps that are multiples of it are kept for good, and made if `checkpoint_every` does
        not; None for none.
      skip_nonfinite: a step whose loss, gradient or update is not finite is skipped; so many in a row end the run.
      mesh: `model` devices share each parameter and its optimizer state, if it has more than `shard_above` elements.
      pairs: how terms walk all pairs: `execution` "gathered", "ring" or "dense", in tiles of `tile` (None: chosen).
      normalise_terms: "present" divides the loss by the weights of the terms for which any row of the batch has all
        that they read; None leaves it a sum.
      target: the moving average that BYOL predicts: `decay` is its first, which rises to 1.
      frozen: path patterns of parameters that are not trained, such as ("encoders.image.*",).
      rates: what the learning rate is multiplied by, by path pattern, such as {"encoders.table.*": 0.1}.
      average: `kind` "ema" or "mean" keeps an average of the weights over the steps from epoch `start` on, which is
        what is evaluated; "ema" has a `decay`. None for none.
      validation: every so many `epochs`, the loss of the validation rows is measured, and the best checkpoint is kept;
        None for never.
      stop: ends the training when `patience` validation passes in a row (None: any number) gave no loss that is lower
        by more than `min_delta`.
      monitor: what is measured between steps every so many `epochs` (None: never), on at most `rows` rows: kNN accuracy
        with so many `neighbours`, where there are labels, and retrieval between modalities.
      views, encoders, projectors, predictors: named parts; projectors and predictors by what they project,
        `MODALITY[.local][:HEAD]`. `objective`: a tuple of terms. `optimizer`, `schedule`, `sampler` (which rows an
        epoch has): one part each.
    """
    config = Config(
        {
            "name": "",
            "data": "",
            "seed": 2022,
            "dtype": "float32",
            "batch_size": 512,
            "micro_batch": None,
            "epochs": 500,
            "inputs": {},
            "cohort": "outer",
            "fold": None,
            "loader": {"images": "auto", "workers": None},
            "log_every": 20,
            "checkpoint_every": 500,
            "keep_checkpoints": 2,
            "keep_every": None,
            "skip_nonfinite": 10,
            "batch_norm": {"group_size": 64, "momentum": 0.9, "epsilon": 1e-5},
            "mesh": {"model": 1, "shard_above": 2**16},
            "pairs": {"execution": "gathered", "tile": None},
            "views": {},
            "encoders": {},
            "projectors": {},
            "predictors": {},
            "normalise_terms": None,
            "target": {"decay": 0.9996},
            "frozen": (),
            "rates": {},
            "average": {"kind": None, "decay": 0.999, "start": 0},
            "validation": {"epochs": None},
            "stop": {"patience": None, "min_delta": 0.0},
            "monitor": {"epochs": 10, "rows": 2048, "neighbours": 20},
        }
    )
    config.objective = ()
    config.optimizer = optimizer("adam_l2")
    config.schedule = schedule("warmup_cosine")
    config.sampler = sampler("shuffle")
    return config
