"""Primitives that sum: convolutions, products of matrices, windows and reductions."""

import math
import string
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from mmcl_jax.export.programs.onnx.graph import Graph, Tensor, UnsupportedError, aval, whole_operands
from mmcl_jax.export.programs.onnx.structure import transposed


def conv_general_dilated(graph: Graph, equation: JaxprEqn, x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve with the batch and the channels as the first axes, and the padding of JAX on both sides."""
    x, kernel = whole_operands(graph, equation, [x, kernel])
    params, numbers = equation.params, equation.params["dimension_numbers"]
    low, high = zip(*params["padding"], strict=True)
    if set(params["lhs_dilation"]) != {1} or params["batch_group_count"] != 1 or min((*low, *high)) < 0:
        raise UnsupportedError("it has a transposed convolution")
    x, kernel = transposed(graph, x, numbers.lhs_spec), transposed(graph, kernel, numbers.rhs_spec)
    name = graph.node(
        "Conv",
        graph.name(x),
        graph.name(kernel),
        strides=list(params["window_strides"]),
        pads=[*low, *high],
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
    )
    out, spec = aval(equation.outvars[0]), numbers.out_spec
    result = Tensor(x.dtype, tuple(out.shape[axis] for axis in spec), name)
    return graph.result(transposed(graph, result, tuple(np.argsort(spec))).name, out)


def dot_general(graph: Graph, equation: JaxprEqn, x: Tensor, y: Tensor) -> Tensor:
    """Multiply matrices, or stacks of matrices."""
    x, y = whole_operands(graph, equation, [x, y])
    (x_sum, y_sum), (x_batch, y_batch) = equation.params["dimension_numbers"]
    x_free = [axis for axis in range(len(x.shape)) if axis not in (*x_sum, *x_batch)]
    y_free = [axis for axis in range(len(y.shape)) if axis not in (*y_sum, *y_batch)]
    out = aval(equation.outvars[0])
    one_each = len(y_free) == len(x_sum) == 1 and (len(x_free) == 1 or not x_batch)
    if one_each:
        x = transposed(graph, x, (*x_batch, *x_free, *x_sum))
        y = transposed(graph, y, (*y_batch, *y_sum, *y_free))
        return graph.result(graph.node("MatMul", graph.name(x), graph.name(y)), out)
    letters = iter(string.ascii_lowercase)
    in_x, in_y = [next(letters) for _ in x.shape], [next(letters) for _ in y.shape]
    for first, second in zip((*x_sum, *x_batch), (*y_sum, *y_batch), strict=True):
        in_y[second] = in_x[first]
    result = [in_x[axis] for axis in (*x_batch, *x_free)] + [in_y[axis] for axis in y_free]
    text = f"{''.join(in_x)},{''.join(in_y)}->{''.join(result)}"
    return graph.result(graph.node("Einsum", graph.name(x), graph.name(y), equation=text), out)


def reduce_window(graph: Graph, equation: JaxprEqn, x: Tensor) -> Tensor:
    """Pool over the axes that have a window; padding never is the maximum, and adds 0 to a sum."""
    (x,) = whole_operands(graph, equation, [x])
    params = equation.params
    windows, strides, padding = params["window_dimensions"], params["window_strides"], params["padding"]
    plain = [axis for axis, parts in enumerate(zip(windows, strides, padding, strict=True)) if parts == (1, 1, (0, 0))]
    space = [axis for axis in range(len(windows)) if axis not in plain]
    if len(plain) != 2 or {*params["base_dilation"], *params["window_dilation"]} != {1}:
        raise UnsupportedError("it has a window over channels or rows, or a dilated one")
    order = (*plain, *space)
    moved = transposed(graph, x, order)
    pads = [padding[axis][side] for side in (0, 1) for axis in space]
    shape = {"kernel_shape": [windows[axis] for axis in space], "strides": [strides[axis] for axis in space]}
    if equation.primitive.name == "reduce_window_max":
        name = graph.node("MaxPool", graph.name(moved), pads=pads, **shape)
    else:
        name = graph.node("AveragePool", graph.name(moved), pads=pads, count_include_pad=1, **shape)
        name = graph.node("Mul", name, graph.constant(np.array(math.prod(windows), np.float32)))
    out = aval(equation.outvars[0])
    pooled = Tensor(x.dtype, tuple(out.shape[axis] for axis in order), name)
    return graph.result(transposed(graph, pooled, tuple(np.argsort(order))).name, out)


_REDUCTIONS = {
    "reduce_sum": "ReduceSum",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
    "reduce_or": "ReduceMax",
    "reduce_and": "ReduceMin",
}


def reduce(graph: Graph, equation: JaxprEqn, x: Tensor) -> Tensor:
    (x,) = whole_operands(graph, equation, [x])
    name, logical = graph.name(x), x.dtype == bool
    axes = equation.params["axes"]
    if logical:
        name = graph.cast(name, "INT32")
    if axes:
        name = graph.node(_REDUCTIONS[equation.primitive.name], name, graph.integers(*axes), keepdims=0)
    return graph.result(graph.cast(name, "BOOL") if logical else name, aval(equation.outvars[0]))


def argmax(graph: Graph, equation: JaxprEqn, x: Tensor) -> Tensor:
    (x,) = whole_operands(graph, equation, [x])
    (axis,) = equation.params["axes"]
    operator = {"argmax": "ArgMax", "argmin": "ArgMin"}[equation.primitive.name]
    name = graph.cast(graph.node(operator, graph.name(x), axis=axis, keepdims=0), "INT32")
    return graph.result(name, aval(equation.outvars[0]))


FORMS: dict[str, Callable[..., Any]] = {
    "conv_general_dilated": conv_general_dilated,
    "dot_general": dot_general,
    "reduce_window_max": reduce_window,
    "reduce_window_sum": reduce_window,
    "argmax": argmax,
    "argmin": argmax,
    **dict.fromkeys(_REDUCTIONS, reduce),
}
