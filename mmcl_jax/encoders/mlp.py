"""The table encoder of MMCL: one-hot coding and a multilayer perceptron."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import Norm, kaiming_fan_in, linear


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


class TableMLP(nnx.Module):
    """One-hot, then `layers - 1` times (linear, norm, ReLU), then a linear layer with nothing after it."""

    def __init__(
        self,
        *,
        widths: tuple[int, ...],
        hidden: int,
        features: int,
        layers: int,
        norm: Norm,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        sizes = [sum(widths), *[hidden] * (layers - 1), features]
        self.layers = nnx.List(
            [
                linear(i, o, rngs=rngs, dtype=dtype, kernel_init=kaiming_fan_in, zero_bias=True)
                for i, o in itertools.pairwise(sizes)
            ]
        )
        self.norms = nnx.List([norm(size) for size in sizes[1:-1]])
        self.widths, self.features, self.dtype = widths, features, dtype

    def __call__(self, view: Float[Array, "B F"], *, train: bool) -> Features:
        x = one_hot(view, self.widths).astype(self.dtype)
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            x = nnx.relu(norm(layer(x), train=train))
        return Features(pooled=self.layers[-1](x))


@ENCODERS.register("table_mlp")
def table_mlp(
    *,
    widths: tuple[int, ...],
    norm: Norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
    hidden: int = 2048,
    features: int = 2048,
    layers: int = 2,
) -> TableMLP:
    """MMCL's table tower (4,331,520 parameters for the 63 one-hot columns of DVM).

    Args:
      widths: one-hot width of every column.
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams for the initial parameters (Kaiming normal over the fan-in, biases 0).
      dtype: of the computation.
      hidden: width of the hidden layers.
      features: width of the result.
      layers: number of linear layers.

    Raises:
      ValueError: a size is not positive.
    """
    if min(hidden, features, layers) <= 0:
        raise ValueError(f"hidden, features and layers must be positive, not {hidden}, {features}, {layers}")
    return TableMLP(widths=widths, hidden=hidden, features=features, layers=layers, norm=norm, rngs=rngs, dtype=dtype)
