"""A made-up data set: images, and a table like that of MMCL's DVM runs, for experiments without a store."""

from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.data.input import Batches
from mmcl_jax.data.schema import Column, ImageSpec, Schema
from mmcl_jax.errors import UserError, check
from mmcl_jax.training.build import Experiment, assemble

CONTINUOUS, CATEGORIES = 13, (22, 13, 10, 5)  # 63 one-hot columns, as in DVM
COLUMNS = CONTINUOUS + len(CATEGORIES)
SIDE = 128  # pixels of stored images, where no view has a size


def schema(size: tuple[int, int]) -> Schema:
    """Return the schema of a table like DVM's, with RGB images of (height, width)."""
    continuous = [Column(name=f"c{i}", kind="continuous") for i in range(CONTINUOUS)]
    categorical = [
        Column(name=f"k{i}", kind="categorical", categories=tuple(map(str, range(n)))) for i, n in enumerate(CATEGORIES)
    ]
    image = ImageSpec(height=size[0], width=size[1], channels=3, fit="bilinear")
    return Schema(columns=(*continuous, *categorical), image=image)


def assumed_experiment(
    config: ConfigDict, devices: Sequence[jax.Device], size: tuple[int, int] | None = None
) -> tuple[Experiment, str]:
    """Return the experiment on a made-up data set of exactly one batch, and a sentence that describes the data.

    Args:
      config: the experiment, whose inputs are `image` and `table`, or one of them.
      devices: described or real.
      size: (height, width) of the stored images; by default that of the largest image view.

    Raises:
      UserError: the config has other inputs, or terms that read labels, which only a store can describe.
    """
    config.data = "assumed"  # which an experiment must have, and nothing reads
    others = [name for name, chosen in config.inputs.items() if (chosen.of or name) not in ("image", "table")]
    check(not others, f"config.data: this config reads {', '.join(others)}; give a store with --config.data.")
    views = [view.size for view in config.views.values() if view.modality == "image" and view.get("size")]
    size = size or max((tuple(view) for view in views), default=(SIDE, SIDE))
    rows: dict[str, np.ndarray] = {"image": np.zeros((*size, 3), np.uint8), "table": np.zeros(COLUMNS, np.float32)}
    arrays: dict[str, np.ndarray] = {
        name: np.broadcast_to(rows[chosen.of or name], (config.batch_size, *rows[chosen.of or name].shape))
        for name, chosen in config.inputs.items()
    }
    arrays["id"] = np.arange(config.batch_size, dtype=np.uint32)
    source = Batches(arrays, batch_size=config.batch_size, epochs=config.epochs, seed=config.seed)
    try:
        experiment = assemble(config, schema(size), source, devices)
    except UserError as error:
        if "label" not in str(error):
            raise
        raise UserError("config.data: a term of this config reads labels; give a store with --config.data.") from error
    parts = {"image": f"RGB images of {size[0]} x {size[1]}", "table": f"a table of {COLUMNS} columns"}
    told = " and ".join(parts[chosen.of or name] for name, chosen in config.inputs.items())
    return experiment, f"no --config.data is given: {told}, as in DVM, are assumed"
