"""What the kernel and the train step need on machines that are not here, from their compilers; nothing is run.

    python -m benchmarks compile --size full            # records every page anew
    python -m benchmarks compile --size full --machines v5e:1 h100:8 --programs resnet50
    python -m benchmarks compile --size small --check   # compares, and records nothing

`small` are the all-pairs kernel and a step of ResNet-18, which take a minute each; `full` adds steps of ResNet-50.
Each machine's figures lie in `results/compile-*.json`. The compilers are those of the extras `aot` and `cuda`; machines
without their compiler are left out, with a line that says so.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.hlo import listed
from mmcl_jax.aot.assumed import assumed_experiment
from mmcl_jax.aot.collectives import by_kind, collectives_of
from mmcl_jax.aot.needs import needs_of
from mmcl_jax.aot.program import compile_program
from mmcl_jax.aot.topology import Machine, machine_of
from mmcl_jax.config import load
from mmcl_jax.errors import UserError
from mmcl_jax.objectives.pairs import Execution, contrast, same
from mmcl_jax.training.mesh import by_example, make_mesh

MACHINES = ("v5e:1", "v5e:2x4", "v5e:16x16", "v5p:4x4x4", "h100:8")
PROGRAMS = ("pairs", "resnet18", "resnet50")
BATCHES, WIDTH = (131072, 1048576), 128
# Rows per device and pixels of a step, by network.
STEPS = {"resnet18": (64, 32), "resnet50": (512, 128)}
SLACK = 1.01  # bytes may grow by so much before the check fails
GROWS = ("temporary_bytes", "total_bytes", "moved_bytes", "unexplained")


def kernel(machine: Machine, name: Any, batch: int) -> dict[str, Any]:
    """Return the row of a symmetric contrast of `batch` bfloat16 embeddings, with the gradients of both sides."""
    mesh = make_mesh(machine.devices)
    execution, sharding = Execution(name=name, mesh=mesh), by_example(mesh)

    def loss(x: jax.Array, y: jax.Array, ids: jax.Array) -> jax.Array:
        metadata: dict[str, Any] = {"x_metadata": {"id": ids}, "y_metadata": {"id": ids}}
        both = contrast(x, y, rule=same("id"), scale=10.0, execution=execution, **metadata)
        return (both.forward.mean() + both.backward.mean()) / 2

    embeddings = jax.ShapeDtypeStruct((batch, WIDTH), jnp.bfloat16, sharding=sharding)
    ids = jax.ShapeDtypeStruct((batch,), jnp.uint32, sharding=sharding)
    lowered = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(embeddings, embeddings, ids)
    program = compile_program(lowered, machine, f"pairs, {name}, {batch:,} rows,", options={}, quiet=False)
    return {
        "program": f"pairs, {name}",
        "batch": batch,
        "temporary_bytes": program.temporary,
        "total_bytes": program.arguments + program.temporary + program.outputs + program.code,
        "collectives": by_kind(collectives_of(program.text)),
        "seconds": round(program.seconds),
    }


def step(machine: Machine, network: str) -> dict[str, Any]:
    """Return the row of the train step of `configs/mmcl.py` in bfloat16, on images of the size of its views."""
    rows, pixels = STEPS[network]
    overrides = (f"encoders.image.name={network}", "dtype=bfloat16", f"batch_size={rows * len(machine.devices)}")
    config = load("mmcl/mmcl:dvm", [*overrides, f"views.image.size=({pixels}, {pixels})"])
    needs = needs_of(assumed_experiment(config, machine.devices)[0], machine)
    return {
        "program": f"mmcl step, {network}, {pixels} pixels",
        "batch": needs.batch_size,
        "temporary_bytes": needs.memory["temporary"],
        "total_bytes": needs.total,
        "state_bytes": needs.memory["state"],
        "pairs_bytes": needs.pairs,
        "moved_bytes": needs.moved,
        "flops": needs.flops,
        "rows_per_second_at_most": needs.rows_per_second,
        "collectives": by_kind(one for one, _ in needs.collectives),
        "unexplained": len(needs.unexplained),
        "seconds": round(needs.seconds),
    }


def run(size: str, names: Sequence[str] = MACHINES, programs: Sequence[str] = PROGRAMS) -> Iterator[dict[str, Any]]:
    """Yield the rows of machines by name, each with its machine and compiler; what takes least comes first."""
    machines = []
    for name in names:
        try:
            machines.append(machine_of(name))
        except UserError as error:
            print(f"left out: {error}")

    def row(machine: Machine, content: dict[str, Any]) -> dict[str, Any]:
        return {"machine": machine.name, "compiler": machine.compiler, **content}

    several = [machine for machine in machines if len(machine.devices) > 1]
    for batch, machine, name in (
        itertools.product(BATCHES, several, ("gathered", "ring")) if "pairs" in programs else ()
    ):
        yield row(machine, kernel(machine, name, batch))
    for machine in several if "resnet18" in programs else ():
        yield row(machine, step(machine, "resnet18"))
    for machine in machines if size == "full" and "resnet50" in programs else ():
        yield row(machine, step(machine, "resnet50"))


def file_of(row: dict[str, Any]) -> str:
    """Return the name of the file that a row lies in, without its ending."""
    return f"compile-{row['machine'].replace(':', '-')}"


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells a row from the other rows of its file."""
    return row["program"], row["batch"]


def growth(row: dict[str, Any], folder: Path) -> list[str]:
    """Return a sentence for each figure of a row that is larger than the committed figure.

    A row without a committed row, or of another compiler, is compared with nothing, which is a sentence, too.
    """
    path = folder / f"{file_of(row)}.json"
    committed = json.loads(path.read_text())["rows"] if path.is_file() else []
    name = f"{row['machine']}, {row['program']}, batch {row['batch']:,}"
    before = next((one for one in committed if key_of(one) == key_of(row)), None)
    if before is None:
        return [f"{name}: no figures are committed."]
    if before["compiler"] != row["compiler"]:
        return [f"{name}: the committed figures are of another compiler ({before['compiler']})."]
    limits = {field: (before.get(field) or 0) * SLACK for field in GROWS if row.get(field) is not None}
    sentences = [
        f"{name}: {field} are {row[field]:,}, and were {before.get(field) or 0:,}."
        for field, limit in limits.items()
        if row[field] > limit
    ]
    for kind, total in row["collectives"].items():
        old = before["collectives"].get(kind, {"count": 0, "bytes": 0})
        if total["count"] > old["count"] or total["bytes"] > old["bytes"] * SLACK:
            sentences.append(f"{name}: {kind} are {total}, and were {old}.")
    return sentences


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the column names of the printed table."""
    return [
        {
            "machine": row["machine"],
            "program": row["program"],
            "batch": row["batch"],
            "temporary MiB": row["temporary_bytes"] / 2**20,
            "GB moved": row["moved_bytes"] / 1e9 if row.get("moved_bytes") else None,
            "collectives (MiB)": listed(row["collectives"]),
            "unexplained": row.get("unexplained"),
        }
        for row in rows
    ]
