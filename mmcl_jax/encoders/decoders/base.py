"""The contract of a decoder, and the registry."""

from flax import nnx
from jaxtyping import Array, Bool, Float

from mmcl_jax.registry import Registry

DECODERS = Registry("decoder", arguments=("shape", "features", "norm", "rngs", "dtype"))


class Decoder(nnx.Module):
    """A decoder of pooled features.

    Its factory has as keywords what it needs of `shape` (of one view, channels last), `features` (D, the width of its
    input), `norm`, `rngs` and `dtype`.
    """

    def __call__(
        self, x: Float[Array, "B D"], *, train: bool, present: Bool[Array, " B"] | None = None
    ) -> Float[Array, "B *space C"]:
        """Return views `[B, H, W, C]` or `[B, D, H, W, C]`; absent rows do not influence the views of present rows."""
        raise NotImplementedError
