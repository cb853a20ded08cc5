"""`mj.import_weights`: a run from a checkpoint of MMCL's or TIP's released code."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.api.given import AnyPath, copied, overriding, path_of
from mmcl_jax.compilation import use_cache
from mmcl_jax.config import apply, load
from mmcl_jax.data.store import Store
from mmcl_jax.export.imports.released import read_released
from mmcl_jax.targets import check_folder
from mmcl_jax.text import visible
from mmcl_jax.training.runs.imported import import_run
from mmcl_jax.training.runs.run import Run


def import_weights(
    checkpoint: AnyPath,
    config: str | ConfigDict,
    out: AnyPath,
    *,
    data: Store | AnyPath | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
) -> Run:
    """Make a run of a PyTorch Lightning checkpoint of MMCL's or TIP's released code, with the methods of that code.

    The same from the command line: `mmcl import --checkpoint FILE --config CONFIG --config.data=DATA --out OUT`. The
    run is at step 0 and has the weights; it can be evaluated, embedded, explained and exported like any other, and
    `mmcl pretrain` with the same config trains on from it. No code of the file runs.

    Args:
      checkpoint: the file (.ckpt), or another file with its state dict.
      config: an experiment with the same encoders and projectors, such as "mmcl/mmcl:dvm".
      out: the folder of the run.
      data: the store that describes images and columns, opened or its folder; the same as the override `data`. Its
        columns must be those of the checkpoint, in their order.
      overrides: values of config keys.

    Returns:
      The run.

    Raises:
      UserError: the checkpoint is damaged, names what could run code, or does not fit the config; nothing was written.

    Example:
      >>> mj.import_weights("last.ckpt", "mmcl/mmcl:dvm", "runs/released", data="stores/dvm")  # doctest: +SKIP
    """
    use_cache()
    path, folder, texts = path_of(checkpoint, "--checkpoint"), path_of(out, "--out"), overriding(overrides)
    check_folder(folder, "--out")
    if data is not None:
        texts.append(f"data={path_of(data, 'data')}")
    if isinstance(config, ConfigDict):
        experiment = copied(config)
        apply(experiment, texts)
    else:
        experiment = load(config, texts)
    run, weights = import_run(experiment, folder, functools.partial(read_released, path))
    for line in weights.lines:
        print(visible(line))
    print(f"{visible(folder)} is a run with these weights; evaluate it with mmcl evaluate --run {visible(folder)}.")
    return run
