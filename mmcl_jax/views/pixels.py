"""Helpers of the image and volume views: the choice among several pictures of a row, and pixels as floats."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Shaped

_PICK = 0x71C  # a random stream that no step of a view uses
_FULL = {"uint8": 255, "uint16": 65535}


def select_picture(
    rows: Shaped[Array, "B ..."],
    keys: Key[Array, "B"],
    picture: int | None,
    *,
    axes: int,
    fitted: Mapping[str, Array] | None = None,
    same: bool = False,
) -> Array:
    """Return one picture per row, `[B, *space, C]`, of rows that may have several, `[B, V, *space, C]`.

    Args:
      rows: the pictures.
      keys: a random key per row.
      picture: index of the picture to use; None draws an index for every row.
      axes: number of spatial axes: 2 for images, 3 for volumes.
      fitted: may have `pictures` `[B]`, the number of pictures of each row, V if it is missing, and `picture` `[B]`,
        a draw for each row that all views of the input share.
      same: whether an index is drawn for all views of the input together, where they have `picture` in common.

    Raises:
      ValueError: the rows have no picture of this index.
    """
    if rows.ndim == axes + 2:
        require(picture in (None, 0), f"picture is {picture}, and rows have one picture; give 0 or None")
        return rows
    pictures, known = rows.shape[1], fitted or {}
    if picture is None:
        index = (
            known["picture"] if same and "picture" in known else drawn_pictures(keys, known.get("pictures", pictures))
        )
        return jax.vmap(lambda row, index: row[index])(rows, index)
    require(
        0 <= picture < pictures,
        f"picture is {picture}, and rows have {pictures} pictures; give an index below {pictures}, or None",
    )
    return rows[:, picture]


def drawn_pictures(keys: Key[Array, "B"], counts: Int[Array, "B"] | int) -> Int[Array, "B"]:
    """Return the index of a picture for each row, below the row's number of pictures."""

    def draw(key: Key[Array, ""], count: Int[Array, ""]) -> Int[Array, ""]:
        return jax.random.randint(jax.random.fold_in(key, _PICK), (), 0, count)

    return jax.vmap(draw)(keys, jnp.broadcast_to(jnp.asarray(counts, jnp.int32), keys.shape))


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
