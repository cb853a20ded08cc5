"""The term of MMVAE: a variational autoencoder of several views, whose posteriors form a mixture."""

import functools
import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from mmcl_jax.arrays import ArrayError
from mmcl_jax.encoders.decoders import DECODERS
from mmcl_jax.errors import UserError
from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.reads import Read
from mmcl_jax.objectives.stages import Each, Layer, LayerInput, Loss, Whole
from mmcl_jax.objectives.variational import (
    Bound,
    Gradient,
    LogWeights,
    importance_bound,
    in_parts,
    laplace_log_density,
    mixture_log_density,
)

Reduction = Literal["mean", "sum"]
_POSTERIORS = "laplace_dcgan, laplace_conv or laplace_mlp"


class Prior(nnx.Module):
    """A Laplace distribution around 0, whose scale is learned: D softmax(logits)."""

    def __init__(self, features: int) -> None:
        self.logits = nnx.Param(jnp.zeros(features))

    def __call__(self) -> Float[Array, "D"]:
        return self.logits.shape[0] * jax.nn.softmax(self.logits[...])


@TERMS.register("mmvae")
def mmvae(
    *,
    between: tuple[str, ...] = ("image", "volume"),
    decoders: tuple[ConfigDict, ...] = (DECODERS.spec("conv"),),
    samples: int = 10,
    at_a_time: int | None = None,
    bound: Bound = "loose",
    gradient: Gradient = "iwae",
    learn_prior: bool = True,
    likelihood_scale: float = 0.75,
    balanced: bool = True,
    reduction: Reduction = "mean",
    weight: float = 1.0,
) -> Term:
    r"""Return the negative bound of the log-likelihood of all views by MMVAE (Shi et al., NeurIPS 2019).

    Every view has an encoder that returns a Laplace posterior (the name of the encoder begins with "laplace"), and a
    decoder that gives the mean of a Laplace likelihood of the view. Samples of each posterior reconstruct all views;
    `objectives.variational` has their weights. The term has the layers `decoder_VIEW` and `prior`. Evaluation,
    embeddings and explanations read the pooled features, which are the mean of the posterior.

    Fedorov et al. compare their methods with MMVAE under the loose bound. Their other values are not published, so the
    defaults are a choice of this package; `mmvae_original` has those of Shi et al.

    Args:
      between: the views.
      decoders: of the views, in the order of `between`, or one for all, as `mmcl_jax.config.decoder` returns them. None
        of them normalises by the batch, as what is decoded from a sample depends on that sample alone.
      samples: K, the number of samples of each posterior.
      at_a_time: samples of each posterior that are decoded at a time, a divisor of `samples`; None for all. Fewer need
        less memory, and a decoder's forward pass is computed twice.
      bound: "loose" or "tight"; see `variational.bound_of`.
      gradient: "iwae", "dreg" or "released"; see `variational.importance_bound`.
      learn_prior: learn the scale of the prior, which is 1 otherwise.
      likelihood_scale: scale of the likelihood.
      balanced: multiply the log-likelihood of a view by the number of values of the largest view, divided by its own,
        as the code does for MNIST beside SVHN (3.92).
      reduction: over the rows of a batch, "mean", or "sum" as released.
      weight: factor of this term in the objective.

    Raises:
      ValueError: a number is out of range, a text names no pooled feature, or decoders are missing.

    Example:
      >>> from mmcl_jax.encoders import Features
      >>> term = mmvae(decoders=(DECODERS.spec("mlp", hidden=4),), samples=4, at_a_time=2)
      >>> posterior, view = Features(pooled=jnp.zeros((3, 2)), scale=jnp.ones((3, 2))), jnp.ones((3, 8, 8, 1))
      >>> layers = term.init(nnx.Rngs(0), posterior, posterior, views=(view, view))
      >>> sorted(layers)
      ['decoder_image', 'decoder_volume', 'prior']
      >>> term(posterior, posterior, views=(view, view), layers=layers, key=jax.random.key(0)).shape
      ()
    """
    check_weights(weight=weight)
    reads = [Read.parse(text) for text in between]
    _check_options(reads, decoders, samples, at_a_time, likelihood_scale)
    names = [f"decoder_{read.view}" for read in reads]
    chosen = decoders * len(reads) if len(decoders) == 1 else decoders

    def each(rows: Each) -> Float[Array, "B"]:
        means, scales = _posteriors(rows, between)
        values = [view.values.astype(jnp.float32) for view in rows.views if view is not None]
        if len(values) != len(between):
            raise ArrayError("mmvae compares views with what is decoded of them; give them as views=.")
        if rows.keys is None:
            raise ArrayError("mmvae draws samples of each row; give key=, a random key.")
        draw = functools.partial(jax.random.laplace, shape=(len(between), samples, means.shape[2]))
        prior = rows.layers["prior"]() if learn_prior else jnp.ones(means.shape[2])
        return importance_bound(
            _log_weights(
                values,
                [rows.layers[name] for name in names],
                prior,
                likelihood_scale=likelihood_scale,
                balanced=balanced,
                at_a_time=at_a_time,
            ),
            means,
            scales,
            jax.vmap(lambda key: draw(key))(rows.keys),
            bound=bound,
            gradient=gradient,
        )

    def loss(batch: Whole) -> Loss:
        mean = batch.mean(batch.each)
        total = mean
        if reduction == "sum":
            total = batch.each.sum()  # rows that are absent hold zeros
        return Loss(value=-total, metrics={"bound": mean})

    prior = {"prior": Layer(build=_prior)} if learn_prior else {}
    return Term(
        name="mmvae",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        outputs=(),
        layers={name: _decoder(spec, index) for index, (name, spec) in enumerate(zip(names, chosen, strict=True))}
        | prior,
    )


def _check_options(
    reads: list[Read], decoders: tuple[ConfigDict, ...], samples: int, at_a_time: int | None, likelihood_scale: float
) -> None:
    if not reads:
        raise ValueError("between is empty; name at least one view, such as ('image',)")
    for read in reads:
        if read.local or len([other for other in reads if other.view == read.view]) > 1:
            raise ValueError(f"between must name pooled features of different views, and {read.view!r} is not such")
    if len(decoders) not in (1, len(reads)):
        raise ValueError(f"decoders must have one entry for all views, or {len(reads)}, not {len(decoders)}")
    if samples < 1 or likelihood_scale <= 0:
        raise ValueError(f"samples and likelihood_scale must be positive, not {samples} and {likelihood_scale}")
    if at_a_time is not None and (at_a_time < 1 or samples % at_a_time):
        raise ValueError(f"at_a_time must divide samples, {samples}, and {at_a_time} does not")


def _prior(context: LayerInput) -> nnx.Module:
    return Prior(context.sizes[0].pooled)


class _Unnormalised(nnx.Module):
    """What a decoder has in place of a normalisation layer."""

    def __call__(self, x: Array, *, train: bool, present: Array | None = None) -> Array:
        return x


def _decoder(spec: ConfigDict, index: int) -> Layer:
    def build(context: LayerInput) -> nnx.Module:
        sizes = context.sizes[index]
        if len(sizes.view) < 3:
            raise ValueError("between must name views of images or volumes")
        if sizes.pooled != context.sizes[0].pooled:
            raise ValueError(
                f"mmvae needs posteriors of one width, not {context.sizes[0].pooled} and {sizes.pooled}; set "
                f"config.encoders.MODALITY.features"
            )
        arguments = {"norm": lambda channels: _Unnormalised(), "rngs": context.rngs, "dtype": context.dtype}
        try:
            return DECODERS.build(spec, f"decoders.{index}", shape=sizes.view, features=sizes.pooled, **arguments)
        except UserError as error:
            raise ValueError(str(error).rstrip(".")) from error

    return Layer(build=build)


def _posteriors(rows: Each, between: tuple[str, ...]) -> tuple[Float[Array, "B M D"], Float[Array, "B M D"]]:
    """Return the means and the scales of the posteriors; the scale of an absent row is 1."""
    means, scales = [], []
    for text, features in zip(between, rows.features, strict=True):
        if features.scale is None:
            raise ArrayError(
                f"mmvae needs the distribution of {text!r}, and its encoder returns points; choose the encoder "
                f"{_POSTERIORS}."
            )
        scale = features.scale.astype(jnp.float32)
        if rows.present is not None:
            scale = jnp.where(rows.present[:, None], scale, 1)
        means.append(features.pooled.astype(jnp.float32))
        scales.append(scale)
    return jnp.stack(means, axis=1), jnp.stack(scales, axis=1)


def _log_weights(
    views: list[Float[Array, "B ..."]],
    decoders: list[Callable[..., Array]],
    prior: Float[Array, "D"],
    *,
    likelihood_scale: float,
    balanced: bool,
    at_a_time: int | None,
) -> LogWeights:
    """Return the function of samples, means and scales that `importance_bound` takes."""
    sizes = [math.prod(view.shape[1:]) for view in views]
    factors = [max(sizes) / size if balanced else 1.0 for size in sizes]

    def likelihood(z: Float[Array, "B M k D"]) -> Float[Array, "B M k"]:
        total = jnp.zeros(z.shape[:3])
        for view, decoder, factor in zip(views, decoders, factors, strict=True):
            decoded = decoder(z.reshape(-1, z.shape[3]), train=True).astype(jnp.float32)
            decoded = decoded.reshape(*z.shape[:3], *view.shape[1:])
            densities = laplace_log_density(view[:, None, None], decoded, jnp.float32(likelihood_scale))
            total = total + factor * densities.sum(axis=tuple(range(3, decoded.ndim)))
        return total

    def log_weights(z: Array, means: Array, scales: Array) -> Array:
        of_prior = laplace_log_density(z, jnp.zeros_like(z), prior[None, None, None]).sum(axis=-1)
        return of_prior + in_parts(likelihood, z, at_a_time) - mixture_log_density(z, means, scales)

    return log_weights
