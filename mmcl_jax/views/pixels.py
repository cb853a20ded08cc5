"""What the views of images and of volumes share: the choice of one of several pictures, and pixels as floats."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

_PICK = 0x71C  # a random stream beside those of a view's parts
_FULL = {"uint8": 255, "uint16": 65535}


def one_of(rows: Shaped[Array, "B ..."], keys: Key[Array, "B"], picture: int | None, *, axes: int) -> Array:
    """Return one picture per row, `[B, *space, C]`, where there may be several, `[B, V, *space, C]`.

    Args:
      rows: of pictures.
      keys: one per row.
      picture: index of the wanted one; None takes one at random.
      axes: of space: 2 for images, 3 for volumes.

    Raises:
      ValueError: rows have no such picture.
    """
    if rows.ndim == axes + 2:
        require(picture in (None, 0), f"picture {picture} was asked for and rows have one")
        return rows
    pictures = rows.shape[1]
    if picture is None:
        draw = jax.vmap(lambda key: jax.random.randint(jax.random.fold_in(key, _PICK), (), 0, pictures))
        return jax.vmap(lambda row, place: row[place])(rows, draw(keys))
    require(0 <= picture < pictures, f"picture {picture} was asked for and rows have {pictures}")
    return rows[:, picture]


def to_unit(pixels: Shaped[Array, "..."]) -> Float[Array, "..."]:
    """Return pixels as float32: of uint8 and uint16 as shares of the largest number; float16 as they are.

    What is stored as float16 should therefore lie in [0, 1] where colours are changed, since these changes end there.

    Raises:
      ValueError: they are of another type.
    """
    name = str(pixels.dtype)
    require(name in (*_FULL, "float16"), f"pixels are {name}, and views take uint8, uint16 or float16")
    return pixels.astype(jnp.float32) / _FULL.get(name, 1)


def check_size(size: tuple[int, ...] | None) -> None:
    """Raise `ValueError` unless all sides are positive."""
    require(size is None or min(size) > 0, f"size must be positive, not {size}")


def require(condition: bool, sentence: str) -> None:
    """Raise `ValueError` with the sentence unless the condition holds."""
    if not condition:
        raise ValueError(sentence)
