"""Primitives that move values: shapes, broadcasts, slices, gathers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from mmcl_jax.export.programs.onnx.graph import (
    Graph,
    Tensor,
    UnsupportedError,
    aval,
    constant,
    is_float,
    whole_operands,
)

_END = np.iinfo(np.int64).max


def reshaped(graph: Graph, x: Tensor, shape: tuple[Any, ...]) -> Tensor:
    """Return a tensor in another shape, in which one size may depend on the number of rows."""
    if x.value is not None and all(isinstance(size, int) for size in shape):
        return Tensor(x.dtype, shape, value=x.value.reshape(shape))
    # The size that depends on the rows is copied where it stays in its place, so that 0 rows stay 0.
    sizes = [
        size if isinstance(size, int) else 0 if axis < len(x.shape) and x.shape[axis] == size else -1
        for axis, size in enumerate(shape)
    ]
    if sizes.count(-1) > 1:
        raise UnsupportedError(f"it has an array of the shape {shape}")
    return Tensor(x.dtype, shape, graph.node("Reshape", graph.name(x), graph.integers(*sizes)))


def reshape(graph: Graph, equation: JaxprEqn, x: Tensor) -> Tensor:
    (x,) = whole_operands(graph, equation, [x])
    return reshaped(graph, x, aval(equation.outvars[0]).shape)


def broadcast_in_dim(graph: Graph, equation: JaxprEqn, x: Tensor, *sizes: Tensor) -> Tensor:
    """Give a tensor axes of size 1; see `Tensor.shape`."""
    del sizes  # a symbolic size is computed from the number of rows
    shape: list[Any] = [1] * len(equation.params["shape"])
    for axis, size in zip(equation.params["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = size
    return reshaped(graph, x, tuple(shape)) if tuple(shape) != x.shape else x


def transpose(graph: Graph, equation: JaxprEqn, x: Tensor) -> Tensor:
    return transposed(graph, x, equation.params["permutation"])


def transposed(graph: Graph, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return a tensor with its axes in another order."""
    shape = tuple(x.shape[axis] for axis in axes)
    if tuple(axes) == tuple(range(len(axes))):
        return x
    if x.value is not None:
        return Tensor(x.dtype, shape, value=x.value.transpose(axes))
    return Tensor(x.dtype, shape, graph.node("Transpose", graph.name(x), perm=list(axes)))


def concatenate(graph: Graph, equation: JaxprEqn, *operands: Tensor) -> Tensor:
    names = map(graph.name, whole_operands(graph, equation, operands))
    axis = equation.params["dimension"]
    return Tensor(operands[0].dtype, aval(equation.outvars[0]).shape, graph.node("Concat", *names, axis=axis))


def stack(graph: Graph, equation: JaxprEqn, *operands: Tensor) -> Tensor:
    axis = equation.params["axis"]
    whole = whole_operands(graph, equation, operands)
    names = [graph.name(reshaped(graph, x, (*x.shape[:axis], 1, *x.shape[axis:]))) for x in whole]
    return Tensor(operands[0].dtype, aval(equation.outvars[0]).shape, graph.node("Concat", *names, axis=axis))


def unstack(graph: Graph, equation: JaxprEqn, x: Tensor) -> list[Tensor]:
    (x,) = whole_operands(graph, equation, [x])
    axis, outs = equation.params["axis"], equation.outvars
    names = graph.nodes_with("Split", [graph.name(x), graph.integers(*[1] * len(outs))], len(outs), axis=axis)
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return [reshaped(graph, Tensor(x.dtype, shape, name), aval(outs[0]).shape) for name in names]


def tile(graph: Graph, equation: JaxprEqn, x: Tensor) -> Tensor:
    (x,) = whole_operands(graph, equation, [x])
    name = graph.node("Tile", graph.name(x), graph.integers(*equation.params["reps"]))
    return Tensor(x.dtype, aval(equation.outvars[0]).shape, name)


def split(graph: Graph, equation: JaxprEqn, x: Tensor) -> list[Tensor]:
    (x,) = whole_operands(graph, equation, [x])
    sizes, axis = equation.params["sizes"], equation.params["axis"]
    names = graph.nodes_with("Split", [graph.name(x), graph.integers(*sizes)], len(sizes), axis=axis)
    return [Tensor(x.dtype, aval(var).shape, name) for name, var in zip(names, equation.outvars, strict=True)]


def slice_(graph: Graph, equation: JaxprEqn, x: Tensor) -> Tensor:
    (x,) = whole_operands(graph, equation, [x])
    params = equation.params
    strides = params["strides"] or (1,) * len(x.shape)
    parts = [
        (axis, start, _END if limit == size else limit, stride)
        for axis, (start, limit, stride, size) in enumerate(
            zip(params["start_indices"], params["limit_indices"], strides, x.shape, strict=True)
        )
        if (start, stride) != (0, 1) or limit != size
    ]
    return _sliced(graph, x, aval(equation.outvars[0]).shape, parts)


def rev(graph: Graph, equation: JaxprEqn, x: Tensor) -> Tensor:
    (x,) = whole_operands(graph, equation, [x])
    return _sliced(graph, x, x.shape, [(axis, -1, -_END, -1) for axis in equation.params["dimensions"]])


def _sliced(graph: Graph, x: Tensor, shape: Any, parts: list[tuple[int, int, int, int]]) -> Tensor:
    if not parts:
        return x
    axes, starts, ends, steps = (graph.integers(*column) for column in zip(*parts, strict=True))
    return Tensor(x.dtype, shape, graph.node("Slice", graph.name(x), starts, ends, axes, steps))


def pad(graph: Graph, equation: JaxprEqn, x: Tensor, fill: Tensor) -> Tensor:
    x, fill = whole_operands(graph, equation, [x, fill])
    low, high, between = zip(*equation.params["padding_config"], strict=True)
    if any(between) or min((*low, *high)) < 0:
        raise UnsupportedError("it pads between values, or by less than 0")
    name = graph.node("Pad", graph.name(x), graph.integers(*low, *high), graph.name(fill))
    return Tensor(x.dtype, aval(equation.outvars[0]).shape, name)


def iota(graph: Graph, equation: JaxprEqn, *sizes: Tensor) -> Tensor:
    """Return the numbers 0, 1, ... along one axis, whose size does not depend on the number of rows."""
    params, dimension = equation.params, equation.params["dimension"]
    size = params["shape"][dimension]
    if not isinstance(size, int):
        raise UnsupportedError("it counts the rows of the batch")
    shape = [size if axis == dimension else 1 for axis in range(len(params["shape"]))]
    return constant(np.arange(size).astype(params["dtype"]).reshape(shape))


def cumsum(graph: Graph, equation: JaxprEqn, x: Tensor) -> Tensor:
    (x,) = whole_operands(graph, equation, [x])
    axis = graph.name(constant(np.array(equation.params["axis"], np.int64)))
    return Tensor(x.dtype, x.shape, graph.node("CumSum", graph.name(x), axis, reverse=int(equation.params["reverse"])))


def gather(graph: Graph, equation: JaxprEqn, x: Tensor, indices: Tensor) -> Tensor:
    """Take slices along one axis, as `jnp.take` and indexing by one array do, or the slice at a constant index.

    Or take elements along one axis, as `jnp.take_along_axis` does.
    """
    x, indices = whole_operands(graph, equation, [x, indices])
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    axes = numbers.start_index_map
    if indices.value is not None and indices.value.ndim == 1 and not numbers.operand_batching_dims:
        return _slice_at(graph, equation, x, indices.value)
    batch = tuple(axis for axis in range(len(x.shape)) if axis not in axes)
    if batch and (numbers.operand_batching_dims, numbers.start_indices_batching_dims) == (batch, batch):
        return _taken_along(graph, equation, x, indices)
    others = [size for axis, size in enumerate(sizes) if axis not in axes]
    full = [size for axis, size in enumerate(x.shape) if axis not in axes]
    if len(axes) != 1 or numbers.collapsed_slice_dims != axes or others != full or numbers.operand_batching_dims:
        raise UnsupportedError("it gathers along several axes, or slices")
    return _taken(graph, equation, x, indices)


def _slice_at(graph: Graph, equation: JaxprEqn, x: Tensor, starts: np.ndarray) -> Tensor:
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    axes = numbers.start_index_map
    parts = []
    for axis, start in zip(axes, starts.tolist(), strict=True):
        if not 0 <= start <= x.shape[axis] - sizes[axis]:
            raise UnsupportedError("it takes what lies beyond an array")
        parts.append((axis, start, start + sizes[axis], 1))
    sliced = _sliced(graph, x, tuple(sizes), parts)
    return reshaped(graph, sliced, aval(equation.outvars[0]).shape)


def _within(graph: Graph, x: Tensor, indices: Tensor, axis: int) -> tuple[Tensor, str]:
    """Return the indices without their last axis, and the name of the nearest indices that lie within the axis."""
    at = reshaped(graph, indices, indices.shape[:-1])
    zero, last = (graph.name(constant(np.array(number, indices.dtype))) for number in (0, x.shape[axis] - 1))
    return at, graph.node("Min", graph.node("Max", graph.name(at), zero), last)


def _taken_along(graph: Graph, equation: JaxprEqn, x: Tensor, indices: Tensor) -> Tensor:
    (axis,) = equation.params["dimension_numbers"].start_index_map
    if "FILL" in str(equation.params["mode"]):
        raise UnsupportedError("it fills what lies beyond an array")
    _, safe = _within(graph, x, indices, axis)
    taken = graph.node("GatherElements", graph.name(x), safe, axis=axis)
    return Tensor(x.dtype, aval(equation.outvars[0]).shape, taken)


def _taken(graph: Graph, equation: JaxprEqn, x: Tensor, indices: Tensor) -> Tensor:
    numbers, out = equation.params["dimension_numbers"], aval(equation.outvars[0])
    (axis,) = numbers.start_index_map
    mode = str(equation.params["mode"])
    at, safe = _within(graph, x, indices, axis)
    taken = graph.node("Gather", graph.name(x), safe, axis=axis)
    # ONNX puts the axes of the indices where the axis was; JAX says where the others go.
    offset = list(numbers.offset_dims)
    batch = [position for position in range(len(out.shape)) if position not in offset]
    order = [*offset[:axis], *batch, *offset[axis:]]
    result = transposed(graph, Tensor(x.dtype, tuple(out.shape[i] for i in order), taken), tuple(np.argsort(order)))
    if "FILL" not in mode:
        return result
    fill = equation.params["fill_value"]
    if fill is None and not is_float(x.dtype):
        raise UnsupportedError("it fills what lies beyond an array of integers")
    inside = graph.node("Equal", safe, graph.name(at))
    shape = tuple(out.shape[position] if position in batch else 1 for position in range(len(out.shape)))
    mask = reshaped(graph, Tensor(np.dtype(bool), at.shape, inside), shape)
    filled = graph.name(constant(np.array(np.nan if fill is None else fill, x.dtype)))
    return Tensor(x.dtype, out.shape, graph.node("Where", graph.name(mask), graph.name(result), filled))


FORMS: dict[str, Callable[..., Any]] = {
    "reshape": reshape,
    "squeeze": reshape,
    "expand_dims": reshape,
    "broadcast_in_dim": broadcast_in_dim,
    "transpose": transpose,
    "concatenate": concatenate,
    "split": split,
    "stack": stack,
    "unstack": unstack,
    "tile": tile,
    "slice": slice_,
    "rev": rev,
    "pad": pad,
    "iota": iota,
    "cumsum": cumsum,
    "gather": gather,
}
