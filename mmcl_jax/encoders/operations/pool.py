"""Maximum pooling with a gradient that is fast on CPUs."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


def _pooled(x: Array) -> Array:
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


@jax.custom_vjp
def max_pool_3x3(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """Return the 3x3 maximum at stride 2, padded by 1 with minus infinity, as in torchvision's stem.

    The gradient goes to the first element of a window that is its maximum.
    """
    return _pooled(x)


def _backward(x: Array, slopes: Array) -> tuple[Array]:
    def by_xla(x: Array, slopes: Array) -> Array:
        return jax.vjp(_pooled, x)[1](slopes)[0]

    return (jax.lax.platform_dependent(x, slopes, cpu=_by_parity, default=by_xla),)


max_pool_3x3.defvjp(lambda x: (_pooled(x), x), _backward)


def _by_parity(x: Array, slopes: Array) -> Array:
    """Return the gradient by x: even rows are in one window and odd rows in two, and so are columns.

    XLA's form on CPUs, `select_and_scatter`, takes six times as long.
    """
    (batch, rows, columns, channels), (_, height, width, _) = x.shape, slopes.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    # The maximum of a window as far as it was read, and the number of its element, from 0 to 8.
    best = padded[:, : 2 * height - 1 : 2, : 2 * width - 1 : 2]
    first = jnp.zeros(best.shape, jnp.int8)
    for element in range(1, 9):
        i, j = divmod(element, 3)
        values = padded[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
        first = jnp.where(values > best, jnp.int8(element), first)
        best = jnp.maximum(values, best)

    def of(element: int, *, below: int = 0, right: int = 0) -> Array:
        """Return the slopes of windows whose maximum is this element, of the window below and right of each window."""
        found = jnp.where(first == element, slopes, jnp.zeros((), slopes.dtype))[:, below:, right:]
        return jnp.pad(found, ((0, 0), (0, below), (0, right), (0, 0)))

    even = [of(4), of(5) + of(3, right=1)]
    odd = [of(7) + of(1, below=1), of(8) + of(6, right=1) + of(2, below=1) + of(0, below=1, right=1)]
    side_by_side = functools.partial(jnp.stack, axis=3)
    both = [side_by_side(parts).reshape(batch, height, 2 * width, channels) for parts in (even, odd)]
    return jnp.stack(both, axis=2).reshape(batch, 2 * height, 2 * width, channels)[:, :rows, :columns]
