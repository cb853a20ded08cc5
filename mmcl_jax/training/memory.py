"""A check, before a step is compiled, that the memory which encoders need at the least is there."""

import os
from pathlib import Path

from jax.sharding import Mesh
from ml_collections import ConfigDict

from mmcl_jax.encoders import Model
from mmcl_jax.errors import check
from mmcl_jax.training.state.groups import frozen_patterns, split_frozen
from mmcl_jax.training.state.train_state import split_model

_CONTAINER = Path("/sys/fs/cgroup/memory.max")  # the limit of a container, "max" for none


def check_memory(config: ConfigDict, model: Model, mesh: Mesh) -> None:
    """Check that the rows of a slice of the batch fit into the memory of a device, by `Encoder.row_bytes`.

    Args:
      config: the experiment.
      model: with its encoders; the arrays may be abstract.
      mesh: the devices.

    Raises:
      UserError: an encoder needs more memory than a device has; the sentence names its key.
    """
    limit = memory_of_device(mesh)
    if limit is None:
        return
    rows = (config.micro_batch or config.batch_size) // mesh.size
    frozen = frozen_patterns(config.frozen, model)
    trained = split_frozen(split_model(model)[0], frozen)[0].get("encoders", {})
    for name, encoder in model.encoders.items():
        views = sum(view.modality == name for view in config.views.values())
        row = encoder.row_bytes(train=name in trained) * (views if name in trained else 1)
        fits = limit // max(1, row)
        fewer = f"fewer columns with config.inputs.{name}.columns"
        if "image" in encoder.takes:
            fewer = f"larger patches with config.encoders.{name}.patch"
        elif "text" in encoder.takes:
            fewer = "fewer tokens with the option max_tokens of its view"
        smaller = f"config.batch_size or config.micro_batch for at most {fits:,} rows per device, " if fits else ""
        check(
            rows * row <= limit,
            f"config.encoders.{name}: for {rows:,} rows per device the attention of {config.encoders[name].name} needs "
            f"at least {size(rows * row)}, and a device has {size(limit)}; choose {smaller}{fewer}, or "
            "another encoder.",
        )


def memory_of_device(mesh: Mesh) -> int | None:
    """Return the bytes of memory of each device of this process; None if it is not known, as for a described device.

    CPU devices share the memory of the host, or of the container.
    """
    device = next(iter(mesh.local_devices), mesh.devices.flat[0])
    if device.platform != "cpu":
        try:
            return (device.memory_stats() or {}).get("bytes_limit")
        except (AttributeError, NotImplementedError, RuntimeError):
            return None
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    container = _CONTAINER.read_text().strip() if _CONTAINER.is_file() else "max"
    host = min(host, int(container)) if container.isdigit() else host
    return host // len(mesh.local_devices)


def size(count: int) -> str:
    """Return a number of bytes for a sentence."""
    return f"{count / 2**30:,.1f} GiB"
