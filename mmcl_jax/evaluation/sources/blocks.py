"""Encoding rows in blocks of one fixed shape, so that a row's features depend on nothing but the row.

A compiled program may round another way for another shape of its batch, or for another share of it per device. So every
device computes whole blocks of the same number of rows, and the last block is padded: features have the same bits on
any number of equal devices, and beside any other rows.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from mmcl_jax.backend import compiler_options
from mmcl_jax.training.mesh import by_example, make_mesh

BLOCK = 256  # rows
_AHEAD = 2  # batches that are computed before the first is fetched


def block_devices() -> list[jax.Device]:
    """Return the devices of this process that evaluation encodes on.

    The CPU devices of a process share its cores, so that several of them are no faster than one.
    """
    devices = jax.local_devices()
    return devices[:1] if devices[0].platform == "cpu" else devices


def blockwise(function: Callable[[Any, dict[str, jax.Array]], jax.Array], mesh: Mesh, dtype: str) -> Any:
    """Return a compiled function of (arrays, rows) in which every device of `mesh` computes a block of rows by itself.

    Args:
      function: of arrays, which all devices have, and a dict of rows `[block, ...]`; returns `[block, ...]`.
      mesh: over which the rows `[devices * block, ...]` of a batch are divided.
      dtype: of the experiment.
    """
    rows = PartitionSpec(mesh.axis_names)
    each = jax.shard_map(function, mesh=mesh, in_specs=(PartitionSpec(), rows), out_specs=rows, check_vma=False)
    return jax.jit(each, compiler_options=compiler_options(mesh.devices.flat[0], dtype))


def block_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh of these devices, by default `block_devices`."""
    return make_mesh(devices or block_devices())


def in_blocks(
    compute: Callable[[dict[str, jax.Array]], jax.Array], rows: Mapping[str, Any], mesh: Mesh, *, block: int = BLOCK
) -> np.ndarray:
    """Return what a `blockwise` function computes of rows `[N, ...]`, `[N, ...]`; N is at least 1.

    Args:
      compute: the function, with its arrays bound.
      rows: by input, arrays or anything that slices like one.
      mesh: of the function.
      block: rows per device.
    """
    size, count = block * mesh.size, len(next(iter(rows.values())))
    parts, running = [], deque[jax.Array]()
    for batch in _batches(rows, count, size):
        running.append(compute(jax.device_put(batch, by_example(mesh))))
        if len(running) > _AHEAD:
            parts.append(np.asarray(running.popleft()))
    parts += map(np.asarray, running)
    return np.concatenate(parts)[:count]


def _batches(rows: Mapping[str, Any], count: int, size: int) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, count, size):
        yield {name: padded(values[start : start + size], size) for name, values in rows.items()}


def padded(rows: Any, size: int) -> np.ndarray:
    """Return the rows padded with zeros to `size` rows: one shape, so one compilation."""
    part = np.asarray(rows)
    if len(part) == size:
        return part
    padded = np.zeros((size, *part.shape[1:]), part.dtype)
    padded[: len(part)] = part
    return padded
