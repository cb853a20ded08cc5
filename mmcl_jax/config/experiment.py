"""The parts of a config, and the keys that all experiments share."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.data.inputs import OPTIONS
from mmcl_jax.data.samplers import SAMPLERS
from mmcl_jax.encoders import DECODERS, ENCODERS, PROJECTORS
from mmcl_jax.errors import check_name
from mmcl_jax.objectives import TERMS
from mmcl_jax.registry import Registry
from mmcl_jax.training.optim.optimizer import OPTIMIZERS
from mmcl_jax.training.optim.schedules import SCHEDULES
from mmcl_jax.views import VIEWS

encoder = ENCODERS.spec
decoder = DECODERS.spec
projector = PROJECTORS.spec
view = VIEWS.spec
term = TERMS.spec
optimizer = OPTIMIZERS.spec
schedule = SCHEDULES.spec
sampler = SAMPLERS.spec

# Keys of a config with the registries of their parts: a group of parts by name, a tuple of parts, or a single part.
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
# Options of terms that are parts themselves.
INNER_PARTS: dict[str, Registry] = {"decoder": DECODERS, "decoders": DECODERS}


def input(**options: Any) -> ConfigDict:
    """Return one entry of `config.inputs`; the name of that entry is the modality.

    Options:
      of: entry of the store that the input is read from; "" for the entry with the modality's name.
      missing: policy for missing values of a table: "refuse", "mean" (or most frequent category), "iterative"
        imputation as in MMCL, a learned "token", or an "indicator" beside a zero. For a vector: "refuse", "mean" or,
        for calls and counts in int8, "mode", the most frequent value (ContIG). Both are of the training rows.
      outside: policy for a table's numbers outside of the training range: "keep", "clip" or "missing".
      columns: columns of a table to use: "all", those with a tag, such as "morphometric", or those without it, "not
        morphometric".
      scale: of a vector: "std" for standard deviations from the mean of the training rows, or "none".
      label_as_feature: whether the store's class label is appended to the table as a categorical column (MMCL's LaaF).

    Raises:
      UserError: an option does not exist.
    """
    for option in options:
        check_name(option, OPTIONS.keys(), "An input has no option", "its options are")
    return ConfigDict({**OPTIONS, **options})


class Config(ConfigDict):
    """A config whose keys may contain dots, such as the projector `"image.local"`."""

    def __init__(self, entries: Mapping[str, Any] | None = None) -> None:
        super().__init__(entries, allow_dotted_keys=True)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, ConfigDict(value, allow_dotted_keys=True) if isinstance(value, dict) else value)


def experiment() -> ConfigDict:
    """Return a config with the keys that all experiments share, at MMCL's published values; `get_config` adds the rest.

    Keys:
      data: folder of the store.
      seed: seed of the parameters, the order of the rows, and the views.
      dtype: type of the computation, "float32" or "bfloat16"; parameters are float32.
      batch_size: samples per step, over all devices.
      micro_batch: samples that are encoded at a time, over all devices, to save memory; None for the whole batch. The
        loss still contrasts the whole batch.
      epochs: passes over the training split; 0 for a run that has the initial weights, at step 0.
      inputs: entries of the store that the experiment reads, by modality, see `input`.
      cohort: rows that take part: "outer" for rows with at least one of the inputs, "inner" for rows with all.
      fold: index of the store's fold that is held out as the test split; None for the store's own splits.
      loader: `images` are read "mapped" (from memory-mapped arrays), "streamed" (from the shards), or "auto": streamed
        if they are larger than memory. `workers` processes draw batches ahead (0: a thread; None: 2 where images are
        streamed, else 0).
      batch_norm: `group_size` samples are normalised together (None: the whole batch); `momentum`; `epsilon`.
      log_every: steps between log lines.
      sinks: programs that logged metrics go to, beside the file `metrics.jsonl`, some of "tensorboard", "wandb",
        "mlflow" and "trackio"; their settings are their environment variables.
      checkpoint_every: steps between checkpoints.
      keep_checkpoints: number of latest checkpoints to keep, beside the best one.
      keep_every: checkpoints at multiples of this step are written and never deleted; None for none.
      clip_norm: a gradient whose Euclidean norm, over all parameters, is longer is shortened to this; None for never.
      skip_nonfinite: a step whose loss, gradient or update is not finite is skipped; this many in a row end the run.
      mesh: `model` devices share each parameter and its optimizer state, if it has more than `shard_above` elements.
      pairs: computation of all pairs by the terms: `execution` "gathered", "ring" or "dense", in tiles of `tile` rows
        (None: chosen automatically).
      normalise_terms: "present" divides the loss by the weights of the terms whose inputs any row of the batch has;
        None leaves it a sum.
      target: EMA of the weights whose embeddings BYOL predicts; `decay` is its initial decay, which rises to 1.
      frozen: path patterns of parameters that are not trained, such as ("encoders.image.*",).
      rates: factors of the learning rate, by path pattern, such as {"encoders.table.*": 0.1}.
      average: `kind` "ema" or "mean" evaluates an average of the weights over the steps from epoch `start` on; "ema"
        has a `decay`. None evaluates the weights themselves.
      validation: every `epochs` epochs, the loss of the validation rows is measured and the best checkpoint is kept;
        None for never.
      stop: ends the training after `patience` validation passes in a row (None: never) without a loss that is lower by
        more than `min_delta`; and at a number that goes wrong in a way that `on` names, some of "collapse", "columns",
        "norm" and "temperature" (see `training.faults`).
      monitor: every `epochs` epochs (None: never), on at most `rows` rows: the accuracy of kNN with this many
        `neighbours`, in a store with labels, retrieval between modalities, and the AUROC of terms `multi_label`.
      views, encoders, projectors, predictors: named parts; the name of a projector or predictor is what it projects,
        `MODALITY[.local][:HEAD]`. `objective`: a tuple of terms. `optimizer`, `schedule`, `sampler` (the choice and
        order of an epoch's rows): one part each.
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
            "sinks": ("tensorboard",),
            "checkpoint_every": 500,
            "keep_checkpoints": 2,
            "keep_every": None,
            "clip_norm": None,
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
            "stop": {"patience": None, "min_delta": 0.0, "on": ()},
            "monitor": {"epochs": 10, "rows": 2048, "neighbours": 20},
        }
    )
    config.objective = ()
    config.optimizer = optimizer("adam_l2")
    config.schedule = schedule("warmup_cosine")
    config.sampler = sampler("shuffle")
    return config
