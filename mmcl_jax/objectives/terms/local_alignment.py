"""The local term of LoVT: each part of one modality is recognised by what the other modality has for it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from mmcl_jax.encoders.layers import linear
from mmcl_jax.objectives.base import TERMS, Term, check_term
from mmcl_jax.objectives.local import attended, position_contrast, smooth_targets
from mmcl_jax.objectives.stages import Each, Layer, LayerInput, Loss, Whole


class Alignment(nnx.Module):
    """Attention between two modalities; both use the same projections of keys (and queries), values and results."""

    def __init__(self, given: LayerInput) -> None:
        width = given.sizes[0].embedding
        if given.sizes[1].embedding != width:
            raise ValueError(f"both projectors must have the same width, not {width} and {given.sizes[1].embedding}")
        make = [linear(width, width, rngs=given.rngs, dtype=given.dtype) for _ in range(3)]
        self.key, self.value, self.out = make

    def __call__(
        self, x: Float[Array, "B K d"], y: Float[Array, "B M d"], mask: Bool[Array, "B M"] | None
    ) -> Float[Array, "B K d"]:
        """Return what each of x finds in y."""
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

    An attention without normalisation (the released code has BatchNorm behind it) gives each region of the image what
    the sentences say of it, and each sentence what the regions show of it. `local.position_contrast` then compares each
    local feature with its own counterpart among those of the same sample, weighted as the encoder weighs it. Positions
    of a grid are smooth (`local.smooth_targets`), others are not.

    Args:
      between: the local features of two views, behind projectors of one width.
      temperature: tau' of the contrast.
      smoothness: beta of a grid's positions.
      threshold: T of a grid's positions.
      weight: of this term in the objective; mu and nu are 0.75.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> regions, sentences = jnp.ones((2, 9, 16)), jnp.ones((2, 4, 16))
      >>> term = local_alignment()
      >>> layers = term.init(nnx.Rngs(0), regions, sentences)
      >>> loss = jax.jit(lambda *local: term(*local, layers=layers, present=jnp.array([True, False])))
      >>> round(float(loss(regions, sentences)), 2)  # equal features cannot be told apart: log 9 + log 4
      3.58
    """
    check_term(temperature=temperature, weight=weight)
    if min(smoothness, threshold) <= 0:
        raise ValueError(f"smoothness and threshold must be positive, not {smoothness} and {threshold}")

    def each(given: Each) -> Float[Array, "B"]:
        align = given.layers["align"]
        sides = list(zip(given.embeddings, given.features, strict=True))
        losses: list[Float[Array, "B"]] = []
        for (own, features), (other, others) in (sides, sides[::-1]):
            grid = features.grid
            targets = None if grid is None else smooth_targets(grid, smoothness=smoothness, threshold=threshold)
            losses += position_contrast(
                own,
                align(own, other, others.mask),
                temperature=temperature,
                targets=targets,
                mask=features.mask,
                weight=None if features.weight is None else jax.lax.stop_gradient(features.weight),
            )
        return jnp.stack(losses).sum(axis=0) / 2

    def loss(given: Whole) -> Loss:
        return Loss(value=given.mean(given.each))

    return Term(
        name="local_alignment",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        local=True,
        layers={"align": Layer(build=Alignment)},
    )
