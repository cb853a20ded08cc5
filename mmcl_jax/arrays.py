"""Arrays of any library, read as arrays of JAX."""

from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mmcl_jax.errors import UserError


@runtime_checkable
class DLPack(Protocol):
    """An array that can be handed over by DLPack, as those of NumPy, PyTorch and JAX can."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the array as a capsule."""

    def __dlpack_device__(self) -> tuple[Any, int]:
        """Return the kind and the number of the device that holds the array."""


# An array of JAX, of NumPy, or of another library that speaks DLPack. What is none of them is refused by `as_array`,
# in a sentence.
ArrayLike: TypeAlias = Any


class ArrayError(UserError, ValueError):
    """An array or a number given to a public function does not fit: one sentence that names the argument."""


def as_array(values: Any, name: str) -> Array:
    """Return an array of JAX, NumPy or another library that speaks DLPack as an array of JAX.

    64-bit numbers become 32-bit numbers unless JAX is told otherwise (`jax_enable_x64`). What is no array of JAX is
    copied.

    Args:
      values: the array, of numbers or booleans.
      name: of the argument, for the error.

    Raises:
      ArrayError: the values are no array of numbers, or their library does not hand them over.

    Example:
      >>> as_array(np.array([1.5, 2.0]), "x").dtype
      dtype('float32')
    """
    if isinstance(values, jax.Array):
        return values
    if isinstance(values, np.ndarray | np.generic):
        if values.dtype.kind not in "biufV" or values.dtype.names:
            raise ArrayError(f"{name} is a NumPy array of {values.dtype}; give an array of numbers.")
        return jnp.array(values)
    if not isinstance(values, DLPack):
        raise ArrayError(
            f"{name} is of the type {type(values).__name__}; give an array of JAX, NumPy or another library that "
            f"speaks DLPack."
        )
    try:
        return jnp.from_dlpack(values, copy=True)
    except (BufferError, RuntimeError, TypeError, ValueError):
        try:
            return jnp.array(np.from_dlpack(values))  # on the CPU, strides that JAX does not take
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise ArrayError(
                f"{name} cannot be read from {type(values).__module__}: {error}; give a detached, contiguous array."
            ) from error


def as_floats(values: Any, name: str) -> Array:
    """Return an array as float32 or bfloat16: other widths of floats become float32.

    Raises:
      ArrayError: as of `as_array`, or the array holds no floats.
    """
    array = as_array(values, name)
    if array.dtype in (jnp.float32, jnp.bfloat16):
        return array
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ArrayError(f"{name} is an array of {array.dtype}; give floats.")
    return array.astype(jnp.float32)
