"""Projectors: from features into the space where a term compares them."""

from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.base import PROJECTORS
from mmcl_jax.encoders.layers import linear


class MLPProjector(nnx.Module):
    """Linear, ReLU, linear."""

    def __init__(self, features: int, hidden: int, out: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.hidden = linear(features, hidden, rngs=rngs, dtype=dtype)
        self.out = linear(hidden, out, rngs=rngs, dtype=dtype)

    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B d"]:
        return self.out(nnx.relu(self.hidden(x)))


@PROJECTORS.register("mlp")
def mlp(*, features: int, rngs: nnx.Rngs, dtype: DTypeLike, hidden: int = 2048, out: int = 128) -> MLPProjector:
    """Two layers with biases and no normalisation: what MMCL's released code uses for both modalities.

    (The SimCLR head of lightly 1.2.22, which it pins; from 1.4.3 on that head has BatchNorm after both layers.)

    Raises:
      ValueError: a size is not positive.
    """
    if min(hidden, out) <= 0:
        raise ValueError(f"hidden and out must be positive, not {hidden} and {out}")
    return MLPProjector(features, hidden, out, rngs=rngs, dtype=dtype)


@PROJECTORS.register("linear")
def single(*, features: int, rngs: nnx.Rngs, dtype: DTypeLike, out: int = 128) -> nnx.Linear:
    """One fully connected layer: what MMCL's paper (section 4.2) says of the table; its code has `mlp`.

    Raises:
      ValueError: `out` is not positive.
    """
    if out <= 0:
        raise ValueError(f"out must be positive, not {out}")
    return linear(features, out, rngs=rngs, dtype=dtype)
