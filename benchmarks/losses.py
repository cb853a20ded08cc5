"""The all-pairs kernel beside OpenCLIP's and Inf-CL's form: memory and FLOPs when sharded, and time on one device.

    python -m benchmarks losses

Programs for eight CPU devices, and, with the extra `aot`, for eight chips of a TPU v5e, are compiled and not run.
Each is a symmetric contrast of float32 embeddings with the gradients of both sides. U is the FLOPs of one device's part
of one matrix of logits. On one device the forms, and OpenCLIP's in PyTorch if it is installed, take turns.
"""

import functools
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import forms
from benchmarks.hlo import collectives, matrix_flops
from benchmarks.pairs import SCALE, WIDTH, embeddings
from benchmarks.timing import race
from mmcl_jax.aot.topology import machine_of
from mmcl_jax.objectives.pairs import Execution, contrast, same
from mmcl_jax.training.mesh import by_example, make_mesh

DEVICES, BATCHES = 8, (4096, 32768, 131072)
TIMED = {"small": (1024, 4096), "full": (1024, 4096, 8192)}
NAMES = ("gathered", "ring", "OpenCLIP", "Inf-CL")


def gradients(name: Any, mesh: jax.sharding.Mesh) -> Callable[[jax.Array, jax.Array], Any]:
    """Return the function from both sides' embeddings `[B, d]` to the mean loss and its gradients."""
    published = {
        "OpenCLIP": functools.partial(forms.openclip, scale=SCALE),
        "Inf-CL": functools.partial(forms.inf_cl, scale=SCALE, devices=mesh.size),
    }

    def loss(x: jax.Array, y: jax.Array) -> jax.Array:
        if name in published:
            return forms.sharded(published[name], mesh)(x, y).mean()
        ids, execution = jnp.arange(len(x), dtype=jnp.uint32), Execution(name=name, mesh=mesh)
        metadata = {"id": ids}
        both = contrast(
            x, y, rule=same("id"), x_metadata=metadata, y_metadata=metadata, scale=SCALE, execution=execution
        )
        return (both.forward.mean() + both.backward.mean()) / 2

    return jax.value_and_grad(loss, argnums=(0, 1))


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield the compiled programs' rows, and then those of the times."""
    meshes = {"8 CPU devices": make_mesh(jax.devices()[:DEVICES])}
    if importlib.util.find_spec("libtpu"):
        meshes["v5e:2x4"] = make_mesh(machine_of("v5e:2x4").devices)
    for where, mesh in meshes.items():
        for batch in BATCHES:
            for name in NAMES:
                yield {"where": where, "batch": batch, "form": name, **_compiled(name, batch, mesh)}
    for batch in TIMED[size]:
        for name, seconds in _times(batch).items():
            yield {"where": "1 CPU device", "batch": batch, "form": name, "ms": 1e3 * seconds}


def _compiled(name: str, batch: int, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    side = jax.ShapeDtypeStruct((batch, WIDTH), jnp.float32, sharding=by_example(mesh))
    function = gradients(name, mesh)
    compiled: Any = jax.jit(function).lower(side, side).compile()
    return {
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "matrix_flops_in_U": round(matrix_flops(function, side, side) / (2 * (batch // DEVICES) * batch * WIDTH), 3),
        "collectives": collectives(compiled.as_text()),
    }


def _times(batch: int) -> dict[str, float]:
    sides = embeddings(batch)
    x, y = map(jnp.asarray, sides)
    mesh = make_mesh(jax.devices()[:1])
    contestants: dict[str, Callable[[], object]] = {}
    losses = {}
    for name in NAMES:
        compiled = jax.jit(gradients(name, mesh)).lower(x, y).compile()
        contestants[name] = functools.partial(_wait, compiled, x, y)
        losses[name] = float(compiled(x, y)[0])
    np.testing.assert_allclose(list(losses.values()), losses["gathered"], rtol=1e-5)  # the same mathematics
    if importlib.util.find_spec("torch"):
        from benchmarks.torch_forms import openclip_loss

        contestants["OpenCLIP in PyTorch"], _ = openclip_loss(sides, SCALE, "float32")
    return race(contestants, rounds=5)


def _wait(compiled: Any, x: jax.Array, y: jax.Array) -> object:
    return jax.block_until_ready(compiled(x, y))


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the column names of the printed table."""
    return [
        {
            "where": row["where"],
            "batch": row["batch"],
            "form": row["form"],
            "temporary MiB": row["temporary_bytes"] / 2**20 if "temporary_bytes" in row else None,
            "matrix FLOPs / U": row.get("matrix_flops_in_U"),
            "ms": row.get("ms"),
        }
        for row in rows
    ]
