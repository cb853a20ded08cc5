"""Memory, FLOPs and collectives of compiled programs on eight devices; the programs are not run.

    python -m benchmarks compiled

These figures are exact: `tests/benchmarks` compares them with the committed results.
"""

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.hlo import collectives, listed, matrix_flops
from benchmarks.synthetic import experiment
from mmcl_jax.objectives.pairs import EXECUTIONS, Execution, contrast, same
from mmcl_jax.training.mesh import by_example, make_mesh
from mmcl_jax.training.step.train_step import compile_step, make_step

BATCHES = (4096, 32768, 131072)
WIDTH, DEVICES = 128, 8


def kernel(name: Any, batch: int) -> dict[str, Any]:
    """Return the row of a symmetric contrast of `batch` float32 embeddings, with the gradients of both sides."""
    mesh = make_mesh(jax.devices()[:DEVICES])
    execution = Execution(name=name, mesh=mesh)

    def loss(x: jax.Array, y: jax.Array, ids: jax.Array) -> jax.Array:
        metadata = {"id": ids}
        both = contrast(
            x, y, rule=same("id"), x_metadata=metadata, y_metadata=metadata, scale=10.0, execution=execution
        )
        return (both.forward.mean() + both.backward.mean()) / 2

    sharding = by_example(mesh)
    embeddings = jax.ShapeDtypeStruct((batch, WIDTH), jnp.float32, sharding=sharding)
    ids = jax.ShapeDtypeStruct((batch,), jnp.uint32, sharding=sharding)
    gradients = jax.value_and_grad(loss, argnums=(0, 1))
    compiled: Any = jax.jit(gradients).lower(embeddings, embeddings, ids).compile()
    unit = 2 * (batch // DEVICES) * batch * WIDTH
    flops = matrix_flops(gradients, embeddings, embeddings, ids) // (DEVICES if name == "dense" else 1)
    return {
        "program": "kernel",
        "execution": name,
        "batch": batch,
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "matrix_flops": flops,
        "matrix_flops_in_U": round(flops / unit, 3),
        "collectives": collectives(compiled.as_text()),
    }


def step(
    label: str, *overrides: str, size: int = 32, devices: int = DEVICES, network: str = "resnet50"
) -> dict[str, Any]:
    """Return the row of the train step of `configs/mmcl.py`: ResNet-50, batch 512, at `size` pixels."""
    mmcl = experiment(
        "mmcl", f"encoders.image.name={network}", *overrides, size=size, batch_size=512, devices=jax.devices()[:devices]
    )
    compiled = compile_step(make_step(mmcl), *mmcl.shapes(), dtype=mmcl.config.dtype)
    return {
        "program": f"mmcl step{'' if network == 'resnet50' else f' of {network}'}, {size} pixels, {devices} devices",
        "execution": label,
        "batch": 512,
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "collectives": collectives(compiled.as_text()),
    }


def run(size: str) -> list[dict[str, Any]]:
    """Return all rows; `size` makes no difference."""
    return [
        *(kernel(name, batch) for batch in BATCHES for name in EXECUTIONS),
        step("groups of 64", network="resnet18"),
        step("groups of 64"),
        step("whole batch", "batch_norm.group_size=None"),
        step("parameters over 8", "mesh.model=8"),
        step("all at once", size=64, devices=1),
        step("64 at a time", "micro_batch=64", size=64, devices=1),
    ]


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the column names of the printed table."""
    return [
        {
            "program": row["program"],
            "execution": row["execution"],
            "batch": row["batch"],
            "temporary MiB": row["temporary_bytes"] / 2**20,
            "matrix FLOPs / U": row.get("matrix_flops_in_U"),
            "collectives (MiB)": listed(row["collectives"]),
        }
        for row in rows
    ]
