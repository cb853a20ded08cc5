"""The head of dense tasks: linear segmentation."""

import dataclasses
from typing import ClassVar, Literal

import jax
from jaxtyping import Array, Float

from mmcl_jax.evaluation.heads.linear import LinearHead, Params


@dataclasses.dataclass(frozen=True)
class LinearSegmentation(LinearHead):
    """A linear layer on every cell of a feature map (a 1 x 1 convolution), enlarged bilinearly to the size of the mask.

    This is the linear segmentation protocol of LoVT (Mueller et al., ECCV 2022). As in PyTorch's
    `align_corners=False`, corners of cells, and not their centres, are aligned with the corners of the mask.

    Attributes:
      size: height and width of the mask.

    Example:
      >>> import jax.numpy as jnp
      >>> weights = {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}
      >>> LinearSegmentation(size=(8, 8))(weights, jnp.ones((1, 2, 2, 3))).shape
      (1, 8, 8, 2)
    """

    name: ClassVar[str] = "linear_segmentation"
    reads: ClassVar[Literal["pooled", "maps"]] = "maps"
    size: tuple[int, int] = (0, 0)

    def __call__(self, params: Params, features: Float[Array, "*B h w D"]) -> Float[Array, "*B H W outputs"]:
        """Return the logits of every pixel."""
        cells = super().__call__(params, features)
        shape = (*cells.shape[:-3], *self.size, cells.shape[-1])
        return jax.image.resize(cells, shape, "bilinear", antialias=False)
