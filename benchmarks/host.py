"""What a step costs the Python thread: drawing and placing a batch and dispatching the step.

    python -m benchmarks host

The state has as many arrays as ResNet-50's, all of them small, so that the device is never waited for.
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
STEPS = 40


def run(size: str, *, devices: int | None = None, tries: int = 3) -> list[dict[str, Any]]:
    """Median and 95th percentile of the thread's processor time; of several tries the best, the others were disturbed.

    `size` makes no difference.
    """
    chosen = jax.devices()[:devices]
    options = (*SMALL, *PLAIN, "batch_norm.group_size=8")
    made = experiment("mmcl", *options, size=32, batch_size=8 * len(chosen), devices=chosen)
    compiled, state, constants = prepared(made)
    data, attempts = iterate(made.batches), []
    for _ in range(tries):
        times = []
        for _ in range(STEPS):
            tick = time.thread_time()
            batch = put(next(data), by_example(made.mesh))
            state, _ = compiled(state, batch, constants)
            times.append(time.thread_time() - tick)
            jax.block_until_ready(state)
        attempts.append((1e3 * statistics.median(times), 1e3 * statistics.quantiles(times, n=20)[-1]))
    median, p95 = min(attempts)
    arrays = len(jax.tree.leaves(state))
    return [{"arrays": arrays, "devices": len(chosen), "median_ms": median, "p95_ms": p95}]


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figures are short already."""
    return rows
