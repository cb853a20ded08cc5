"""DAFT: the table predicts a scale and a shift of every channel of the image's map."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Key

from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.fusions.fusion import Fusion, Parts, check_several, conditioned
from mmcl_jax.encoders.layers import linear


class DAFT(Fusion):
    """The tokens of the first part, scaled and shifted by what all parts say, with a residual connection and ReLU."""

    def __init__(self, *, parts: tuple[int, ...], hidden: int, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        first = parts[0]
        self.squeeze = linear(sum(parts), hidden, rngs=rngs, dtype=dtype)
        self.scale_shift = linear(hidden, 2 * first, rngs=rngs, dtype=dtype)
        self.absent = nnx.Param(jnp.zeros(first))
        self.out_features = self.out_local_features = first
        self.dtype = dtype

    def body(
        self,
        embedded: Parts,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the transformed tokens as local features, and their mean as the pooled feature."""
        del train, present, keys
        first, *others = embedded
        pooled = jnp.where(first.exists()[:, None], first.mean(), self.absent[...].astype(first.tokens.dtype)[None])
        every = jnp.concatenate([pooled, *(part.mean() for part in others)], axis=1).astype(self.dtype)
        scale, shift = jnp.split(self.scale_shift(nnx.relu(self.squeeze(every)))[:, None], 2, axis=2)
        return conditioned(
            first,
            self.absent[...],
            lambda tokens: nnx.relu(tokens + tokens * scale + shift),
            dtype=self.dtype,
        )


@ENCODERS.register("daft")
def daft(
    *,
    parts: tuple[int, ...],
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    reduction: int = 7,
) -> DAFT:
    r"""Return the dynamic affine feature map transform (DAFT; Wolf et al., NeuroImage 2022).

    With `of=("image.local", "table")`, a perceptron with a narrow hidden layer takes the mean of the image's map $F$
    and the features of the table, and gives a scale $\alpha$ and a shift $\beta$ of every channel $c$; the result is

    $$\mathrm{ReLU}(F_c + \alpha_c F_c + \beta_c).$$

    In the paper, and in the rival of TIP (Du et al., ECCV 2024), $\alpha F + \beta$ stands inside of the last residual
    block, before its convolutions; a fusion reads features, so here it follows that block, without convolutions.

    Where the first part is absent, a learned vector (0 at first) is in its place; another part that a row lacks enters
    as 0.

    Args:
      parts: number of channels of each part; the first has the map.
      rngs: random streams for the initial parameters, as in PyTorch.
      dtype: of the computation.
      reduction: how many times narrower than all parts together the hidden layer is; 7 in the papers' code.

    Raises:
      ValueError: there are fewer than two parts, or the reduction is not positive or exceeds the channels.

    Example:
      >>> from mmcl_jax.encoders.fusions import Part
      >>> fusion = daft(parts=(4, 3), rngs=nnx.Rngs(0))
      >>> image, table = Part(tokens=jnp.ones((2, 9, 4))), Part(tokens=jnp.ones((2, 1, 3)))
      >>> fused = fusion((image, table), train=False)
      >>> fused.pooled.shape, fused.local.shape
      ((2, 4), (2, 9, 4))
    """
    check_several(parts, "daft")
    if not 0 < reduction <= sum(parts):
        raise ValueError(f"reduction must lie between 1 and the {sum(parts)} channels of all parts, not {reduction}")
    return DAFT(parts=parts, hidden=sum(parts) // reduction, rngs=rngs, dtype=dtype)
