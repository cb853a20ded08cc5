"""Helpers of the image and volume views: the choice among several pictures of a row, and pixels as floats."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Shaped

_PICK = 0x71C  # a random stream that no step of a view uses
_FULL = {"uint8": 255, "uint16": 65535}


def select_picture(rows: Shaped[Array, "B ..."], keys: Key[Array, "B"], picture: int | None, *, axes: int) -> Array:
    """Return one picture per row, `[B, *space, C]`, of rows that may have several, `[B, V, *space, C]`.

    Args:
      rows: the pictures; black ones behind the last are none, as in `has_picture`, and are not drawn.
      keys: a random key per row.
      picture: index of the picture to use; None draws an index for every row.
      axes: number of spatial axes: 2 for images, 3 for volumes.

    Raises:
      ValueError: the rows have no picture of this index.
    """
    if rows.ndim == axes + 2:
        require(picture in (None, 0), f"picture is {picture}, and rows have one picture; give 0 or None")
        return rows
    pictures = rows.shape[1]
    if picture is None:
        counts = has_picture(rows).sum(axis=1)
        draw = jax.vmap(lambda key, count: jax.random.randint(jax.random.fold_in(key, _PICK), (), 0, count))
        return jax.vmap(lambda row, index: row[index])(rows, draw(keys, counts))
    require(
        0 <= picture < pictures,
        f"picture is {picture}, and rows have {pictures} pictures; give an index below {pictures}, or None",
    )
    return rows[:, picture]


def has_picture(rows: Any) -> Any:
    """Return bool `[B, V]`: the pictures that the rows `[B, V, *space, C]` have, of an array of NumPy or of JAX.

    A row with fewer than V pictures is filled with zeros behind its last; so a picture exists if it or a later one has
    a pixel that is not zero, and the first always does.

    Example:
      >>> rows = np.zeros((2, 3, 1, 1, 1), np.uint8)
      >>> rows[0, 1] = 9
      >>> has_picture(rows).tolist()
      [[True, True, False], [True, False, False]]
    """
    shown = (rows != 0).any(axis=tuple(range(2, rows.ndim)))
    order = np.arange(1, rows.shape[1] + 1, dtype=np.int32)[None]
    where = np.where if isinstance(rows, np.ndarray) else jnp.where
    return order <= where(shown, order, np.int32(1)).max(axis=1, keepdims=True)


def to_unit(pixels: Shaped[Array, "..."]) -> Float[Array, "..."]:
    """Return pixels as float32: uint8 and uint16 are divided by their largest number, float16 keeps its values.

    Changes of colour clip to [0, 1], so float16 pixels should lie there where a view changes colours.

    Raises:
      ValueError: the pixels are of another type.
    """
    name = str(pixels.dtype)
    require(name in (*_FULL, "float16"), f"pixels are {name}, and views take uint8, uint16 or float16")
    return pixels.astype(jnp.float32) / _FULL.get(name, 1)


def check_size(size: tuple[int, ...] | None) -> None:
    """Raise `ValueError` unless all sides of a size are positive."""
    require(size is None or min(size) > 0, f"size must be positive, not {size}")


def require(condition: bool, sentence: str) -> None:
    """Raise `ValueError` with the sentence unless the condition holds."""
    if not condition:
        raise ValueError(sentence)
