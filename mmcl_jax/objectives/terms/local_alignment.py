"""The local term of LoVT: each local feature of one modality matches what attention reads for it in the other."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from mmcl_jax.encoders.layers import kaiming_fan_out_linear, linear
from mmcl_jax.encoders.projectors import Normalise, Padding
from mmcl_jax.objectives.base import TERMS, Term, check_term, check_weights
from mmcl_jax.objectives.local import attended, attention, position_contrast, smooth_targets
from mmcl_jax.objectives.stages import Each, Layer, LayerInput, Loss, Whole

SIDES = ("first", "second")
Positives = Literal["smooth", "hard"]
Weighting = Literal["encoder", "uniform"]


class Alignment(nnx.Module):
    """Attention between two modalities, which share one projection of keys, one of values, one of results and one norm.

    A feature's key is its query, too, so both directions have the same scores.
    """

    def __init__(self, context: LayerInput, *, normalise: Normalise, padding: Padding) -> None:
        width = context.sizes[0].embedding
        if context.sizes[1].embedding != width:
            raise ValueError(
                f"local_alignment needs two projectors of one width, not {width} and {context.sizes[1].embedding}"
            )
        layer = functools.partial(linear, width, width, rngs=context.rngs, dtype=context.dtype)
        self.key, self.value, self.out = (layer(kernel_init=kaiming_fan_out_linear, zero_bias=True) for _ in range(3))
        self.norm = context.norm(width) if normalise == "batch" else None
        self.padding = padding

    def attention(
        self, x: Float[Array, "B K d"], y: Float[Array, "B M d"], y_mask: Bool[Array, "B M"] | None = None
    ) -> Float[Array, "B K M"]:
        """Return the weight of each position of y for each position of x; the sum over y is 1, or 0 for an empty y."""
        return attention(self.key(x), self.key(y), y_mask)

    def __call__(
        self,
        x: Float[Array, "B K d"],
        y: Float[Array, "B M d"],
        x_mask: Bool[Array, "B K"] | None = None,
        y_mask: Bool[Array, "B M"] | None = None,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
    ) -> Float[Array, "B K d"]:
        """Return what attention from each position of x reads in y, a local feature of the positions of x.

        Args:
          x: local features.
          y: local features of the other modality.
          x_mask: positions of x that exist; the result at other positions has no meaning.
          y_mask: positions of y that exist; others are not read.
          train: whether the norm uses the batch.
          present: rows that exist, for the norm with the padding "include".
        """
        read = attended(self.key(x), self.key(y), self.value(y), y_mask)
        if x_mask is not None:
            read = jnp.where(x_mask[:, :, None], read, 0)  # the released code zeroes the attention of padded sentences
        result = self.out(read)
        if self.norm is None:
            return result
        return self.norm(result, train=train, present=x_mask if self.padding == "mask" else present)


@TERMS.register("local_alignment")
def local_alignment(
    *,
    between: tuple[str, str] = ("image.local", "report.local"),
    temperature: float = 0.3,
    positives: Positives = "smooth",
    smoothness: float = 1.0,
    threshold: float = 0.5,
    weighting: Weighting = "encoder",
    sides: tuple[float, float] = (1.0, 1.0),
    normalise: Normalise = "batch",
    padding: Padding = "mask",
    weight: float = 0.75,
) -> Term:
    r"""Return LoVT's local losses (Mueller et al., ECCV 2022): the sum over modalities of the mean of both directions.

    Attention gives each image region a feature of the sentences about it, and each sentence a feature of the regions
    that it describes (`Alignment`). `local.position_contrast` then contrasts each local feature with the attended
    features of its sample; the loss of a sample is the weighted mean over its positions, and the loss of a batch the
    mean over its samples. On a grid, near positions are positives, too (`local.smooth_targets`); a sentence's only
    positive is itself.

    A sample without sentences has no local loss. Metrics: the loss of each side, `first` and `second`.

    Args:
      between: the local features of two views, behind projectors of one width.
      temperature: tau' of the contrast.
      positives: on a grid, "smooth" for $p_{kl} \propto e^{-d(k, l) / \beta}$ within the threshold, or "hard" for all
        positions within the threshold alike (LoVT's ablation); with `threshold=0` a position is its only positive.
      smoothness: beta of a grid's positions.
      threshold: T of a grid's positions, as a share of the grid's diagonal.
      weighting: of a sample's positions: "encoder" for `Features.weight`, the weights of attention pooling, without
        gradient, or "uniform" (LoVT's ablation). An encoder without weights has uniform ones.
      sides: factors of the losses of the first and the second modality: mu and nu of LoVT are `weight` times these.
        A side with the factor 0 is not computed, as in LoVT's ablations with one local loss.
      normalise: behind the attention, "batch" for batch normalisation that both directions share, or "none".
      padding: whether positions that do not exist, such as padded sentences, are left out of the norm ("mask") or enter
        it ("include", LoVT's code, with the encoder's largest number of sentences as the length of every report).
      weight: factor of this term in the objective.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> regions, sentences = jnp.ones((2, 9, 16)), jnp.ones((2, 4, 16))
      >>> term = local_alignment()
      >>> layers = term.init(nnx.Rngs(0), regions, sentences)
      >>> loss = jax.jit(lambda *local: term(*local, layers=layers, present=jnp.array([True, False]), train=False))
      >>> round(float(loss(regions, sentences)), 2)  # all features are equal: log 9 + log 4
      3.58
    """
    check_term(temperature=temperature, weight=weight)
    check_weights(threshold=threshold, **dict(zip((f"sides[{side}]" for side in range(2)), sides, strict=True)))
    if smoothness <= 0:
        raise ValueError(f"smoothness must be positive, not {smoothness}")
    if not any(sides):
        raise ValueError("sides must not both be 0; leave the term out")
    beta = smoothness if positives == "smooth" else float("inf")

    def each(rows: Each) -> dict[str, Float[Array, "B"]]:
        masks = [features.local_present(rows.present) for features in rows.features]
        losses: dict[str, Float[Array, "B"]] = {}
        for own, (side, factor) in enumerate(zip(SIDES, sides, strict=True)):
            if factor == 0:
                continue
            other, features = 1 - own, rows.features[own]
            mask, other_mask = masks[own], masks[other]
            if other_mask is not None:  # without positions on the other side, attention reads nothing
                nonempty = jnp.broadcast_to(other_mask.any(axis=1)[:, None], rows.embeddings[own].shape[:2])
                mask = nonempty if mask is None else mask & nonempty
            x, y = rows.embeddings[own], rows.embeddings[other]
            read = rows.layers["align"](x, y, mask, other_mask, train=rows.train, present=rows.present)
            targets = None
            if features.grid is not None:
                targets = smooth_targets(features.grid, smoothness=beta, threshold=threshold)
            weighs = weighting == "encoder" and features.weight is not None
            directions = position_contrast(
                x,
                read,
                temperature=temperature,
                targets=targets,
                mask=mask,
                weight=jax.lax.stop_gradient(features.weight) if weighs else None,
            )
            losses[side] = jnp.stack(directions).mean(axis=0)
        return losses

    def loss(batch: Whole) -> Loss:
        metrics = {side: batch.mean(values) for side, values in batch.each.items()}
        factors = dict(zip(SIDES, sides, strict=True))
        return Loss(value=jnp.stack([factors[side] * value for side, value in metrics.items()]).sum(), metrics=metrics)

    return Term(
        name="local_alignment",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        local=True,
        layers={"align": Layer(build=functools.partial(Alignment, normalise=normalise, padding=padding))},
    )
