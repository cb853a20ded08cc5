"""Gradients of single operations of the ResNets on CPUs, in our form and as JAX has them, with XLA's options and ours.

    python -m benchmarks operations

All are float32, with a batch of 64. The forms take turns, and the result is the least processor time of all threads, so
that it is the same on a busy machine. `ratio` is the time divided by that of our form with our options.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mmcl_jax.backend import compiler_options
from mmcl_jax.encoders.operations.convolve import convolve
from mmcl_jax.encoders.operations.normalise import Form, normalised
from mmcl_jax.encoders.operations.pool import max_pool_3x3

BATCH, EPSILON = 64, 1e-5
TURNS = {"small": 3, "full": 30}


def _normalised(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    form = Form(epsilon=EPSILON, relu=True, dtype=x.dtype)
    return normalised(form, x.reshape(1, -1, x.shape[-1]), scale, bias, None)[0].reshape(x.shape)


def _defined(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    axes = (0, 1, 2)
    mean = x.mean(axis=axes, keepdims=True)
    var = jnp.square(x - mean).mean(axis=axes, keepdims=True)
    scale, bias = (param.reshape(1, 1, 1, -1) for param in (scale, bias))
    return jax.nn.relu((x - mean) * (scale * jax.lax.rsqrt(var + EPSILON)) + bias)


def _convolution(form: Callable[..., jax.Array], stride: int) -> Callable[..., jax.Array]:
    numbers = ("NHWC", "HWIO", "NHWC")
    return lambda x, kernel: form(x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=numbers)


def _pooled(x: jax.Array) -> jax.Array:
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


def _convolutions(stride: int) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
    return _convolution(convolve, stride), _convolution(jax.lax.conv_general_dilated, stride)


# Name, shapes of the operands, our form, the form of JAX.
OPERATIONS: list[tuple[str, list[tuple[int, ...]], Callable[..., jax.Array], Callable[..., jax.Array]]] = [
    ("batch normalisation and ReLU", [(BATCH, 16, 16, 256), (256,), (256,)], _normalised, _defined),
    ("3x3 maximum at stride 2", [(BATCH, 32, 32, 64)], max_pool_3x3, _pooled),
    ("3x3 convolution", [(BATCH, 1, 1, 512), (3, 3, 512, 512)], *_convolutions(1)),
    ("3x3 convolution", [(BATCH, 2, 2, 512), (3, 3, 512, 512)], *_convolutions(1)),
    ("3x3 convolution at stride 2", [(BATCH, 4, 4, 256), (3, 3, 256, 256)], *_convolutions(2)),
]


def _gradients(
    form: Callable[..., jax.Array], options: Any, slopes: jax.Array, operands: list[jax.Array]
) -> Callable[[], Any]:
    compiled = jax.jit(lambda slopes, *operands: jax.vjp(form, *operands)[1](slopes), compiler_options=options)
    return lambda: jax.block_until_ready(compiled(slopes, *operands))


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield a row for every operation, form and choice of options."""
    rng = np.random.default_rng(0)
    ours_of_xla = compiler_options(jax.devices()[0], "float32")
    for name, shapes, ours, jaxs in OPERATIONS:
        operands = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]
        slopes = jnp.asarray(rng.normal(size=jax.eval_shape(ours, *operands).shape), jnp.float32)

        forms = {
            f"{form}, {options}": _gradients({"ours": ours, "JAX": jaxs}[form], chosen, slopes, operands)
            for form in ("ours", "JAX")
            for options, chosen in (("our options", ours_of_xla), ("no options", {}))
        }
        seconds = dict.fromkeys(forms, float("inf"))
        for _ in range(TURNS[size] + 1):  # the first turn compiles
            for form, run_it in forms.items():
                began = time.process_time()
                run_it()
                seconds[form] = min(seconds[form], time.process_time() - began)
        shape = "x".join(map(str, shapes[0]))
        for form, taken in seconds.items():
            ratio = taken / seconds["ours, our options"]
            yield {"operation": name, "input": shape, "form": form, "ms": 1e3 * taken, "ratio": ratio}


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows, which the table shows as they are."""
    return rows
