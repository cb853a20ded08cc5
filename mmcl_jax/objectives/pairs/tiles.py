"""One device's sweep over pairs, in square tiles that are formed, reduced and dropped."""

import dataclasses
import functools
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmcl_jax.objectives.pairs.rules import Metadata, PairRule
from mmcl_jax.objectives.pairs.sums import Mask, PairSums, Sums, soft_clip

Tree = TypeVar("Tree")


class Side(NamedTuple):
    """One side of the pairs: `embeddings` [n, d], `metadata` [n] for the rule, and for rows a `bias` [n] of the logits.

    `real` [n] is False where a row is padding of a tile; None if no row is. A gradient has no metadata.
    """

    embeddings: Float[Array, "*tiles n d"]
    metadata: Metadata | None
    bias: Float[Array, "*tiles n"] | None = None
    real: Bool[Array, "*tiles n"] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """The computation of `loss`'s sums over the pairs of `rule`, in tiles of `tile` x `tile` pairs.

    `axes` are the mesh axes over which the sides are sharded. `clip` is the bound of `soft_clip` for the
    logits, bias included.
    """

    loss: PairSums
    rule: PairRule
    tile: int
    axes: tuple[str, ...] = ()
    clip: float | None = None

    def pairs(self, x: Side, y: Side) -> tuple[Any, Mask, Mask]:
        """Return the logits of all pairs of two sides, the mask of positives, and the mask of valid pairs."""
        logits = product(x.embeddings, y.embeddings.T)
        if x.bias is not None:
            logits = logits + x.bias[:, None]
        logits = soft_clip(logits, self.clip)
        rows, columns = _each(x.metadata, 1), _each(y.metadata, 0)
        positive, valid = self.rule(rows, columns)
        for real in (_each(x.real, 1), _each(y.real, 0)):
            if real is not None:
                positive, valid = positive & real, valid & real
        masks = jnp.broadcast_to(positive, logits.shape), jnp.broadcast_to(valid, logits.shape)
        return self.loss.scores(logits, rows, columns), *masks

    def empty(self, anchors: int) -> Sums:
        """Return the sums of anchors over an empty set of pairs."""
        return self._varying(self.loss.empty(anchors))

    def no_gradient(self, side: Side) -> Sums:
        """Return zero gradients with respect to a side's "embeddings" and "bias", in float32."""
        zero = {"embeddings": jnp.zeros(side.embeddings.shape)}
        if side.bias is not None:
            zero["bias"] = jnp.zeros(side.bias.shape)
        return self._varying(zero)

    def forward(self, x: Side, y: Side) -> tuple[Sums, Sums]:
        """Return the sums of the rows of `x` [A] over all of `y` [B], and of the columns."""

        def one_tile(columns: Sums, row: tuple[Side, Sums], *, y: Side) -> tuple[Sums, Sums]:
            x, rows = row
            pairs = self.pairs(x, y)
            columns = self.loss.merge(columns, self.loss.reduce(*pairs, axis=0))
            return columns, self.loss.merge(rows, self.loss.reduce(*pairs, axis=1))

        def one_column(rows: Sums, y: Side) -> tuple[Sums, Sums]:
            start = self.empty(y.embeddings.shape[0])
            columns, rows = jax.lax.scan(functools.partial(one_tile, y=y), start, (x_tiles, rows))
            return rows, columns

        x_tiles = self._cut_side(x)
        rows, columns = jax.lax.scan(one_column, self._cut(self.empty(x.embeddings.shape[0])), self._cut_side(y))
        return _joined(rows, x), _joined(columns, y)

    def backward(self, x: Side, y: Side, x_residuals: Sums, y_residuals: Sums) -> tuple[Sums, Sums]:
        """Return the gradients with respect to both sides, as in `no_gradient`, from the residuals of their sums.

        The tiles are computed again: storing them would take the memory that tiles save.
        """

        def one_tile(dy: Sums, row: tuple[Side, Sums, Sums], *, y: Side, y_residuals: Sums) -> tuple[Sums, Sums]:
            x, x_residuals, dx = row
            with jax.named_scope("again"):
                pairs = self.pairs(x, y)
            dlogits = self.loss.dlogits(*pairs, _each(x_residuals, 1)) + self.loss.dlogits(
                *pairs, _each(y_residuals, 0)
            )
            if self.clip is not None:  # the derivative of `soft_clip`, 1 - tanh^2, without a difference of squares
                tanh = pairs[0] / self.clip
                dlogits = dlogits * (1 - tanh) * (1 + tanh)
            narrow = dlogits.astype(x.embeddings.dtype)
            by_x = {"embeddings": product(narrow, y.embeddings), "bias": dlogits.sum(axis=1)}
            by_y = {"embeddings": product(narrow.T, x.embeddings)}
            return {name: dy[name] + by_y[name] for name in dy}, {name: dx[name] + by_x[name] for name in dx}

        def one_column(dx: Sums, column: tuple[Side, Sums]) -> tuple[Sums, Sums]:
            y, y_residuals = column
            step = functools.partial(one_tile, y=y, y_residuals=y_residuals)
            dy, dx = jax.lax.scan(step, self.no_gradient(y), (x_tiles, x_residual_tiles, dx))
            return dx, dy

        x_tiles, x_residual_tiles = self._cut_side(x), self._cut(x_residuals)
        columns = self._cut_side(y), self._cut(y_residuals)
        dx, dy = jax.lax.scan(one_column, self._cut(self.no_gradient(x)), columns)
        return _joined(dx, x), _joined(dy, y)

    def _varying(self, tree: Tree) -> Tree:
        """Mark new arrays as varying between devices, like the arrays that are added to them."""
        return jax.lax.pcast(tree, self.axes, to="varying") if self.axes else tree

    def _cut(self, tree: Tree) -> Tree:
        """Cut arrays [n, ...] into [tiles, height, ...], as even as possible; pad the last tile with zeros."""

        def cut(array: Array) -> Array:
            rows = array.shape[0]
            count = -(-rows // self.tile)
            height = -(-rows // count)
            padded = jnp.pad(array, [(0, count * height - rows)] + [(0, 0)] * (array.ndim - 1))
            return padded.reshape(count, height, *array.shape[1:])

        return jax.tree.map(cut, tree)

    def _cut_side(self, side: Side) -> Side:
        tiles, rows = self._cut(side), side.embeddings.shape[0]
        count, height = tiles.embeddings.shape[:2]
        if count * height == rows:
            return tiles
        return tiles._replace(real=jnp.arange(count * height).reshape(count, height) < rows)


def product(a: Float[Array, "m k"], b: Float[Array, "k n"]) -> Float[Array, "m n"]:
    """Return the matrix product in float32; float32 factors keep full precision, also on GPUs and TPUs."""
    exact = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jax.lax.dot(a, b, precision=exact, preferred_element_type=jnp.float32)


def _each(tree: Any, axis: int) -> Any:
    """Return arrays [n] as columns [n, 1] (axis 1) or rows [1, n] (axis 0)."""
    return jax.tree.map(lambda array: jnp.expand_dims(array, axis), tree)


def _joined(tiles: Tree, side: Side) -> Tree:
    """Join tiles, without their padding, to the length of the side that they were cut from."""
    rows = side.embeddings.shape[0]
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:])[:rows], tiles)
