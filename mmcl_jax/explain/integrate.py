"""Integrated gradients: the mathematics, on plain arrays, in chunks of steps of one compiled shape."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mmcl_jax.arrays import ArrayLike, as_array

FIRST_STEPS = 8
_BYTES = 2**28  # of the Jacobians of all rows and steps of a program
_BYTES_OF_ROW = 2**24  # of a row's Jacobian; outputs beyond that are differentiated in a program of their own
_ROWS = 64

# From arrays, the embedded row [E] and what else belongs to the row, a tree of arrays [1, ...], to the outputs [K].
RowFunction = Callable[[Any, Float[Array, "E"], Any], Float[Array, "K"]]


def steps_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions and the weights `[count]` of Gauss-Legendre quadrature on [0, 1], float32.

    The rule is exact for gradients that are polynomials along the path, of a degree below 2 * count; it is captum's
    default.

    Example:
      >>> steps_of(1)
      (array([0.5], dtype=float32), array([1.], dtype=float32))
    """
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return ((nodes + 1) / 2).astype(np.float32), (weights / 2).astype(np.float32)


def block_of(inputs: int, outputs: int) -> int:
    """Return the number of outputs that are differentiated together."""
    return outputs if inputs < outputs else max(1, min(outputs, _BYTES_OF_ROW // (4 * inputs)))


def points_of(inputs: int, outputs: int, extra: int = 0) -> int:
    """Return the number of points that fit in memory together; each also takes `extra` bytes."""
    return max(1, _BYTES // (4 * inputs * block_of(inputs, outputs) + extra))


def rows_of(inputs: int, outputs: int, extra: int = 0) -> int:
    """Return the number of rows that are explained together, a power of two."""
    return 2 ** (min(_ROWS, points_of(inputs, outputs, extra)).bit_length() - 1)


@dataclasses.dataclass(frozen=True)
class Noise:
    """Normal noise on the rows, over whose draws attributions are averaged: SmoothGrad (Smilkov et al., 2017).

    The defaults are those of captum's NoiseTunnel, which ContIG's figures were made with: the baseline has no noise,
    and the attributions of a draw are those of the noisy row.

    Attributes:
      samples: number of draws.
      std: standard deviation of the noise.
      seed: of the draws, which depend on the row and on nothing else.
    """

    samples: int = 5
    std: float = 1.0
    seed: int = 0

    def draw(self, sample: int, ids: Int[Array, "R"], width: int) -> Float[Array, "R E"]:
        """Return the noise of a draw for the rows with these ids."""
        return self.std * _normal(jnp.asarray(self.seed), jnp.asarray(sample), ids, width)

    def on(self, path: "Path", ids: Int[Array, "R"]) -> "Iterator[Path]":
        """Yield the path of every draw."""
        for sample in range(self.samples):
            rows = path.rows + self.draw(sample, ids, path.rows.shape[1])
            yield dataclasses.replace(path, rows=jax.device_put(rows, path.rows.sharding))


@functools.partial(jax.jit, static_argnums=3)
def _normal(seed: Array, sample: Array, ids: Array, width: int) -> Array:
    key = jax.random.fold_in(jax.random.key(seed), sample)
    return jax.vmap(lambda id: jax.random.normal(jax.random.fold_in(key, id), (width,)))(ids)


@dataclasses.dataclass(frozen=True)
class Path:
    """The straight paths from baselines to rows, along which a function's gradients are integrated.

    Attributes:
      function: of one row.
      arrays: its first argument, such as parameters.
      rows: the ends of the paths, `[R, E]`.
      baseline: the starts, `[E]`.
      context: what else belongs to each row, a tree of arrays `[R, ...]`.
      extra: bytes that the function takes at each point.
    """

    function: RowFunction
    arrays: Any
    rows: Float[Array, "R E"]
    baseline: Float[Array, "E"]
    context: Any
    extra: int = 0

    @functools.cached_property
    def change(self) -> Float[Array, "R K"]:
        """The outputs at the ends of the paths minus those at their starts."""
        return _change(self.function, self.arrays, self.rows, self.baseline, self.context)

    def attributions(self, steps: int, *, chunk: int | None = None) -> Iterator[tuple[slice, Float[Array, "R k E"]]]:
        """Yield the attributions of blocks of outputs: a slice of the K outputs, and `[R, k, E]`.

        The attribution of element i of a row x to output k is (Sundararajan et al., ICML 2017, equation 1)

            (x_i - b_i) * integral from 0 to 1 of df_k/dx_i (b + t (x - b)) dt.

        Args:
          steps: number of steps of the quadrature.
          chunk: steps per program; None for 8, by which all numbers of steps share a program, or fewer if memory holds
            fewer. It changes nothing but rounding.
        """
        (count, inputs), outputs = self.rows.shape, self.change.shape[1]
        forward = inputs < outputs  # the derivatives by one input cost one pass, and so do those of one output
        size = block_of(inputs, outputs)
        if chunk is None:
            chunk = max(1, min(FIRST_STEPS, points_of(inputs, outputs, self.extra) // count))
        shares, weights = steps_of(steps)
        padding = -steps % chunk
        shares = np.concatenate([shares, np.repeat(shares[-1:], padding)]).reshape(-1, chunk)
        weights = np.concatenate([weights, np.zeros(padding, np.float32)]).reshape(-1, chunk)
        for start in range(0, outputs, size):
            # The last block may repeat outputs, so that all blocks have one compiled shape.
            first = min(start, outputs - size)
            total = jnp.zeros((count, size, inputs), jnp.float32, device=self.rows.sharding)
            for part, weight in zip(shares, weights, strict=True):
                total = _add(self.function, forward, size, total, self.arrays, self.rows, self.baseline, self.context,
                             part, weight, np.int32(first))  # fmt: skip
            yield slice(start, first + size), (self.rows - self.baseline[None])[:, None] * total[:, start - first :]

    def gradients(self) -> Iterator[tuple[slice, Float[Array, "R k E"]]]:
        """Yield the gradients of blocks of outputs at the rows: a slice of the K outputs, and `[R, k, E]`."""
        (count, inputs), outputs = self.rows.shape, self.change.shape[1]
        size, once = block_of(inputs, outputs), np.ones(1, np.float32)
        for start in range(0, outputs, size):
            first = min(start, outputs - size)  # the last block may repeat outputs
            total = jnp.zeros((count, size, inputs), jnp.float32, device=self.rows.sharding)
            total = _add(self.function, inputs < outputs, size, total, self.arrays, self.rows, self.baseline,
                         self.context, once, once, np.int32(first))  # fmt: skip
            yield slice(start, first + size), total[:, start - first :]


@functools.partial(jax.jit, static_argnums=0)
def _change(function: RowFunction, arrays: Any, rows: Array, baseline: Array, context: Any) -> Array:
    def change(row: Array, own: Any) -> Array:
        return function(arrays, row, own) - function(arrays, baseline, own)

    return over_rows(change, rows, context)


def over_rows(function: Callable[[Array, Any], Array], rows: Float[Array, "R E"], context: Any) -> Array:
    """Return the results of a function for every row; the function gets the row's part of the context as `[1, ...]`."""
    leaves, treedef = jax.tree.flatten(context)  # a part without its first axis would not be a `Features`

    def of_row(row: Array, own: list[Array]) -> Array:
        return function(row, jax.tree.unflatten(treedef, [leaf[None] for leaf in own]))

    return jax.vmap(of_row)(rows, leaves)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _add(
    function: RowFunction,
    forward: bool,
    size: int,
    total: Array,
    arrays: Any,
    rows: Array,
    baseline: Array,
    context: Any,
    shares: Array,
    weights: Array,
    first: Array,
) -> Array:
    """Add the weighted Jacobians `[R, size, E]` at these shares of the paths."""

    def jacobian(point: Array, own: Any) -> Array:
        if forward:
            return jax.jacfwd(lambda x: function(arrays, x, own))(point)
        outputs, pull = jax.vjp(lambda x: function(arrays, x, own), point)
        chosen = first + jnp.arange(size)
        cotangents = (chosen[:, None] == jnp.arange(len(outputs))[None]).astype(outputs.dtype)
        return jax.vmap(lambda cotangent: pull(cotangent)[0])(cotangents)

    def of_row(row: Array, own: Any) -> Array:
        points = baseline[None] + shares[:, None] * (row - baseline)[None]
        return jnp.tensordot(weights, jax.vmap(jacobian, in_axes=(0, None))(points, own), axes=1)

    return total + over_rows(of_row, rows, context)


@dataclasses.dataclass(frozen=True)
class Integrated:
    """The integrated gradients of a function on plain arrays.

    Attributes:
      attributions: `[B, K, ...]`, or `[B, ...]` of a function with one output per row.
      change: `[B, K]` or `[B]`, f(x) - f(baseline).
      error: `change` minus the sum of the attributions, of that shape; 0 if the integral is exact.
    """

    attributions: np.ndarray
    change: np.ndarray
    error: np.ndarray


def integrated_gradients(
    function: Callable[[Array], Array],
    inputs: ArrayLike,
    baseline: ArrayLike | float = 0.0,
    *,
    steps: int = 64,
    chunk: int | None = None,
    noise: Noise | None = None,
) -> Integrated:
    """Return the integrated gradients of a function of plain arrays (Sundararajan et al., ICML 2017).

    Args:
      function: maps float32 arrays `[B, ...]` to `[B]` or `[B, K]`, row by row.
      inputs: `[B, ...]`, of any type of numbers; integers are computed with as float32.
      baseline: a number, or an array of the shape of one row.
      steps: number of steps; see `steps_of`.
      chunk: steps that are computed together; it changes nothing but rounding.
      noise: over whose draws attributions, changes and errors are averaged; None for none.

    Raises:
      ValueError: the number of steps or the chunk is not positive.

    Example:
      >>> result = integrated_gradients(lambda x: x[:, 0] * x[:, 1] + 3 * x[:, 2], np.array([[2, 3, 1]], np.uint8))
      >>> result.attributions.tolist(), result.change.tolist()
      ([[3.0, 3.0, 3.0]], [9.0])
    """
    if steps < 1 or (chunk is not None and chunk < 1):
        raise ValueError(f"steps and chunk must be positive, not {steps} and {chunk}")
    rows = as_array(inputs, "inputs").astype(jnp.float32)
    shape = rows.shape[1:]
    start = jnp.broadcast_to(jnp.asarray(baseline, jnp.float32).astype(jnp.float32), shape)

    def of_row(arrays: Any, row: Array, own: Any) -> Array:
        return function(row.reshape(1, *shape)).reshape(-1)

    path = Path(of_row, (), rows.reshape(len(rows), -1), start.reshape(-1), ())
    found = [
        (np.concatenate([np.asarray(part) for _, part in one.attributions(steps, chunk=chunk)], axis=1), one.change)
        for one in ([path] if noise is None else noise.on(path, jnp.arange(len(rows))))
    ]
    attributions, change = (np.mean([np.asarray(draw[at]) for draw in found], axis=0) for at in (0, 1))
    error = change - attributions.sum(axis=2)
    single = jax.eval_shape(function, rows).ndim == 1
    by_output = attributions.reshape(*change.shape, *shape)
    return Integrated(*((by_output[:, 0], change[:, 0], error[:, 0]) if single else (by_output, change, error)))
