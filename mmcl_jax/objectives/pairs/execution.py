"""How the pairs are computed: as one matrix, with one side gathered, or in a ring of devices."""

import dataclasses
import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from mmcl_jax.arrays import ArrayError
from mmcl_jax.objectives.pairs.gathered import Gathered
from mmcl_jax.objectives.pairs.ring import Ring
from mmcl_jax.objectives.pairs.rules import Metadata, PairRule
from mmcl_jax.objectives.pairs.sums import PairSums, Sums
from mmcl_jax.objectives.pairs.tiles import Side, Sweep

EXECUTIONS = ("dense", "gathered", "ring")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """Three ways to the same sums and gradients, up to float32 rounding.

    `dense` forms the matrix of all pairs, with its rows sharded over the devices: the reference, and fast while the
    matrix is small. `gathered` gives every device all columns and computes their pairs in tiles. `ring` passes the
    columns from device to device, so that no device ever holds more than two devices' share.

    Attributes:
      name: name of the execution.
      tile: rows and columns of a tile; None chooses 1024, on GPUs 8192, or more for batches whose embeddings are much
        larger.
      mesh: the devices; None for a single device.
      axes: mesh axes over which the rows are sharded; None for all axes.
    """

    name: Literal["dense", "gathered", "ring"] = "gathered"
    tile: int | None = None
    mesh: Mesh | AbstractMesh | None = None
    axes: tuple[str, ...] | None = None

    @property
    def over(self) -> tuple[str, ...]:
        """The mesh axes over which the rows are sharded."""
        if self.mesh is None:
            return ()
        return self.mesh.axis_names if self.axes is None else self.axes

    @property
    def devices(self) -> int:
        """The number of devices that share the rows."""
        return 1 if self.mesh is None else math.prod(self.mesh.shape[axis] for axis in self.over)

    @property
    def platform(self) -> str:
        """The platform of the devices: "cpu", "gpu" or "tpu"."""
        return self.mesh.devices.flat[0].platform if isinstance(self.mesh, Mesh) else jax.default_backend()

    def tile_for(self, columns: int, width: int) -> int:
        """Return the height of a tile that spans all columns, whose embeddings are [columns, width].

        The default tile takes a sixteenth of the memory of those embeddings, so that it grows with the batch's square
        root and never dominates. A GPU is kept busy by no less than 8192 x 8192 pairs: on an H100 they take 0.28 to
        0.43 of the time of tiles of 1024, and half a gigabyte (`benchmarks/results/pairs-nvidia-h100*.json`).
        """
        least = 8192 if self.platform == "gpu" else 1024
        return self.tile or max(least, 2 ** int(math.log2(columns * width / 16) / 2))


@jax.named_scope("pairs")
def pair_sums(
    loss: PairSums,
    x: Float[Array, "A d"],
    y: Float[Array, "B d"],
    *,
    rule: PairRule,
    x_metadata: Metadata,
    y_metadata: Metadata,
    execution: Execution,
    bias: Float[Array, ""] | None = None,
    clip: float | None = None,
) -> tuple[Sums, Sums]:
    """Return the sums of `loss` for each row [A] and column [B]; the logits are `soft_clip(x @ y.T + bias)`.

    Raises:
      ArrayError: the number of rows or columns is not a multiple of the number of devices.
    """
    # One bias per row: the gradient of a scalar would need a sum over devices inside `shard_map`.
    biases = None if bias is None else jnp.full(x.shape[0], bias)
    rows = Side(embeddings=x, metadata=dict(x_metadata), bias=biases)
    columns = Side(embeddings=y, metadata=dict(y_metadata))
    mesh, axes, devices = execution.mesh, execution.over, execution.devices
    for side in (x, y):
        if side.shape[0] % devices:
            raise ArrayError(
                f"{side.shape[0]} embeddings do not divide among {devices} devices; give a multiple of {devices} rows."
            )
    sweep = Sweep(loss=loss, rule=rule, tile=execution.tile_for(*y.shape), axes=axes, clip=clip)
    by_row = PartitionSpec(axes)
    # With explicit axes, the compiler reshards no array by itself.
    explicit = mesh if mesh is not None and AxisType.Explicit in mesh.axis_types else None

    def sharded(tree: Any, spec: PartitionSpec) -> Any:
        return tree if explicit is None else jax.sharding.reshard(tree, NamedSharding(explicit, spec))

    rows = sharded(rows, by_row)
    if execution.name == "dense":
        pairs = sweep.pairs(rows, sharded(columns, PartitionSpec()))
        return sharded((loss.reduce(*pairs, axis=1), loss.reduce(*pairs, axis=0)), by_row)
    columns = sharded(columns, by_row)
    walk = {"gathered": Gathered, "ring": Ring}[execution.name](sweep=sweep, devices=devices)
    if mesh is None:
        return _tiled(walk, rows, columns)
    share = jax.shard_map(functools.partial(_tiled, walk), mesh=mesh, in_specs=by_row, out_specs=by_row)
    return share(rows, columns)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _tiled(walk: Gathered | Ring, x: Side, y: Side) -> tuple[Sums, Sums]:
    """Compute one device's part. The walk sums over devices by itself; JAX does for everything around it."""
    return walk.forward(x, y)[:2]


def _tiled_forward(walk: Gathered | Ring, x: Side, y: Side) -> tuple[tuple[Sums, Sums], Any]:
    rows, columns, y_saved = walk.forward(x, y)
    return (rows, columns), (x, y_saved, rows, columns)


def _tiled_backward(walk: Gathered | Ring, saved: Any, cotangents: tuple[Sums, Sums]) -> tuple[Side, Side]:
    x, y, rows, columns = saved
    residuals = walk.sweep.loss.residuals
    dx, dy = walk.backward(x, y, residuals(rows, cotangents[0]), residuals(columns, cotangents[1]))

    def cotangent(gradient: Sums) -> Side:
        narrow = gradient["embeddings"].astype(x.embeddings.dtype)
        return Side(embeddings=narrow, metadata=None, bias=gradient.get("bias"))

    return cotangent(dx), cotangent(dy)


_tiled.defvjp(_tiled_forward, _tiled_backward)
