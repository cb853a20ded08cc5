"""Exact counts of a program's collectives and FLOPs, from its compiled text or its trace."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(")
_SHAPE = re.compile(r"\b([a-z]+\d+)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:body|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")


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
    totals = {kind: {"count": 0, "bytes": 0} for kind in KINDS}
    computations, entry = _computations(text)

    def visit(name: str, times: int) -> None:
        for line in computations[name]:
            if collective := _COLLECTIVE.search(line):
                total = totals[collective[2]]
                total["count"] += times
                total["bytes"] += times * _bytes(collective[1])
                continue
            trips = _TRIPS.search(line)
            for called in _CALLED.findall(line):
                visit(called, times * (int(trips[1]) if trips else 1))

    visit(entry, 1)
    return {kind: total for kind, total in totals.items() if total["count"]}


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    computations: dict[str, list[str]] = {}
    entry = current = ""
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = head[2]
            computations[current] = []
            entry = current if head[1] else entry
        elif current:
            computations[current].append(line)
    return computations, entry


def _bytes(shapes: str) -> int:
    sizes = {"pred": 1, "bf16": 2}
    total = 0
    for kind, dimensions in _SHAPE.findall(shapes):
        size = sizes.get(kind) or int(re.sub(r"\D", "", kind)) // 8
        total += size * math.prod(int(d) for d in dimensions.split(",") if d)
    return total


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
