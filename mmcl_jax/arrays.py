"""Conversion of arrays of any library to JAX arrays, and the masking of absent rows."""

from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from mmcl_jax.errors import UserError


@runtime_checkable
class DLPack(Protocol):
    """An array that speaks DLPack, such as those of NumPy, PyTorch and JAX."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the array as a capsule."""

    def __dlpack_device__(self) -> tuple[Any, int]:
        """Return the kind and the number of the device that holds the array."""


# An array of JAX, of NumPy, or of another library that speaks DLPack. `as_array` refuses any other value.
ArrayLike: TypeAlias = Any


class ArrayError(UserError, ValueError):
    """The error for an unfit array or number in a call of a public function; its sentence names the argument."""


def as_array(values: Any, name: str) -> Array:
    """Return an array of JAX, NumPy or another library that speaks DLPack as a JAX array.

    64-bit numbers become 32-bit numbers, unless `jax_enable_x64` is set. Arrays of other libraries are copied.

    Args:
      values: an array of numbers or booleans.
      name: name of the argument, for the error message.

    Raises:
      ArrayError: the values are no array of numbers, or their library cannot export them.

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
            return jnp.array(np.from_dlpack(values))  # NumPy takes strides that JAX refuses
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise ArrayError(
                f"{name} cannot be read from {type(values).__module__}: {error}; give a detached, contiguous array."
            ) from error


def as_floats(values: Any, name: str) -> Array:
    """Return an array of floats as a JAX array: bfloat16 stays, other widths become float32.

    Raises:
      ArrayError: for the reasons of `as_array`, or the array holds no floats.
    """
    array = as_array(values, name)
    if array.dtype in (jnp.float32, jnp.bfloat16):
        return array
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ArrayError(f"{name} is an array of {array.dtype}; give floats.")
    return array.astype(jnp.float32)


def zero_absent(x: Array, present: Bool[Array, "..."], *, fill: int = 0) -> Array:
    """Return the array with `fill` where `present`, whose axes are its first axes, is false.

    Values of absent rows may be NaN, and 0 times NaN is NaN, so they are replaced and not multiplied.

    Example:
      >>> zero_absent(jnp.array([[1.0, 2.0], [jnp.nan, 3.0]]), jnp.array([True, False])).tolist()
      [[1.0, 2.0], [0.0, 0.0]]
    """
    mask = present.reshape(*present.shape, *[1] * (x.ndim - present.ndim))
    return jnp.where(mask, x, jnp.full((), fill, x.dtype))
