"""Images/s, MFU, memory and input wait of the train step of MMCL's ResNet-50, beside the same step in PyTorch.

    python -m benchmarks step

`augmented` is the experiment as it is trained. `plain` and `torch` have no augmentation and take turns in one run. MFU
is the share of the accelerator's dense peak that the FLOPs of the model make up, without augmentation and what is
computed again (`mmcl_jax.training.flops.model_flops`).
"""

import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from benchmarks.synthetic import experiment
from benchmarks.timing import race
from mmcl_jax.data.input import iterate
from mmcl_jax.training.build import Experiment
from mmcl_jax.training.chips import chip_of
from mmcl_jax.training.flops import model_flops
from mmcl_jax.training.mesh import by_example, put, put_whole, replicated, shardings_of
from mmcl_jax.training.step.train_step import compile_step, make_step, trace_step

PLAIN = ("views.image.name=resized", "views.table.name=rows")
SIZES: dict[str, Any] = {
    "small": {"grid": [(32, 64, "float32"), (64, 64, "float32")], "torch": [(32, 64, "float32")], "steps": 3},
    "full": {
        "grid": [
            *((128, batch, "bfloat16") for batch in (512, 2048)),
            (128, 512, "float32"),
            (224, 256, "bfloat16"),
        ],
        "torch": [(128, 512, "bfloat16")],
        "steps": 30,
    },
}


def prepared(trained: Experiment) -> tuple[Any, Any, Any]:
    """Return the compiled step, the initial state, and the constants on the devices."""
    shapes = trained.shapes()
    compiled = compile_step(make_step(trained), *shapes, dtype=trained.config.dtype)
    constants = put_whole(trained.constants(), replicated(trained.mesh))
    init = jax.jit(trained.init, out_shardings=shardings_of(shapes[0]))
    return compiled, init(constants["seed"]), constants


def augmented(size: int, batch: int, dtype: str, *, steps: int) -> dict[str, Any]:
    """Time steps of the experiment, with augmentation and its input pipeline."""
    mmcl = experiment("mmcl", f"dtype={dtype}", size=size, batch_size=batch)
    compiled, state, constants = prepared(mmcl)
    flops = model_flops(trace_step(make_step(mmcl), *mmcl.shapes()).jaxpr)
    data, waited, began = iterate(mmcl.batches), 0.0, 0.0
    for step in range(steps + 2):
        if step == 2:  # the first two steps warm up
            jax.block_until_ready(state)
            waited, began = 0.0, time.perf_counter()
        tick = time.perf_counter()
        rows = next(data)
        waited += time.perf_counter() - tick
        state, _ = compiled(state, put(rows, by_example(mmcl.mesh)), constants)
    jax.block_until_ready(state)
    seconds = (time.perf_counter() - began) / steps
    chip = chip_of(jax.devices()[0])
    peak = chip and chip.flops.get(dtype)
    return {
        "form": "augmented",
        "pixels": size,
        "batch": batch,
        "dtype": dtype,
        "images_per_s": batch / seconds,
        "ms": 1e3 * seconds,
        "flops": flops,
        "mfu": flops / seconds / peak if peak else None,
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "input_wait": waited / steps / seconds,
    }


def against_torch(size: int, batch: int, dtype: str, *, steps: int) -> list[dict[str, Any]]:
    """Time the step without augmentation in JAX and in PyTorch, in turns."""
    mmcl = experiment("mmcl", f"dtype={dtype}", *PLAIN, size=size, batch_size=batch)
    compiled, state, constants = prepared(mmcl)
    rows = put(mmcl.batches[0], by_example(mmcl.mesh))

    def plain() -> None:
        nonlocal state
        state, _ = compiled(state, rows, constants)
        jax.block_until_ready(state)

    forms: dict[str, Callable[[], object]] = {"plain": plain}
    failed: dict[str, str] = {}
    if importlib.util.find_spec("torch"):
        from benchmarks.torch_forms import mmcl_step

        for name, compile_it in (("torch", False), ("torch.compile", True)):
            try:
                form = mmcl_step(mmcl.batches[0], dtype, compiled=compile_it)
                form()  # compiles
                forms[name] = form
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    seconds = race(forms, rounds=steps)
    common = {"pixels": size, "batch": batch, "dtype": dtype}
    timed = [
        {"form": name, **common, "images_per_s": batch / seconds[name], "ms": 1e3 * seconds[name]} for name in forms
    ]
    return [*timed, *({"form": name, **common, "failed": reason} for name, reason in failed.items())]


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield one row for each combination of image size, batch size, dtype and form."""
    options = SIZES[size]
    for point in options["grid"]:
        yield augmented(*point, steps=options["steps"])
    for point in options["torch"]:
        yield from against_torch(*point, steps=options["steps"])


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the column names of the printed table."""
    return [
        {
            **{key: row.get(key) for key in ("form", "pixels", "batch", "dtype", "images_per_s", "ms", "mfu")},
            "temporary MiB": row["temporary_bytes"] / 2**20 if "temporary_bytes" in row else None,
            "input wait %": 100 * row["input_wait"] if "input_wait" in row else None,
            "failed": row.get("failed"),
        }
        for row in rows
    ]
