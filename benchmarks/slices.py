"""What a step of several TPU slices sends within slices and over the data-centre network between them.

    JAX_PLATFORMS=cpu python -m benchmarks slices

Compiled for two slices of 2x2 v5e, and for one; nothing is run. The compiler is libtpu, of the extra `aot`. A
collective of both slices becomes collectives within each slice and transfers between them. Gradients are reduced
hierarchically: they are summed and divided within a slice, so that a device sends its share alone to the other slice.
"""

import re
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.synthetic import experiment
from mmcl_jax.aot.collectives import by_kind, collectives_of
from mmcl_jax.aot.topology import Machine, machine_of
from mmcl_jax.objectives.pairs import Execution, contrast, same
from mmcl_jax.training.mesh import by_example, make_mesh, replicated
from mmcl_jax.training.step.train_step import compile_step, make_step

MACHINES = ("2xv5e:2x2", "v5e:2x2")
BATCH, WIDTH = 4096, 128
KINDS = {
    "ALL_REDUCE": "all-reduce", "ALL_GATHER": "all-gather", "REDUCE_SCATTER": "reduce-scatter",
    "ALL_TO_ALL": "all-to-all", "ONE_TO_ONE": "collective-permute",
}  # fmt: skip
_SEND = re.compile(r"(%\S+ = )\((.*?), u32\[\], token\[\]\) send\(.*_xla_megascale_transfer_type=\"(\w+)\".*")
_WITHIN = re.compile(rf" (?:{'|'.join(KINDS.values())})(?:-start|-done)?\(")


def between_slices(text: str) -> dict[str, dict[str, int]]:
    """Return how often a device sends each kind of transfer to other slices in a step, and the bytes that it sends.

    Of a `collective-permute` between slices only the devices at the ends of a slice send.
    """
    lines = [_SEND.sub(lambda send: f"{send[1]}{send[2]} {KINDS[send[3]]}()", line) for line in _others(text)]
    return by_kind(collectives_of("\n".join(lines)))


def _others(text: str) -> list[str]:
    """Return the lines of a program without its collectives within slices."""
    return [line for line in text.splitlines() if not _WITHIN.search(line) and "calls=%all-reduce-scatter" not in line]


def pairs(machine: Machine, name: Any) -> dict[str, Any]:
    """Return the row of a matrix of 128 x 128 weights before a contrast of `BATCH` embeddings, with its gradient."""
    mesh = make_mesh(machine.devices)
    execution, sharding = Execution(name=name, mesh=mesh), by_example(mesh)

    def loss(weights: jax.Array, x: jax.Array, y: jax.Array, ids: jax.Array) -> jax.Array:
        metadata: dict[str, Any] = {"x_metadata": {"id": ids}, "y_metadata": {"id": ids}}
        both = contrast(x @ weights, y, rule=same("id"), scale=10.0, execution=execution, **metadata)
        return (both.forward.mean() + both.backward.mean()) / 2

    weights = jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32, sharding=replicated(mesh))
    rows = jax.ShapeDtypeStruct((BATCH, WIDTH), jnp.float32, sharding=sharding)
    ids = jax.ShapeDtypeStruct((BATCH,), jnp.uint32, sharding=sharding)
    return _row(machine, f"pairs, {name}", jax.jit(jax.value_and_grad(loss)).lower(weights, rows, rows, ids).compile())


def step(machine: Machine) -> dict[str, Any]:
    """Return the row of the step of `configs/digits_mmcl.py` with `BATCH` rows."""
    made = experiment("digits_mmcl", size=16, batch_size=BATCH, devices=machine.devices)
    compiled = compile_step(make_step(made), *made.shapes(), dtype=made.config.dtype)
    sizes = sum(array.size for array in jax.tree.leaves(made.shapes()[0].params))
    return {**_row(machine, "step of digits_mmcl", compiled), "parameters_bytes": 4 * sizes}


def _row(machine: Machine, program: str, compiled: Any) -> dict[str, Any]:
    text = compiled.as_text()
    return {
        "machine": machine.name,
        "program": program,
        "batch": BATCH,
        "within": by_kind(collectives_of(text)),
        "between": between_slices(text),
    }


def run(size: str) -> list[dict[str, Any]]:
    """Return all rows; `size` makes no difference."""
    del size
    machines = [machine_of(name) for name in MACHINES]
    return [row for machine in machines for row in (*(pairs(machine, e) for e in ("gathered", "ring")), step(machine))]


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the column names of the printed table."""

    def told(totals: dict[str, dict[str, int]]) -> str:
        return ", ".join(f"{one['count']} {kind} ({one['bytes'] / 2**10:.4g})" for kind, one in totals.items()) or "-"

    return [
        {
            "machine": row["machine"],
            "program": row["program"],
            "within slices (KiB)": told(row["within"]),
            "between slices (KiB)": told(row["between"]),
        }
        for row in rows
    ]
