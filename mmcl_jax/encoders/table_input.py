"""The input layer of table encoders: one-hot coding, and the replacement of missing values."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float


def one_hot(rows: Float[Array, "B F"], widths: tuple[int, ...]) -> Float[Array, "B E"]:
    """Return encoded rows in which every categorical column (width above 1) is replaced by its one-hot columns.

    Example:
      >>> print(one_hot(jnp.array([[0.5, 2.0]]), (1, 3)))
      [[0.5 0.  0.  1. ]]
    """
    # One gather and one comparison for all columns: a program with a slice per column takes long to compile.
    column = np.repeat(np.arange(len(widths)), widths)
    code = np.concatenate([np.arange(width) for width in widths]).astype(rows.dtype)
    number = np.repeat(np.array(widths) == 1, widths)
    spread = rows[:, column]
    return jnp.where(number[None], spread, (spread == code[None]).astype(rows.dtype))


class TableInput(nnx.Module):
    """One-hot rows `[B, size]`, in which the policy "token" or "indicator" replaces missing values (NaN).

    Both policies give a missing category a code of its own. "token" replaces a missing number by a number that is
    learned for its column (initially 0, the mean). "indicator" replaces it by 0, and adds a column for every numeric
    column, which is 1 where the number is missing. An unknown category (-1, see `Encoding`) is as a missing category.
    """

    def __init__(self, widths: tuple[int, ...], *, missing: str) -> None:
        self.widths, self.missing = widths, missing
        self.replaces = missing in ("token", "indicator")
        self.code_widths = tuple(width + (width > 1) for width in widths) if self.replaces else widths
        self.numeric = tuple(column for column, width in enumerate(widths) if width == 1)
        self.size = sum(self.code_widths) + (len(self.numeric) if missing == "indicator" else 0)
        if missing == "token":
            self.token = nnx.Param(jnp.zeros(len(self.numeric)))

    @property
    def columns(self) -> tuple[int, ...]:
        """The column of each of the E one-hot columns and indicators.

        Example:
          >>> TableInput((1, 3), missing="indicator").columns
          (0, 1, 1, 1, 1, 0)
        """
        coded = np.repeat(np.arange(len(self.widths)), self.code_widths).tolist()
        return (*coded, *(self.numeric if self.missing == "indicator" else ()))

    def __call__(self, rows: Float[Array, "B F"]) -> Float[Array, "B E"]:
        if not self.replaces:
            return one_hot(rows, self.widths)
        category = np.array(self.widths) > 1
        absent, numeric = jnp.isnan(rows) | (category[None] & (rows < 0)), np.array(self.numeric, int)
        replacement = jnp.array([0.0 if width == 1 else width for width in self.widths], rows.dtype)
        if self.missing == "token":
            replacement = replacement.at[numeric].set(self.token[...])
        coded = one_hot(jnp.where(absent, replacement[None], rows), self.code_widths)
        if self.missing == "token":
            return coded
        return jnp.concatenate([coded, absent[:, numeric].astype(rows.dtype)], axis=1)
