"""The all-pairs kernel on one device, with gradients, beside the dense execution and OpenCLIP's form in PyTorch.

    python -m benchmarks pairs

The contestants at one batch size take turns in one run. Ratios are to `dense`, if its matrix fits. `temporary_bytes` is
the temporary memory of the compiled program; for PyTorch it is the peak of its allocator beyond the inputs, which is
reported only on GPUs.
"""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import race
from mmcl_jax.objectives.pairs import Execution, contrast, same

WIDTH, SCALE = 128, 10.0
SIZES: dict[str, Any] = {
    "small": {"batches": {"float32": (1024, 4096, 8192)}, "dense_up_to": 8192, "tiles": (None,)},
    "full": {
        "batches": {"float32": (4096, 32768, 131072), "bfloat16": (4096, 32768, 131072, 1048576)},
        "dense_up_to": 32768,
        "tiles": (None, 1024, 4096),
    },
}


def jax_form(execution: Execution, batch: int, dtype: str) -> tuple[Callable[[], object], int]:
    """Return a function that runs the kernel and waits for it, and the bytes of the kernel's temporary arrays."""
    ids = jnp.arange(batch, dtype=jnp.uint32)
    x, y = (jnp.asarray(array, dtype) for array in embeddings(batch))

    def loss(x: jax.Array, y: jax.Array) -> jax.Array:
        both = contrast(
            x, y, rule=same("id"), x_metadata={"id": ids}, y_metadata={"id": ids}, scale=SCALE, execution=execution
        )
        return (both.forward.mean() + both.backward.mean()) / 2

    compiled: Any = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(x, y).compile()
    return lambda: jax.block_until_ready(compiled(x, y)), compiled.memory_analysis().temp_size_in_bytes


def embeddings(batch: int) -> np.ndarray:
    """Return normally distributed embeddings of both sides, `[2, batch, WIDTH]`."""
    return np.random.default_rng(0).normal(size=(2, batch, WIDTH)).astype(np.float32)


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield one row for each combination of dtype, batch size and contestant."""
    options = SIZES[size]
    for dtype, batches in options["batches"].items():
        for batch in batches:
            forms: dict[str, Callable[[], object]] = {}
            memory: dict[str, int | None] = {}
            for tile in options["tiles"]:
                if tile is None or tile <= batch:
                    name = f"gathered, tile {Execution(tile=tile).tile_for(batch, WIDTH)}"
                    if name not in forms:
                        forms[name], memory[name] = jax_form(Execution(tile=tile), batch, dtype)
            if batch <= options["dense_up_to"]:
                forms["dense"], memory["dense"] = jax_form(Execution(name="dense"), batch, dtype)
                if importlib.util.find_spec("torch"):
                    from benchmarks.torch_forms import openclip_loss

                    forms["torch openclip"], memory["torch openclip"] = openclip_loss(embeddings(batch), SCALE, dtype)
            seconds = race(forms, rounds=1 if batch > 1_000_000 else 5)
            for name in forms:
                yield {
                    "batch": batch,
                    "dtype": dtype,
                    "form": name,
                    "ms": 1e3 * seconds[name],
                    "of_dense": seconds[name] / seconds["dense"] if "dense" in seconds else None,
                    "ps_per_pair": 1e12 * seconds[name] / batch**2,
                    "temporary_bytes": memory[name],
                }


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the column names of the printed table."""
    return [
        {key: value for key, value in row.items() if key != "temporary_bytes"}
        | {"temporary MiB": None if row["temporary_bytes"] is None else row["temporary_bytes"] / 2**20}
        for row in rows
    ]
