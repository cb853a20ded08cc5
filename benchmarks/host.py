"""Processor time of the Python thread per step: drawing a batch, putting it on the devices, dispatching the step.

    python -m benchmarks host

The state has as many arrays as that of ResNet-50, all of them small, so that the thread never waits for the device.
"""

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.step import PLAIN
from benchmarks.synthetic import experiment
from mmcl_jax.data.input import iterate
from mmcl_jax.training.mesh import by_example, put, put_whole, replicated, shardings_of
from mmcl_jax.training.step.train_step import compile_step, make_step

SMALL = ("encoders.image.width=0.0625", "encoders.table.hidden=16", "encoders.table.features=16", "epochs=100")
STEPS = 100


def add_one(state: Any, batch: Any, constants: Any) -> tuple[Any, dict[str, jax.Array]]:
    """Change every array of the train state: what the thread does for a step, in a program that compiles at once."""
    del constants
    return jax.tree.map(lambda x: x + jnp.ones((), x.dtype), state), {"loss": batch["id"].sum()}


def run(size: str, *, devices: int | None = None, trains: bool = True) -> list[dict[str, Any]]:
    """Return the thread's processor time: best step, median, 95th percentile. `size` makes no difference.

    Without `trains`, the program on the device is `add_one` in place of the train step.

    Other work on the machine can only add time, so the best step says most about the program.
    """
    chosen = jax.devices()[:devices]
    options = (*SMALL, *PLAIN, "batch_norm.group_size=8")
    small = experiment("mmcl", *options, size=32, batch_size=8 * len(chosen), devices=chosen)
    shapes = small.shapes()
    compiled = compile_step(make_step(small) if trains else add_one, *shapes, dtype=small.config.dtype)
    constants = put_whole(small.constants(), replicated(small.mesh))
    state = jax.device_put(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes[0]), shardings_of(shapes[0]))
    data, times = iterate(small.batches), []
    for _ in range(STEPS):
        tick = time.thread_time()
        batch = put(next(data), by_example(small.mesh))
        state, _ = compiled(state, batch, constants)
        times.append(1e3 * (time.thread_time() - tick))
        jax.block_until_ready(state)
    return [
        {
            "arrays": len(jax.tree.leaves(state)),
            "devices": len(chosen),
            "best_ms": min(times),
            "median_ms": statistics.median(times),
            "p95_ms": statistics.quantiles(times, n=20)[-1],
        }
    ]


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as they are: their keys are short enough for a printed table."""
    return rows
