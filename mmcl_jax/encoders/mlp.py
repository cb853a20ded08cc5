"""The table encoder of MMCL: one-hot coding and a multilayer perceptron."""

import itertools

from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import Norm, kaiming_fan_in, linear
from mmcl_jax.encoders.table_input import TableInput


class TableMLP(nnx.Module):
    """One-hot, then `layers - 1` times (linear, norm, ReLU), then a linear layer with nothing after it."""

    def __init__(
        self,
        *,
        widths: tuple[int, ...],
        missing: str,
        hidden: int,
        features: int,
        layers: int,
        norm: Norm,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        self.input = TableInput(widths, missing=missing)
        sizes = [self.input.size, *[hidden] * (layers - 1), features]
        self.layers = nnx.List(
            [
                linear(i, o, rngs=rngs, dtype=dtype, kernel_init=kaiming_fan_in, zero_bias=True)
                for i, o in itertools.pairwise(sizes)
            ]
        )
        self.norms = nnx.List([norm(size) for size in sizes[1:-1]])
        self.features, self.dtype = features, dtype

    def __call__(self, view: Float[Array, "B F"], *, train: bool) -> Features:
        x = self.input(view).astype(self.dtype)
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            x = nnx.relu(norm(layer(x), train=train))
        return Features(pooled=self.layers[-1](x))


@ENCODERS.register("table_mlp")
def table_mlp(
    *,
    widths: tuple[int, ...],
    missing: str,
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
      missing: the policy for missing values, see `TableInput`.
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
    return TableMLP(
        widths=widths,
        missing=missing,
        hidden=hidden,
        features=features,
        layers=layers,
        norm=norm,
        rngs=rngs,
        dtype=dtype,
    )
