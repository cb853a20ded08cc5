"""Temporary memory of the taxonomy's edges at 32,768 samples of 64 places: no array of all pairs is formed.

    python -m benchmarks places

Compiled for eight CPUs and eight v5e, and not run; the compiler of TPUs is libtpu, of the extra `aot`. `edges` is the
value of all eight edges of two modalities with the gradients of their features; `step` is the train step of
`taxonomy/CR-XX-CC-RR:mnist_svhn`, which encodes 2,048 samples at a time. `all_pairs_bytes` is the size of one edge's
array of B x B x L scores in float32 on each of the devices.
"""

import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.aot.topology import Machine, machine_of
from mmcl_jax.config import edges, load
from mmcl_jax.data.arrays_store import store_of_arrays
from mmcl_jax.objectives import TERMS, Execution, Objective
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.mesh import by_example, make_mesh
from mmcl_jax.training.step.train_step import compile_step, make_step

MACHINES = (None, "v5e:2x4")
BATCH, PLACES, WIDTH, DEVICES, SLICE = 32768, 64, 64, 8, 2048


def objective(machine: Machine, name: Any) -> dict[str, Any]:
    """Return the row of all edges with the gradients of pooled and local features of two modalities."""
    mesh = make_mesh(machine.devices[:DEVICES])
    terms = [TERMS.build(spec, "objective") for spec in edges("CR-XX-CC-RR", ("a", "b"))]
    whole = Objective(terms, {"a": "a", "b": "b"}, execution=Execution(name=name, mesh=mesh))
    shapes = {"a": (BATCH, WIDTH), "a.local": (BATCH, PLACES, WIDTH)}
    shapes |= {text.replace("a", "b", 1): shape for text, shape in shapes.items()}

    def loss(features: dict[str, jax.Array], ids: jax.Array) -> jax.Array:
        each = {}
        for key, term in whole.terms.items():
            source, target = (features[text] for text in term.between)
            # Of a local feature, its first place: what is drawn has no part in the memory of pairs.
            anchors = source if source.ndim == 2 else source[:, 0]
            each[key] = {"anchors": anchors, "places": target, "mask": None, "found": None}
        return whole({"each": each, "pooled": {}, "embedding": {}}, {"id": ids})[0]

    sharding = by_example(mesh)
    given = {text: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding) for text, shape in shapes.items()}
    ids = jax.ShapeDtypeStruct((BATCH,), jnp.uint32, sharding=sharding)
    return _row(machine, "edges", name, jax.jit(jax.value_and_grad(loss)).lower(given, ids).compile())


def step(machine: Machine) -> dict[str, Any]:
    """Return the row of the train step, with gradient caching."""
    rows = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        arrays = {"mnist": ("image", rows[..., :1]), "svhn": ("image", rows)}
        store = store_of_arrays(Path(folder) / "store", arrays)
        overrides = [f"data={store.directory}", f"batch_size={BATCH}", f"micro_batch={SLICE}", "validation.epochs=None"]
        config = load("taxonomy/CR-XX-CC-RR:mnist_svhn", overrides)
        made = build_experiment(config, store, machine.devices[:DEVICES], repeated=True)
        compiled = compile_step(make_step(made), *made.shapes(), dtype=config.dtype)
    return _row(machine, "step", config.pairs.execution, compiled)


def _row(machine: Machine, program: str, execution: str, compiled: Any) -> dict[str, Any]:
    return {
        "machine": machine.name or f"{DEVICES} CPUs",
        "program": program,
        "execution": execution,
        "batch": BATCH,
        "places": PLACES,
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "all_pairs_bytes": 4 * BATCH * BATCH * PLACES // DEVICES,
    }


def run(size: str) -> Any:
    """Yield all rows; `size` makes no difference."""
    del size
    for name in MACHINES:
        machine = machine_of(name)
        for execution in ("gathered", "ring"):
            yield objective(machine, execution)
        yield step(machine)


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the column names of the printed table."""
    return [
        {
            "machine": row["machine"],
            "program": row["program"],
            "execution": row["execution"],
            "temporary MiB": row["temporary_bytes"] / 2**20,
            "all pairs MiB": row["all_pairs_bytes"] / 2**20,
        }
        for row in rows
    ]
