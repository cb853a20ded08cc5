"""Repeat a traced function with another derivative of its ReLUs, and with an array added to one of its outputs.

So any encoder can be explained at its stage maps, and by guided backpropagation, without changes of its code: both work
on the trace of the function (its jaxpr), in which a ReLU is `max(x, 0)`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import Array, Float

Relu = Callable[[Array], Array]


@jax.custom_vjp
def guided_relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return max(x, 0), whose gradient passes where both the input and the gradient are positive.

    This is guided backpropagation (Springenberg et al., ICLR 2015 workshop).

    Example:
      >>> gradient = jax.grad(lambda x: (guided_relu(x) * jnp.array([1.0, -1.0, 1.0])).sum())
      >>> print(gradient(jnp.array([2.0, 2.0, -2.0])))
      [1. 0. 0.]
    """
    return jnp.maximum(x, 0)


guided_relu.defvjp(lambda x: (jnp.maximum(x, 0), x > 0), lambda positive, g: (jnp.where(positive & (g > 0), g, 0),))


def replay(
    traced: ClosedJaxpr, *arguments: Array, relu: Relu = jax.nn.relu, added: tuple[int, Array] | None = None
) -> list[Array]:
    """Return the outputs of a traced function.

    Args:
      traced: as `jax.make_jaxpr` returns it.
      arguments: flat, of the shapes that were traced.
      relu: the function in place of every ReLU.
      added: the index of an output, and an array that is added to it where it is computed: outputs that depend on it
        change too, so the gradient by the array is that by the output.
    """
    tap = None if added is None else (traced.jaxpr.outvars[added[0]], added[1])
    return _run(traced.jaxpr, traced.consts, arguments, relu, tap)


def is_read(traced: ClosedJaxpr, output: int) -> bool:
    """Return whether further outputs are computed from this output."""
    variable = traced.jaxpr.outvars[output]
    return any(variable is operand for equation in traced.jaxpr.eqns for operand in equation.invars)


def has_relu(traced: ClosedJaxpr | Jaxpr) -> bool:
    """Return whether a traced function has a ReLU."""
    jaxpr = traced.jaxpr if isinstance(traced, ClosedJaxpr) else traced
    return any(_is_relu(equation) or any(map(has_relu, _inside(equation))) for equation in jaxpr.eqns)


def _run(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any], relu: Relu, tap: Any) -> list[Array]:
    values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(operand: Any) -> Any:
        return operand.val if isinstance(operand, Literal) else values[operand]

    for equation in jaxpr.eqns:
        operands = [read(operand) for operand in equation.invars]
        inner = list(_inside(equation))
        if _is_relu(equation):
            results = [relu(next(x for x, of in zip(operands, equation.invars, strict=True) if not _is_zero(of)))]
        elif any(map(has_relu, inner)):
            (called,) = inner
            closed = called if isinstance(called, ClosedJaxpr) else ClosedJaxpr(called, ())
            if len(closed.jaxpr.invars) != len(operands):
                raise NotImplementedError(f"a ReLU inside of {equation.primitive.name}")
            results = _run(closed.jaxpr, closed.consts, operands, relu, None)
        else:
            results = equation.primitive.bind(*operands, **equation.primitive.get_bind_params(equation.params))
            results = results if equation.primitive.multiple_results else [results]
        for variable, result in zip(equation.outvars, results, strict=True):
            values[variable] = result + tap[1] if tap is not None and variable is tap[0] else result
    return [read(operand) for operand in jaxpr.outvars]


def _is_relu(equation: Any) -> bool:
    return equation.primitive.name == "max" and any(map(_is_zero, equation.invars))


def _is_zero(operand: Any) -> bool:
    return isinstance(operand, Literal) and jnp.ndim(operand.val) == 0 and bool(operand.val == 0)


def _inside(equation: Any) -> Iterator[ClosedJaxpr | Jaxpr]:
    """Yield the traced functions that an equation calls."""
    for value in equation.params.values():
        if isinstance(value, ClosedJaxpr | Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from (part for part in value if isinstance(part, ClosedJaxpr | Jaxpr))
