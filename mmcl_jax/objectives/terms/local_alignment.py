"""The local term of LoVT: each local feature of one modality matches what attention reads for it in the other."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from mmcl_jax.encoders.layers import linear
from mmcl_jax.objectives.base import TERMS, Term, check_term
from mmcl_jax.objectives.local import attended, position_contrast, smooth_targets
from mmcl_jax.objectives.stages import Each, Layer, LayerInput, Loss, Whole


class Alignment(nnx.Module):
    """Attention between two modalities, with one projection of queries and keys, one of values and one of results."""

    def __init__(self, context: LayerInput) -> None:
        width = context.sizes[0].embedding
        if context.sizes[1].embedding != width:
            raise ValueError(
                f"local_alignment needs two projectors of one width, not {width} and {context.sizes[1].embedding}"
            )
        layers = [linear(width, width, rngs=context.rngs, dtype=context.dtype) for _ in range(3)]
        self.key, self.value, self.out = layers

    def __call__(
        self, x: Float[Array, "B K d"], y: Float[Array, "B M d"], mask: Bool[Array, "B M"] | None
    ) -> Float[Array, "B K d"]:
        """Return the result of attention from each position of x to the positions of y."""
        return self.out(attended(self.key(x), self.key(y), self.value(y), mask))


@TERMS.register("local_alignment")
def local_alignment(
    *,
    between: tuple[str, str] = ("image.local", "report.local"),
    temperature: float = 0.3,
    smoothness: float = 1.0,
    threshold: float = 0.5,
    weight: float = 0.75,
) -> Term:
    r"""Return LoVT's local losses (Mueller et al., ECCV 2022): the sum over modalities of the mean of both directions.

    Attention without normalisation (the released code has BatchNorm behind it) gives each image region a feature of
    the sentences about it, and each sentence a feature of the regions it describes. `local.position_contrast` then
    contrasts each local feature with the attended features of its sample, with the encoder's weights. On a grid, near
    positions are positives, too (`local.smooth_targets`).

    Args:
      between: the local features of two views, behind projectors of one width.
      temperature: tau' of the contrast.
      smoothness: beta of a grid's positions.
      threshold: T of a grid's positions.
      weight: factor of this term in the objective; mu and nu are 0.75 in LoVT.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> regions, sentences = jnp.ones((2, 9, 16)), jnp.ones((2, 4, 16))
      >>> term = local_alignment()
      >>> layers = term.init(nnx.Rngs(0), regions, sentences)
      >>> loss = jax.jit(lambda *local: term(*local, layers=layers, present=jnp.array([True, False])))
      >>> round(float(loss(regions, sentences)), 2)  # all features are equal: log 9 + log 4
      3.58
    """
    check_term(temperature=temperature, weight=weight)
    if min(smoothness, threshold) <= 0:
        raise ValueError(f"smoothness and threshold must be positive, not {smoothness} and {threshold}")

    def each(rows: Each) -> Float[Array, "B"]:
        align = rows.layers["align"]
        sides = list(zip(rows.embeddings, rows.features, strict=True))
        losses: list[Float[Array, "B"]] = []
        for (own, features), (other, other_features) in (sides, sides[::-1]):
            grid = features.grid
            targets = None if grid is None else smooth_targets(grid, smoothness=smoothness, threshold=threshold)
            losses += position_contrast(
                own,
                align(own, other, other_features.mask),
                temperature=temperature,
                targets=targets,
                mask=features.mask,
                weight=None if features.weight is None else jax.lax.stop_gradient(features.weight),
            )
        return jnp.stack(losses).sum(axis=0) / 2

    def loss(batch: Whole) -> Loss:
        return Loss(value=batch.mean(batch.each))

    return Term(
        name="local_alignment",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        local=True,
        layers={"align": Layer(build=Alignment)},
    )
