"""Elementwise primitives, and the choice between two values."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn

from mmcl_jax.export.programs.onnx.graph import Graph, Tensor, UnsupportedError, aval, constant, is_float, storage

_DIRECT = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "pow": "Pow",
    "neg": "Neg",
    "abs": "Abs",
    "sign": "Sign",
    "floor": "Floor",
    "ceil": "Ceil",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
    "sin": "Sin",
    "cos": "Cos",
    "logistic": "Sigmoid",
    "erf": "Erf",
    "eq": "Equal",
    "lt": "Less",
    "le": "LessOrEqual",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "and": "And",
    "or": "Or",
    "xor": "Xor",
    "not": "Not",
}
_WRAPS = ("add", "sub", "mul", "neg", "pow")  # differ in integers of fewer than 32 bits, which wrap around
_BITWISE = ("and", "or", "xor", "not")

Form = Callable[..., str]


def _sized(graph: Graph, like: Tensor, number: float) -> str:
    """Return the name of a number of the type of a tensor."""
    return graph.name(constant(np.array(number, like.dtype)))


def _rsqrt(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    return graph.node("Div", _sized(graph, x, 1), graph.node("Sqrt", graph.name(x)))


def _square(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    return graph.node("Mul", graph.name(x), graph.name(x))


def _integer_pow(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    return graph.node("Pow", graph.name(x), _sized(graph, x, equation.params["y"]))


def _erfc(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    return graph.node("Sub", _sized(graph, x, 1), graph.node("Erf", graph.name(x)))


def _log1p(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    return graph.node("Log", graph.node("Add", graph.name(x), _sized(graph, x, 1)))


def _expm1(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    return graph.node("Sub", graph.node("Exp", graph.name(x)), _sized(graph, x, 1))


def _ne(graph: Graph, equation: JaxprEqn, x: Tensor, y: Tensor) -> str:
    return graph.node("Not", graph.node("Equal", graph.name(x), graph.name(y)))


def _is_finite(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    return graph.node("Less", graph.node("Abs", graph.name(x)), _sized(graph, x, np.inf))


def _round(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    if equation.params["rounding_method"] != lax.RoundingMethod.TO_NEAREST_EVEN:
        raise UnsupportedError("it rounds halves away from zero")
    return graph.node("Round", graph.name(x))


def _rem(graph: Graph, equation: JaxprEqn, x: Tensor, y: Tensor) -> str:
    return graph.node("Mod", graph.name(x), graph.name(y), fmod=1)


def _clamp(graph: Graph, equation: JaxprEqn, low: Tensor, x: Tensor, high: Tensor) -> str:
    return graph.node("Min", graph.node("Max", graph.name(x), graph.name(low)), graph.name(high))


def _select(graph: Graph, equation: JaxprEqn, which: Tensor, *cases: Tensor) -> str:
    if which.dtype.kind != "b" or len(cases) != 2:
        raise UnsupportedError(f"it chooses among {len(cases)} values")
    no, yes = cases
    if no.dtype.kind != "b":
        return graph.node("Where", graph.name(which), graph.name(yes), graph.name(no))
    chosen = graph.node("And", graph.name(which), graph.name(yes))
    return graph.node("Or", chosen, graph.node("And", graph.node("Not", graph.name(which)), graph.name(no)))


def _convert(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    old, new = x.dtype, np.dtype(equation.params["new_dtype"])
    if new.kind == "b" and old.kind != "b":
        return graph.node("Not", graph.node("Equal", graph.name(x), _sized(graph, x, 0)))
    narrow = new.kind in "iu" and new.itemsize < 4 and not (old.kind in "b" or np.can_cast(old, new))
    if narrow or new == np.uint32:
        raise UnsupportedError(f"it converts {old} to {new}")
    return graph.name(x) if storage(old) == storage(new) else graph.cast(graph.name(x), storage(new))


def _reduce_precision(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    bits = equation.params["exponent_bits"], equation.params["mantissa_bits"]
    kinds = {(8, 7): "BFLOAT16", (5, 10): "FLOAT16", (8, 23): "FLOAT"}
    if bits not in kinds or storage(x.dtype) != "FLOAT":
        raise UnsupportedError(f"it rounds to {bits[1]} bits")
    return graph.name(x) if kinds[bits] == "FLOAT" else graph.cast(graph.cast(graph.name(x), kinds[bits]), "FLOAT")


def _same(graph: Graph, equation: JaxprEqn, x: Tensor) -> str:
    return graph.name(x)


_COMPOSED: dict[str, Form] = {
    "rsqrt": _rsqrt,
    "square": _square,
    "integer_pow": _integer_pow,
    "erfc": _erfc,
    "log1p": _log1p,
    "expm1": _expm1,
    "ne": _ne,
    "is_finite": _is_finite,
    "round": _round,
    "rem": _rem,
    "clamp": _clamp,
    "select_n": _select,
    "convert_element_type": _convert,
    "reduce_precision": _reduce_precision,
    "copy": _same,
    "copy_p": _same,
    "stop_gradient": _same,
    "sharding_constraint": _same,
}


def elementwise(graph: Graph, equation: JaxprEqn, *operands: Tensor) -> Tensor:
    """Add an elementwise primitive; operands that are not broadcast yet stay so where all of them are."""
    name, out = equation.primitive.name, aval(equation.outvars[0])
    dtype = operands[-1].dtype
    if name in _BITWISE and dtype.kind != "b":
        raise UnsupportedError(f"it computes {name!r} of the bits of {dtype}")
    if name in _WRAPS and not is_float(dtype) and dtype.itemsize < 4:
        raise UnsupportedError(f"it computes {name!r} of {dtype}, which wraps around")
    if name in _DIRECT:
        result = graph.node(_DIRECT[name], *map(graph.name, operands))
    else:
        result = _COMPOSED[name](graph, equation, *operands)
    shape = tuple(
        next((x.shape[axis] for x in operands if x.shape and x.shape[axis] != 1), 1) for axis in range(len(out.shape))
    )
    return graph.result(result, out, shape)


FORMS: dict[str, Callable[..., Any]] = dict.fromkeys((*_DIRECT, *_COMPOSED), elementwise)
