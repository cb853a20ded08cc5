"""Batch normalisation of groups, with its own gradient.

Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift", ICML
2015, section 3. Autodiff of the same formulas keeps and reads several arrays of the size of the input, in float32. The
gradient here reads the input and the slopes of the result twice, in their own dtypes, and nothing else: where the ReLU
behind the normalisation is 0 is computed again from the input.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmcl_jax.arrays import zero_absent


@dataclasses.dataclass(frozen=True)
class Form:
    """What is computed: the addend of the variance, whether a ReLU follows, the result's dtype, and the passes.

    Two passes over the values take the variance around their mean. One pass takes the sum and the sum of squares
    together, which the convolution that computes the values can do on its way, and loses up to mean^2 2^-24 of the
    variance. None takes one pass for bfloat16 alone: rounding to bfloat16 adds mean^2 2^-18 / 3 to the variance, so the
    loss is a twentieth of that.
    """

    epsilon: float
    relu: bool
    dtype: jnp.dtype
    passes: int | None = None


class Statistics(NamedTuple):
    """The mean and the biased variance of every group, and its number of vectors, in float32 (or float64)."""

    mean: Float[Array, "G 1 C"]
    var: Float[Array, "G 1 C"]
    counts: Float[Array, "G 1 1"]


def _statistics(form: Form, x: Array, mask: Array | None) -> Statistics:
    wide = _wide(x)
    if mask is None:
        count = jnp.full((len(x), 1, 1), x.shape[1], wide.dtype)
    else:
        count = mask.sum(axis=1, dtype=wide.dtype)[:, None, None]
    size = jnp.maximum(count, 1)
    mean = wide.sum(axis=1, keepdims=True) / size
    if form.passes == 1 or (form.passes is None and x.dtype == jnp.bfloat16):
        squares = jnp.square(wide).sum(axis=1, keepdims=True) / size
        return Statistics(mean, jnp.maximum(squares - jnp.square(mean), 0), count)
    squares = jnp.square(wide - mean)
    squares = squares if mask is None else zero_absent(squares, mask)
    return Statistics(mean, squares.sum(axis=1, keepdims=True) / size, count)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def normalised(
    form: Form,
    x: Float[Array, "G N C"],
    scale: Float[Array, " C"],
    bias: Float[Array, " C"],
    mask: Bool[Array, "G N"] | None,
) -> tuple[Float[Array, "G N C"], Statistics]:
    """Return (x - mean) / sqrt(var + epsilon) * scale + bias, or its ReLU, and the statistics of the groups.

    The mask says which vectors count, None is all. `x` must be 0 where it is false, and so is the result.
    """
    of = _statistics(form, x, mask)
    centred, inverse = _parts(form, x, of)
    # A group of one vector gives exactly the bias, so that no ReLU depends on rounding.
    y = centred * (_wide(scale) * inverse) + _wide(bias)
    y = (jax.nn.relu(y) if form.relu else y).astype(form.dtype)
    return y if mask is None else zero_absent(y, mask), of


def _wide(x: Array) -> Array:
    wide = x.astype(max(x.dtype, jnp.dtype(jnp.float32), key=lambda dtype: dtype.itemsize))
    return wide if x.ndim == 3 else wide.reshape(1, 1, -1)


def _parts(form: Form, x: Array, of: Statistics) -> tuple[Array, Array]:
    return _wide(x) - of.mean, jax.lax.rsqrt(of.var + form.epsilon)


def _forward(form: Form, x: Array, scale: Array, bias: Array, mask: Array | None) -> tuple:
    y, of = normalised(form, x, scale, bias, mask)
    return (y, of), (x, scale, bias, mask, of)


def _backward(form: Form, saved: tuple, given: tuple[Array, Statistics]) -> tuple:
    (x, scale, bias, mask, of), (slopes, of_statistics) = saved, given
    centred, inverse = _parts(form, x, of)
    factor, slopes = _wide(scale) * inverse, _wide(slopes)
    if form.relu:
        slopes = jnp.where(centred * factor + _wide(bias) > 0, slopes, 0)
    if mask is not None:
        slopes = zero_absent(slopes, mask)
    of_bias = slopes.sum(axis=1, keepdims=True)
    of_scale = (slopes * centred).sum(axis=1, keepdims=True) * inverse
    # The mean and the variance change with x, too. All factors of arrays of the size of x are of the size of `of`.
    size = jnp.maximum(of.counts, 1)
    by_mean, by_var = of_statistics.mean - factor * of_bias, 2 * of_statistics.var - factor * inverse * of_scale
    of_x = factor * slopes + centred * (by_var / size) + by_mean / size
    of_x = of_x if mask is None else zero_absent(of_x, mask)
    sums = ((of_scale, scale), (of_bias, bias))
    return of_x.astype(x.dtype), *(total.sum(axis=(0, 1)).astype(param.dtype) for total, param in sums), None


normalised.defvjp(_forward, _backward)
