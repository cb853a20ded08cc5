"""From encoded rows to what a table encoder multiplies: one-hot coding, and what stands in for missing values."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


def one_hot(rows: Float[Array, "B F"], widths: tuple[int, ...]) -> Float[Array, "B E"]:
    """Encoded rows with every categorical column (width above 1) spread over as many columns, in place.

    Example:
      >>> print(one_hot(jnp.array([[0.5, 2.0]]), (1, 3)))
      [[0.5 0.  0.  1. ]]
    """
    columns = [
        rows[:, i : i + 1] if width == 1 else jax.nn.one_hot(rows[:, i].astype(jnp.int32), width, dtype=rows.dtype)
        for i, width in enumerate(widths)
    ]
    return jnp.concatenate(columns, axis=1)


class TableInput(nnx.Module):
    """One-hot rows `[B, size]`; with the policies "token" and "indicator" for missing values, which are NaN then.

    A category that is missing is one category more, in both. A number that is missing is, with "token", a number that
    is learned for its column (from 0, the mean); with "indicator" it is 0, and each column of numbers has a second one
    beside it that is 1 where it is missing.
    """

    def __init__(self, widths: tuple[int, ...], *, missing: str) -> None:
        self.widths, self.missing = widths, missing
        self.marked = missing in ("token", "indicator")
        self.inner = tuple(width + (width > 1) for width in widths) if self.marked else widths
        self.size = sum(self.inner) + (widths.count(1) if missing == "indicator" else 0)
        if missing == "token":
            self.token = nnx.Param(jnp.zeros(widths.count(1)))

    def __call__(self, rows: Float[Array, "B F"]) -> Float[Array, "B E"]:
        if not self.marked:
            return one_hot(rows, self.widths)
        numbers = jnp.array([width == 1 for width in self.widths])
        absent = jnp.isnan(rows)
        instead = jnp.array([0.0 if width == 1 else width for width in self.widths], rows.dtype)
        if self.missing == "token":
            instead = instead.at[jnp.flatnonzero(numbers, size=self.widths.count(1))].set(self.token[...])
        coded = one_hot(jnp.where(absent, instead[None], rows), self.inner)
        if self.missing == "token":
            return coded
        marks = absent[:, [place for place, width in enumerate(self.widths) if width == 1]]
        return jnp.concatenate([coded, marks.astype(rows.dtype)], axis=1)
