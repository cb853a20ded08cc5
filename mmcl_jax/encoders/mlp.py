"""Multilayer perceptrons, and the table encoder of MMCL: a perceptron on one-hot rows."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import Norm, batch_norm, kaiming_fan_in, linear, norm_relu
from mmcl_jax.encoders.table_input import TableInput


def perceptron_sizes(inputs: int, hidden: int, features: int, layers: int) -> list[int]:
    """Return the widths between `layers` linear layers, from the input to the output.

    Raises:
      ValueError: a size is not positive.
    """
    if min(hidden, features, layers) <= 0:
        raise ValueError(f"hidden, features and layers must be positive, not {hidden}, {features}, {layers}")
    return [inputs, *[hidden] * (layers - 1), features]


def perceptron_layers(sizes: Sequence[int], *, rngs: nnx.Rngs, dtype: DTypeLike) -> nnx.List[nnx.Linear]:
    """Return linear layers between these widths, with Kaiming normal kernels over the fan-in and biases 0."""
    return nnx.List(
        [
            linear(i, o, rngs=rngs, dtype=dtype, kernel_init=kaiming_fan_in, zero_bias=True)
            for i, o in itertools.pairwise(sizes)
        ]
    )


class MLP(Encoder):
    """`layers - 1` times (linear, norm, ReLU), then one linear layer."""

    def __init__(
        self, *, inputs: int, hidden: int, features: int, layers: int, norm: Norm, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> None:
        sizes = perceptron_sizes(inputs, hidden, features, layers)
        self.layers = perceptron_layers(sizes, rngs=rngs, dtype=dtype)
        self.norms = nnx.List([norm(size) for size in sizes[1:-1]])
        self.out_features, self.dtype = features, dtype

    def body(
        self,
        embedded: Float[Array, "B E"],
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of rows of numbers."""
        del keys
        x = embedded.astype(self.dtype)
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            x = norm_relu(norm, layer(x), train=train, present=present)
        return Features(pooled=self.layers[-1](x))


class TableMLP(MLP):
    """A multilayer perceptron on one-hot rows of a table."""

    takes = ("table",)

    def __init__(self, *, widths: tuple[int, ...], missing: str, **sizes: Any) -> None:
        self.input = TableInput(widths, missing=missing)
        super().__init__(inputs=self.input.size, **sizes)

    @property
    def embedded_columns(self) -> tuple[int, ...]:
        """The column of each one-hot column."""
        return self.input.columns

    def column_norms(self, gradients: Mapping[str, Any]) -> Float[Array, " F"] | None:
        """Return the norms of the gradients of the first layer's weights, over all one-hot columns of each column."""
        if "kernel" not in gradients.get("layers", {}).get(0, {}):
            return None
        squares = jnp.square(gradients["layers"][0]["kernel"]).sum(axis=1)
        columns = np.array(self.embedded_columns)
        return jnp.sqrt(jnp.zeros(len(self.input.widths)).at[columns].add(squares))

    def embed(self, view: Float[Array, "B F"]) -> Float[Array, "B E"]:
        """Return one-hot rows, in which missing values are replaced (see `TableInput`)."""
        return self.input(view)


@ENCODERS.register("table_mlp")
def table_mlp(
    *,
    widths: tuple[int, ...],
    missing: str = "refuse",
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    hidden: int = 2048,
    features: int = 2048,
    layers: int = 2,
) -> TableMLP:
    """Return MMCL's table tower (4,331,520 parameters for the 63 one-hot columns of DVM).

    Args:
      widths: one-hot width of every column.
      missing: the policy for missing values; see `TableInput`.
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams for the initial parameters (Kaiming normal over the fan-in, biases 0).
      dtype: of the computation.
      hidden: width of the hidden layers.
      features: width of the output.
      layers: number of linear layers.

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> encoder = table_mlp(widths=(1, 3), rngs=nnx.Rngs(0), hidden=8, features=4)  # a number and a category of three
      >>> encoder(jnp.array([[0.5, 2.0], [-1.0, 0.0]]), train=False).pooled.shape
      (2, 4)
    """
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
