"""The fused view `augment` beside one operation after the other: bytes, memory and time.

    python -m benchmarks augment

The contestants take turns in one run on the device at hand. With the extra `aot`, both are also compiled for one TPU
v5e, for a batch of 512: what its compiler counts as read and written, and the temporary memory.
"""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import stepwise
from benchmarks.timing import race
from mmcl_jax.aot.topology import machine_of
from mmcl_jax.config import load
from mmcl_jax.views import VIEWS

# Experiment and stored pixels. DVM-CAR's recipe stores 300; `benchmarks.step` measures with 128.
CASES = (("mmcl/mmcl:dvm", 128), ("mmcl/mmcl:dvm", 300), ("mmcl/mmcl:cardiac", 128))
SIZES = {"small": 64, "full": 512}  # images that are timed
COMPILED = 512
Form = Callable[[jax.Array, jax.Array], jax.Array]


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each experiment, stored size and form."""
    tpu = _tpu()
    for name, pixels in CASES:
        stored = np.random.default_rng(0).integers(0, 256, (SIZES[size], pixels, pixels, 3), np.uint8)
        arguments = jnp.asarray(stored), jax.random.split(jax.random.key(0), SIZES[size])
        forms = {label: jax.jit(form).lower(*arguments).compile() for label, form in _forms(name).items()}
        views = [np.asarray(compiled(*arguments)) for compiled in forms.values()]
        seconds = race({label: _waiting(compiled, arguments) for label, compiled in forms.items()}, rounds=5)
        for label, form in _forms(name).items():
            yield {
                "experiment": name,
                "stored": pixels,
                "form": label,
                "images_per_s": SIZES[size] / seconds[label],
                "faster": seconds["steps"] / seconds[label],
                "largest_difference": float(np.abs(views[0] - views[1]).max()),
                **(_compiled(form, pixels, tpu) if tpu else {}),
            }


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the column names of the printed table."""
    mib = "tpu_v5e_temporary_bytes"
    return [
        {key: value for key, value in row.items() if not key.startswith("tpu")}
        | ({"v5e: GB": row["tpu_v5e_bytes"] / 1e9, "v5e: temporary MiB": row[mib] / 2**20} if mib in row else {})
        for row in rows
    ]


def _waiting(compiled: Any, arguments: tuple[jax.Array, jax.Array]) -> Callable[[], object]:
    return lambda: jax.block_until_ready(compiled(*arguments))


def _forms(name: str) -> dict[str, Form]:
    options = dict(load(name).views.image)
    view = VIEWS.build(load(name).views.image, "view")
    return {
        "steps": lambda images, keys: stepwise.augment(images, keys, options),
        "fused": lambda images, keys: view.apply(images, keys, {}).values,
    }


def _tpu() -> Any:
    """Return the sharding of one TPU v5e, to compile for; None where `libtpu` is not installed."""
    if importlib.util.find_spec("libtpu") is None:
        return None
    return jax.sharding.SingleDeviceSharding(machine_of("v5e:2x2").devices[0])


def _compiled(form: Form, pixels: int, tpu: Any) -> dict[str, Any]:
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), COMPILED))
    compiled: Any = (
        jax.jit(form)
        .lower(
            jax.ShapeDtypeStruct((COMPILED, pixels, pixels, 3), jnp.uint8, sharding=tpu),
            jax.ShapeDtypeStruct(keys.shape, keys.dtype, sharding=tpu),
        )
        .compile()
    )
    return {
        "tpu_v5e_batch": COMPILED,
        "tpu_v5e_bytes": compiled.cost_analysis()["bytes accessed"],
        "tpu_v5e_temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
    }
