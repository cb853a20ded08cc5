"""FLOPs of a program: its matrix products and convolutions, counted before it is compiled.

The count is taken from the program as JAX traces it, so it is the same on every platform. (XLA's own count misses what
a library computes, such as every convolution on a GPU, and counts the body of a loop once.) Elementwise operations,
reductions, sorts and decompositions are left out: they are bound by memory, and few beside the products.
"""

import functools
import math
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

# Named scopes whose products do not count as work of the model. JAX names what `jax.checkpoint` computes again; "again"
# is the scope of what gradient caching and the all-pairs kernel compute a second time (see `step.gradients`).
AUGMENTATION = "views"
RECOMPUTED = ("rematted_computation", "again")


def flops_of(function: Callable[..., Any], *arguments: Any, without: Collection[str] = ()) -> float:
    """Return the floating-point operations of the products of `function(*arguments)` on all devices together.

    See `flops_of_jaxpr`. The arguments may be shapes and dtypes (`jax.ShapeDtypeStruct`); nothing is compiled or run.

    Example:
      >>> flops_of(lambda x, y: x @ y, np.ones((2, 3)), np.ones((3, 4)))
      48.0
    """
    return flops_of_jaxpr(jax.make_jaxpr(function)(*arguments), without=without)


def flops_of_jaxpr(jaxpr: Jaxpr | ClosedJaxpr, *, without: Collection[str] = ()) -> float:
    """Return the floating-point operations of the matrix products and convolutions of a traced program.

    A multiplication and an addition are two operations. The body of a `scan` counts once per iteration, that of a
    `shard_map` once per device, the dearest branch of a `cond`, and the body of a `while_loop`, whose number of
    iterations is not known, once. A convolution counts products with values of its input alone, not with padding or
    with the zeros between values; so the gradients of a convolution cost as much as the convolution.

    Args:
      jaxpr: the program.
      without: named scopes whose products are left out: `RECOMPUTED` for what is computed again to save memory, so that
        the FLOPs of the model remain, as model FLOPs utilisation (MFU) needs them (Chowdhery et al., 2022).
    """
    jaxpr = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    return sum((_flops_of_equation(equation, without) for equation in jaxpr.eqns), start=0.0)


def model_flops(jaxpr: Jaxpr | ClosedJaxpr) -> float:
    """Return the FLOPs of encoders, projectors and terms alone: without augmentation and what is computed again."""
    return flops_of_jaxpr(jaxpr, without=(AUGMENTATION, *RECOMPUTED))


def _flops_of_equation(equation: Any, without: Collection[str]) -> float:
    if not _scopes(str(equation.source_info.name_stack)).isdisjoint(without):
        return 0.0
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return _of_product(equation)
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    parts = [flops_of_jaxpr(jaxpr, without=without) for jaxpr in _jaxprs(params)]
    if name == "cond":
        return max(parts)
    times = 1
    if name == "scan":
        times = params["length"]
    elif name == "shard_map":
        axes = params.get("newly_manual_axes", params.get("manual_axes"))  # the name depends on the version of JAX
        times = math.prod(params["mesh"].shape[axis] for axis in axes)
    return times * sum(parts)


@functools.cache
def _scopes(stack: str) -> frozenset[str]:
    """Return the scopes of an equation, such as "jvp(views)/image", without those that its transposition stems from.

    What a backward pass computes has the scopes of its forward pass inside "transpose(...)".
    """
    before = ""
    while stack != before:
        before = stack
        stack = re.sub(r"(\w+)\(([^()]*)\)", lambda found: "" if found[1] == "transpose" else found[2], stack)
    return frozenset(stack.split("/"))


def _jaxprs(params: Any) -> Iterator[Jaxpr | ClosedJaxpr]:
    """Yield the programs among the parameters of an equation."""
    kinds = (Jaxpr, ClosedJaxpr)
    for leaf in jax.tree.leaves(list(params.values()), is_leaf=lambda leaf: isinstance(leaf, kinds)):
        if isinstance(leaf, kinds):
            yield leaf


def _of_product(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)


def _of_convolution(equation: Any) -> float:
    params, numbers = equation.params, equation.params["dimension_numbers"]
    values, kernel = (variable.aval.shape for variable in equation.invars)
    outputs = equation.outvars[0].aval.shape
    # Indices are (batch, features, space...) of values and outputs, and (features out, in, space...) of the kernel.
    products = outputs[numbers.out_spec[0]] * outputs[numbers.out_spec[1]] * kernel[numbers.rhs_spec[1]]
    for axis, (stride, padding, spread, dilation) in enumerate(
        zip(
            params["window_strides"],
            params["padding"],
            params["lhs_dilation"],
            params["rhs_dilation"],
            strict=True,
        )
    ):
        places = np.arange(outputs[numbers.out_spec[2 + axis]])[:, None] * stride - padding[0]
        places = places + np.arange(kernel[numbers.rhs_spec[2 + axis]]) * dilation
        last = (values[numbers.lhs_spec[2 + axis]] - 1) * spread
        products *= int(((places >= 0) & (places <= last) & (places % spread == 0)).sum())
    return 2.0 * products
