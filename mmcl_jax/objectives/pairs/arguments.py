"""The arguments of the kernel's public functions: arrays of any library, checked, on one device or on a mesh."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from mmcl_jax.arrays import ArrayError, ArrayLike, as_array, as_floats
from mmcl_jax.objectives.pairs.execution import EXECUTIONS, Execution
from mmcl_jax.objectives.pairs.rules import Metadata, PairRule, identity
from mmcl_jax.objectives.pairs.rules import present as present_rule
from mmcl_jax.text import listed, nearest

MetadataLike = Mapping[str, ArrayLike]
ExecutionLike = Execution | str | None
Number = float | int | np.floating | Float[Array, ""]
Presence = ArrayLike | tuple[ArrayLike, ArrayLike] | None
# Metadata that rules may read without an argument, if row i and column i are of one sample.
_INDICES = ("id", "index")
_PRESENT = "present, as an argument"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Two sides, their metadata, the rule of their pairs, and the execution."""

    x: Float[Array, "A d"]
    y: Float[Array, "B d"]
    x_metadata: Metadata
    y_metadata: Metadata
    rule: PairRule
    execution: Execution


def read_pairs(
    x: ArrayLike,
    y: ArrayLike,
    *,
    rule: PairRule | None,
    metadata: MetadataLike | None,
    x_metadata: MetadataLike | None,
    y_metadata: MetadataLike | None,
    present: Presence,
    execution: ExecutionLike,
    mesh: Mesh | AbstractMesh | None,
    also_read: tuple[str, ...] = (),
) -> Pairs:
    """Return the checked arguments of `contrast`; the rule excludes rows that are not present.

    `also_read` names metadata that are read in addition to those of the rule.

    Raises:
      ArrayError: a shape or type is wrong, or the rule reads what the metadata lack.
    """
    x, y = as_floats(x, "x"), as_floats(y, "y")
    for name, side in (("x", x), ("y", y)):
        if side.ndim != 2 or side.size == 0:
            raise ArrayError(f"{name} has the shape {side.shape}; give embeddings [rows, width].")
    if x.shape[1] != y.shape[1]:
        raise ArrayError(f"x has the width {x.shape[1]} and y the width {y.shape[1]}; give embeddings of one width.")
    if x.dtype != y.dtype:
        raise ArrayError(f"x has the dtype {x.dtype} and y the dtype {y.dtype}; give embeddings of one dtype.")
    rule = rule or identity()
    sides = []
    for name, side, own in (("x", x, x_metadata), ("y", y, y_metadata)):
        arrays = {**(metadata or {}), **(own or {})}
        sides.append({key: _per_row(values, f"metadata {key!r} of {name}", side) for key, values in arrays.items()})
    if present is not None:
        both = present if isinstance(present, tuple) else (present, present)
        if not isinstance(present, tuple) and len(x) != len(y):
            raise ArrayError(f"x has {len(x)} rows and y {len(y)}; give present as a pair, one for each side.")
        for side, own, mask in zip((x, y), sides, both, strict=True):
            own[_PRESENT] = _per_row(mask, "present", side)
            if own[_PRESENT].dtype != jnp.bool_:
                raise ArrayError(f"present is an array of {own[_PRESENT].dtype}; give booleans [rows].")
        rule = present_rule(rule, _PRESENT)
    x_metadata, y_metadata = _completed(rule, sides[0], sides[1], (len(x), len(y)), also_read)
    execution = read_execution(execution, mesh, (x, y))
    if execution.mesh is not None:
        x, y, x_metadata, y_metadata = _put((x, y, x_metadata, y_metadata), execution)
    return Pairs(x=x, y=y, x_metadata=x_metadata, y_metadata=y_metadata, rule=rule, execution=execution)


def read_execution(execution: ExecutionLike, mesh: Mesh | AbstractMesh | None, arrays: tuple[Array, ...]) -> Execution:
    """Return the execution, on `mesh` or else on the mesh over which the rows of an array are sharded.

    Under `jax.jit` and `jax.grad`, arrays show only meshes with explicit axes; pass any other mesh as `mesh`.

    Raises:
      ArrayError: there is no such execution, or `mesh` differs from the execution's mesh.
    """
    if isinstance(execution, str):
        if execution not in EXECUTIONS:
            hint = nearest(execution, EXECUTIONS)
            raise ArrayError(f"there is no execution {execution!r}{hint}; choose from {listed(EXECUTIONS)}.")
        execution = Execution(name=execution)  # type: ignore[arg-type]  # checked above
    execution = execution or Execution()
    if mesh is not None and execution.mesh is not None and mesh != execution.mesh:
        raise ArrayError("mesh differs from the mesh of the execution; give only one of them.")
    if mesh is not None:
        return dataclasses.replace(execution, mesh=mesh)
    if execution.mesh is not None:
        return execution
    for array in arrays:
        sharding = jax.typeof(array).sharding if isinstance(array, jax.core.Tracer) else array.sharding
        if isinstance(sharding, NamedSharding) and sharding.spec and sharding.spec[0] not in (None, ()):
            axes = sharding.spec[0]
            axes = axes if isinstance(axes, tuple) else (axes,)
            if math.prod(sharding.mesh.shape[axis] for axis in axes) > 1:
                return dataclasses.replace(execution, mesh=sharding.mesh, axes=axes)
    return execution


def read_scale(temperature: Number | None, scale: Number | None) -> Number:
    """Return `scale`, or 1 / `temperature`; 10 if both are None.

    Raises:
      ArrayError: neither is None, or a number is not positive.
    """
    if temperature is not None and scale is not None:
        raise ArrayError("give temperature or scale, its inverse, not both.")
    for name, value in (("temperature", temperature), ("scale", scale)):
        if isinstance(value, int | float) and not value > 0:
            raise ArrayError(f"{name} must be positive, not {value}")
    if scale is not None:
        return scale
    return 10.0 if temperature is None else 1 / temperature


class _Reading(Mapping[str, Any]):
    """The metadata of one side, which record the keys that a rule reads and that are missing.

    The index in the batch stands in for a missing array.
    """

    def __init__(self, arrays: Mapping[str, Any], index: Any) -> None:
        self.arrays, self.index = arrays, index
        self.missing: list[str] = []

    def __getitem__(self, key: str) -> Any:
        if key not in self.arrays:
            self.missing.append(key)
            return self.index
        return self.arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def _completed(
    rule: PairRule, x: Metadata, y: Metadata, shape: tuple[int, int], also_read: tuple[str, ...]
) -> tuple[Metadata, Metadata]:
    """Return the metadata with the indices that the rule reads and that are missing; check the rule's masks."""
    missing: dict[str, list[str]] = {}

    def traced(rows: Metadata, columns: Metadata, row: Array, column: Array) -> Any:
        sides = {"x": _Reading(rows, row), "y": _Reading(columns, column)}
        masks = rule(sides["x"], sides["y"])
        missing.update({name: side.missing for name, side in sides.items()})
        return masks

    def one_axis(metadata: Metadata, axis: int) -> Any:
        return {key: jax.ShapeDtypeStruct(_along(values, axis), values.dtype) for key, values in metadata.items()}

    index = [jax.ShapeDtypeStruct(axes, jnp.int32) for axes in ((shape[0], 1), (1, shape[1]))]
    masks = jax.eval_shape(traced, one_axis(x, 1), one_axis(y, 0), *index)
    if not isinstance(masks, tuple) or len(masks) != 2 or any(mask.dtype != jnp.bool_ for mask in masks):
        raise ArrayError("the pair rule must return two boolean masks: the positive pairs and the valid pairs.")
    for mask in masks:
        if len(mask.shape) > 2 or any(n not in (1, m) for n, m in zip(mask.shape[::-1], shape[::-1], strict=False)):
            raise ArrayError(f"the pair rule returned an array {mask.shape} for {shape[0]} x {shape[1]} pairs.")
    for side, metadata in (("x", x), ("y", y)):
        missing[side] += [key for key in also_read if key not in metadata]
    added = dict.fromkeys(missing["x"] + missing["y"])
    for key in added:
        if key not in _INDICES or key in x or key in y:
            side = "x" if key in missing["x"] else "y"
            raise ArrayError(f"the pair rule reads {key!r}, which the metadata of {side} lack; give it to both sides.")
        if shape[0] != shape[1]:
            raise ArrayError(
                f"x has {shape[0]} rows and y {shape[1]}; give x_metadata and y_metadata with {key!r}, which is equal "
                f"where a row and a column are of one sample."
            )
    indices = {key: jnp.arange(shape[0], dtype=jnp.int32) for key in added}
    return {**x, **indices}, {**y, **indices}


def _along(values: Array, axis: int) -> tuple[int, int]:
    return (len(values), 1) if axis == 1 else (1, len(values))


def _per_row(values: ArrayLike, name: str, side: Array) -> Array:
    array = as_array(values, name)
    if array.shape != (len(side),):
        raise ArrayError(f"{name} has the shape {array.shape}; give one value for each of the {len(side)} rows.")
    return array


def _put(arrays: Any, execution: Execution) -> Any:
    """Put arrays on the devices of the mesh, sharded by rows; traced arrays stay as they are."""
    if not isinstance(execution.mesh, Mesh):
        return arrays
    sharding = NamedSharding(execution.mesh, PartitionSpec(execution.over))

    def put(array: Array) -> Array:
        if isinstance(array, jax.core.Tracer) or array.shape[0] % execution.devices:
            return array
        return jax.device_put(array, sharding)

    return jax.tree.map(put, arrays)
