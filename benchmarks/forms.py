"""Two published ways to compute the contrastive loss of a sharded batch, in JAX, each written from its description.

- OpenCLIP's `local_loss` with gathered features (Ilharco et al.): every device gathers both sides, and forms its rows
  of both matrices of logits.
- Inf-CL (Cheng et al., arXiv 2410.17243): keys travel around a ring of devices past the queries, tile by tile; a
  row's log-sum-exp is all that the forward pass keeps. The two directions are two sweeps, and in the backward pass the
  gradients of queries and of keys are two kernels, each of which computes the logits again.

Both take and return what is local to a device: embeddings `[b, d]`, and losses per row `[b]`, half of each direction.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mmcl_jax.training.mesh import by_example

AXIS, TILE = "data", 1024
Loss = Callable[[jax.Array, jax.Array], jax.Array]


def sharded(form: Loss, mesh: jax.sharding.Mesh) -> Loss:
    """Return the form as a function of whole batches, whose rows are on the devices of a mesh."""
    rows = by_example(mesh).spec
    return jax.shard_map(form, mesh=mesh, in_specs=rows, out_specs=rows)


def openclip(x: jax.Array, y: jax.Array, *, scale: float) -> jax.Array:
    """Return the losses of OpenCLIP's form."""
    x, y = _normalised(x), _normalised(y)
    everywhere = [jax.lax.all_gather(side, AXIS, tiled=True) for side in (y, x)]
    targets = jax.lax.axis_index(AXIS) * len(x) + jnp.arange(len(x))
    losses = []
    for queries, keys in zip((x, y), everywhere, strict=True):
        logits = scale * queries @ keys.T
        positives = jnp.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
        losses.append(jax.nn.logsumexp(logits, axis=1) - positives)
    return (losses[0] + losses[1]) / 2


def inf_cl(x: jax.Array, y: jax.Array, *, scale: float, devices: int) -> jax.Array:
    """Return the losses of Inf-CL's form on this number of devices."""
    x, y = _normalised(x), _normalised(y)
    positives = scale * (x * y).sum(axis=1)
    x = scale * x
    return (_log_sum_exp(x, y, devices) + _log_sum_exp(y, x, devices)) / 2 - positives


def _normalised(rows: jax.Array) -> jax.Array:
    return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _log_sum_exp(queries: jax.Array, keys: jax.Array, devices: int) -> jax.Array:
    """Return the logarithm of the sum of exp(query . key) over the keys of all devices, `[b]`."""

    def tile(total: jax.Array, query: tuple[jax.Array, ...], key: tuple[jax.Array, ...]) -> jax.Array:
        return jnp.logaddexp(total, jax.nn.logsumexp(query[0] @ key[0].T, axis=1))

    def visit(carry: Any, _: None) -> tuple[Any, None]:
        keys, totals = carry
        return (_next(keys, devices), _by_tiles(tile, (queries,), (keys,), totals)), None

    start = keys, jnp.full_like(queries[:, 0], -jnp.inf) + 0 * queries[:, 0]
    return jax.lax.scan(visit, start, length=devices)[0][1]


def _forward(queries: jax.Array, keys: jax.Array, devices: int) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    totals = _log_sum_exp(queries, keys, devices)
    return totals, (queries, keys, totals)


def _backward(devices: int, kept: tuple[jax.Array, ...], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    queries, keys, totals = kept

    def shares(rows: tuple[jax.Array, ...], key: jax.Array) -> jax.Array:
        query, total, gradient = rows
        return gradient[:, None] * jnp.exp(query @ key.T - total[:, None])

    def visit(carry: Any, _: None) -> tuple[Any, None]:
        keys, of_keys, of_queries = carry
        rows = (queries, totals, gradient)
        of_queries = _by_tiles(lambda sum_, rows, key: sum_ + shares(rows, key[0]) @ key[0], rows, (keys,), of_queries)
        of_keys = _by_tiles(lambda sum_, key, rows: sum_ + shares(rows, key[0]).T @ rows[0], (keys,), rows, of_keys)
        return (_next(keys, devices), _next(of_keys, devices), of_queries), None

    (_, of_keys, of_queries), _ = jax.lax.scan(visit, (keys, 0 * keys, 0 * queries), length=devices)
    return of_queries, of_keys


_log_sum_exp.defvjp(_forward, _backward)


def _by_tiles(tile: Any, rows: tuple[jax.Array, ...], columns: tuple[jax.Array, ...], start: jax.Array) -> jax.Array:
    """Fold every tile of rows over the tiles of columns; `start` and the result have a row for each of the rows."""

    def cut(arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return tuple(array.reshape(-1, min(TILE, len(array)), *array.shape[1:]) for array in arrays)

    def strip(arguments: Any) -> jax.Array:
        so_far, part = arguments
        visit = lambda so_far, column: (tile(so_far, part, column), None)  # noqa: E731
        return jax.lax.scan(visit, so_far, cut(columns))[0]

    return jax.lax.map(strip, (cut((start,))[0], cut(rows))).reshape(start.shape)


def _next(array: jax.Array, devices: int) -> jax.Array:
    return jax.lax.ppermute(array, AXIS, [(device, (device + 1) % devices) for device in range(devices)])
