"""The mesh of devices, and the shardings of arrays on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mmcl_jax.compilation import compile_collectives_anew
from mmcl_jax.errors import check


def all_devices() -> list[jax.Device]:
    """Return the devices of all processes, which a training uses unless it is given others."""
    return jax.devices()


def own_devices() -> list[jax.Device]:
    """Return the devices of this process, which evaluation uses."""
    return jax.local_devices()


def make_mesh(devices: Sequence[jax.Device] | None = None, *, model: int = 1) -> Mesh:
    """Return a mesh of `devices` (all available by default) with the axes `data` and `model`.

    The batch is divided over both axes. Large parameters and their optimizer state are divided over `model` alone, so
    that they are gathered only among `model` neighbouring devices, all of one slice: the data-centre network between
    slices carries gradients and embeddings only, and gradients after they are summed within each slice.

    Raises:
      UserError: `model` does not divide the number of devices, or of those of a slice; or slices differ in size.
    """
    devices = list(devices or all_devices())
    check(
        len(devices) % model == 0, f"config.mesh.model: {model} does not divide {len(devices)}, the number of devices."
    )
    sizes = Counter(map(slice_of, devices))
    check(
        len(set(sizes.values())) == 1,
        f"The slices of this job have {', '.join(map(str, sizes.values()))} devices: use slices of one size.",
    )
    check(
        sizes[slice_of(devices[0])] % model == 0,
        f"config.mesh.model: {model} does not divide {sizes[slice_of(devices[0])]}, the number of devices of a slice.",
    )
    compile_collectives_anew()
    # By slice, so that neighbours share its fast links. By process, so that the rows of one process are contiguous in a
    # batch, whatever the topology.
    devices = sorted(devices, key=lambda device: (slice_of(device), device.process_index, device.id))
    grid = np.array(devices).reshape(-1, model)
    # Auto: shardings inside the step follow from those of its inputs. (With the default, Explicit, x @ y.T of two
    # sharded matrices, the heart of a contrastive loss, is a type error.)
    return Mesh(grid, ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def slice_of(device: jax.Device) -> int:
    """Return the number of the slice, all of whose devices have fast links; 0 where there are no slices."""
    index = getattr(device, "slice_index", None)
    return 0 if index is None else int(index)


def local_mesh(rows: int) -> Mesh:
    """Return a mesh of as many devices of this process as divide `rows` examples evenly, for evaluation."""
    devices = own_devices()
    return make_mesh(devices[: max(count for count in range(1, len(devices) + 1) if rows % count == 0)])


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding that copies the array to every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_example(mesh: Mesh, *, axis: int = 0) -> NamedSharding:
    """Return the sharding that divides the examples, along `axis`, over all devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, mesh.axis_names))


def by_size(mesh: Mesh, arrays: Any, *, above: int) -> Any:
    """Return a sharding for each array of a tree: arrays of more than `above` elements are divided over `model`.

    An array is divided along the longest axis that `model` divides; without such an axis it is replicated.
    """
    parts = mesh.shape["model"]

    def sharding(array: Any) -> NamedSharding:
        axes = [axis for axis, size in enumerate(array.shape) if size % parts == 0]
        if parts == 1 or array.size <= above or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: array.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, "model"))

    return jax.tree.map(sharding, arrays)


def placed(arrays: Any, shardings: Any) -> Any:
    """Return the shapes and dtypes of a tree of arrays, with these shardings (a tree, or one sharding for all)."""

    def place(array: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

    if isinstance(shardings, jax.sharding.Sharding):
        return jax.tree.map(lambda array: place(array, shardings), arrays)
    return jax.tree.map(place, arrays, shardings)


def shardings_of(arrays: Any) -> Any:
    """Return the shardings of a tree of arrays, or of abstract arrays."""
    return jax.tree.map(lambda array: array.sharding, arrays)


def put(batch: Mapping[str, np.ndarray], sharding: NamedSharding) -> dict[str, jax.Array]:
    """Put this process's rows of a batch into arrays that span the devices of all processes."""
    with jax.transfer_guard_host_to_device("allow"):  # with several processes JAX counts this transfer as implicit
        return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}


def put_whole(tree: Any, sharding: NamedSharding) -> Any:
    """Put arrays that every process holds completely on the devices of all processes."""

    def place(array: Any) -> jax.Array:
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(place, tree)
