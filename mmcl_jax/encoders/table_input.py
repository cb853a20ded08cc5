"""From encoded rows to what a table encoder multiplies: one-hot coding, and what stands in for missing values."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float


def one_hot(rows: Float[Array, "B F"], widths: tuple[int, ...]) -> Float[Array, "B E"]:
    """Return encoded rows with every categorical column (width above 1) spread over as many columns, at its index.

    Example:
      >>> print(one_hot(jnp.array([[0.5, 2.0]]), (1, 3)))
      [[0.5 0.  0.  1. ]]
    """
    # One gather and one comparison, however many columns: a program of a slice per column takes long to compile.
    column = np.repeat(np.arange(len(widths)), widths)
    code = np.concatenate([np.arange(width) for width in widths]).astype(rows.dtype)
    number = np.repeat(np.array(widths) == 1, widths)
    spread = rows[:, column]
    return jnp.where(number[None], spread, (spread == code[None]).astype(rows.dtype))


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
        self.numbers = tuple(place for place, width in enumerate(widths) if width == 1)
        self.size = sum(self.inner) + (len(self.numbers) if missing == "indicator" else 0)
        if missing == "token":
            self.token = nnx.Param(jnp.zeros(len(self.numbers)))

    def __call__(self, rows: Float[Array, "B F"]) -> Float[Array, "B E"]:
        if not self.marked:
            return one_hot(rows, self.widths)
        absent, numbers = jnp.isnan(rows), np.array(self.numbers, int)
        instead = jnp.array([0.0 if width == 1 else width for width in self.widths], rows.dtype)
        if self.missing == "token":
            instead = instead.at[numbers].set(self.token[...])
        coded = one_hot(jnp.where(absent, instead[None], rows), self.inner)
        if self.missing == "token":
            return coded
        return jnp.concatenate([coded, absent[:, numbers].astype(rows.dtype)], axis=1)
