"""Exact counts of a program's collectives and FLOPs, from its compiled text or its trace."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mmcl_jax.aot.collectives import by_kind, collectives_of


def listed(totals: Mapping[str, Mapping[str, int]]) -> str:
    """Return the number and MiB of every kind of collective, as tables show them.

    Example:
      >>> listed({"all-gather": {"count": 2, "bytes": 2**20}})
      '2 all-gather (1)'
    """
    return ", ".join(f"{total['count']} {kind} ({total['bytes'] / 2**20:.3g})" for kind, total in totals.items())


def collectives(text: str) -> dict[str, dict[str, int]]:
    """Return the number, and bytes per device, of every kind of collective in the text of a compiled program.

    A collective in a loop counts once per iteration.
    """
    return by_kind(collectives_of(text))


def matrix_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """Count the multiplications and additions of all matrix products in a function's trace, loops included.

    The count is of one device within `shard_map`, and of all devices elsewhere.
    """
    return _flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def _flops(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shared = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            total += 2 * shared * int(np.prod(equation.outvars[0].aval.shape))
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda value: hasattr(value, "eqns") or hasattr(value, "jaxpr")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                total += times * _flops(inner)
    return total
