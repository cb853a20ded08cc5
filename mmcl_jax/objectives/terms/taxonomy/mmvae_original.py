"""The term of MMVAE with the values of its released code."""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.encoders.decoders import DECODERS
from mmcl_jax.objectives.base import TERMS, Term
from mmcl_jax.objectives.terms.taxonomy.mmvae import mmvae
from mmcl_jax.objectives.variational import Gradient


@TERMS.register("mmvae_original")
def mmvae_original(
    *,
    between: tuple[str, ...] = ("mnist", "svhn"),
    decoders: tuple[ConfigDict, ...] = (DECODERS.spec("mlp"), DECODERS.spec("conv")),
    samples: int = 30,
    at_a_time: int | None = 5,
    gradient: Gradient = "released",
    learn_prior: bool = True,
    weight: float = 1.0,
) -> Term:
    """Return `mmvae` as Shi et al. (NeurIPS 2019) published it for MNIST and SVHN: `--obj dreg --looser --K 30`.

    The bound is the loose one, and the loss is its sum over the batch, as released. In the released code the hook that
    makes the gradient that of DReG has no effect, and `gradient="released"` has none either; "dreg" is what the paper
    describes. The encoders are `laplace_mlp` and `laplace_conv`.

    Args:
      between: the views.
      decoders: as in `mmvae`.
      samples: K.
      at_a_time: samples that are decoded at a time; as in `mmvae`. (The code divides the rows of a batch in its place.)
      gradient: as in `mmvae`.
      learn_prior: as in `mmvae`.
      weight: factor of this term in the objective.

    Raises:
      ValueError: as `mmvae`.

    Example:
      >>> import jax.numpy as jnp
      >>> term = mmvae_original()
      >>> float(term(each=jnp.array([-10.0, -20.0])))  # of the bounds of two rows
      30.0
    """
    term = mmvae(
        between=between,
        decoders=decoders,
        samples=samples,
        at_a_time=at_a_time,
        gradient=gradient,
        learn_prior=learn_prior,
        reduction="sum",
        weight=weight,
    )
    return dataclasses.replace(term, name="mmvae_original")
