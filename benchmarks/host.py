"""Processor time of the Python thread per step: drawing a batch, putting it on the devices, dispatching the step.

    python -m benchmarks host

The state has as many arrays as that of ResNet-50, all of them small, so that the thread never waits for the device.
"""

import statistics
import time
from typing import Any

import jax

from benchmarks.step import PLAIN, prepared
from benchmarks.synthetic import experiment
from mmcl_jax.data.input import iterate
from mmcl_jax.training.mesh import by_example, put

SMALL = ("encoders.image.width=0.0625", "encoders.table.hidden=16", "encoders.table.features=16", "epochs=100")
STEPS = 100


def run(size: str, *, devices: int | None = None) -> list[dict[str, Any]]:
    """Return the thread's processor time: best step, median, 95th percentile. `size` makes no difference.

    Other work on the machine can only add time, so the best step says most about the program.
    """
    chosen = jax.devices()[:devices]
    options = (*SMALL, *PLAIN, "batch_norm.group_size=8")
    small = experiment("mmcl", *options, size=32, batch_size=8 * len(chosen), devices=chosen)
    compiled, state, constants = prepared(small)
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
