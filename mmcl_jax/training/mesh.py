"""The mesh: all devices on one axis, `data`."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from mmcl_jax.errors import check


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of `devices` (all there are by default) with the axis `data`."""
    devices = list(devices or jax.devices())
    # Auto: shardings inside the step follow from its inputs'. (The default, Explicit, makes x @ y.T of two sharded
    # matrices, which is the heart of a contrastive loss, a type error.)
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def by_example(mesh: Mesh) -> NamedSharding:
    """The first axis is divided over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def placed(arrays: Any, sharding: Sharding) -> Any:
    """The shapes and dtypes of a tree of arrays, with where they are to be."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), arrays)


def put(batch: Mapping[str, np.ndarray], sharding: NamedSharding) -> dict[str, jax.Array]:
    """Makes this process's rows of a batch part of arrays that span all processes' devices."""
    return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}


def check_batch(batch_size: int, mesh: Mesh) -> None:
    """Raises `UserError` unless the batch divides among the devices."""
    check(batch_size % mesh.size == 0, f"config.batch_size: {batch_size} does not divide among {mesh.size} devices.")
