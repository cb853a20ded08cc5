r"""Importance-weighted bounds of the likelihood of several modalities: the estimators of MMVAE.

Shi et al., "Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative Models", NeurIPS 2019. With a
posterior $q_m(z)$ of each of M modalities and K samples $z_{mk}$ of each posterior, the log-weight of a sample is

$$\ell_{mk} = \log p(z_{mk}) + \sum_d \log p(x_d | z_{mk}) - \log \frac1M \sum_{m'} q_{m'}(z_{mk}).$$
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Bound = Literal["loose", "tight"]
Gradient = Literal["iwae", "dreg", "released"]
# (samples [B, M, k, D], means [B, M, D], scales [B, M, D]) -> log-weights [B, M, k]
LogWeights = Callable[[Array, Array, Array], Array]


def laplace_log_density(
    x: Float[Array, "..."], mean: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    r"""Return $-|x - \mu| / b - \log 2b$ of arrays that broadcast.

    Example:
      >>> round(float(laplace_log_density(jnp.array(1.0), jnp.array(3.0), jnp.array(0.5))), 4)
      -4.0
    """
    return -jnp.abs(x - mean) / scale - jnp.log(2 * scale)


def log_mean_exp(values: Float[Array, "..."], axis: int | tuple[int, ...]) -> Float[Array, "..."]:
    """Return the logarithm of the mean of the exponentials along axes.

    Example:
      >>> round(float(log_mean_exp(jnp.array([1000.0, 1000.0]), axis=0)), 4)
      1000.0
    """
    return jax.nn.logsumexp(values, axis=axis) - jnp.log(jnp.ones_like(values).sum(axis=axis))


def mixture_log_density(
    samples: Float[Array, "B M k D"], means: Float[Array, "B M D"], scales: Float[Array, "B M D"]
) -> Float[Array, "B M k"]:
    """Return the logarithm of the mean of the M posteriors' densities at each sample.

    Example:
      >>> ones = jnp.ones((1, 1, 2))
      >>> jnp.exp(mixture_log_density(ones[:, :, None], ones, ones)).round(4).tolist()
      [[[0.25]]]
    """
    densities = laplace_log_density(samples[:, :, :, None], means[:, None, None], scales[:, None, None]).sum(axis=-1)
    return log_mean_exp(densities, axis=-1)


def bound_of(log_weights: Float[Array, "B M K"], bound: Bound) -> Float[Array, "B"]:
    r"""Return the bound of each row's log-likelihood.

    "loose" is $\frac1M \sum_m \log \frac1K \sum_k e^{\ell_{mk}}$, and "tight" $\log \frac{1}{MK} \sum_{mk}
    e^{\ell_{mk}}$, which is never below it.

    Example:
      >>> log_weights = jnp.log(jnp.array([[[1.0, 3.0], [4.0, 4.0]]]))
      >>> [round(float(jnp.exp(bound_of(log_weights, name)[0])), 4) for name in ("loose", "tight")]
      [2.8284, 3.0]
    """
    if bound == "tight":
        return log_mean_exp(log_weights, axis=(1, 2))
    return log_mean_exp(log_weights, axis=2).mean(axis=1)


def importance_bound(
    log_weights: LogWeights,
    means: Float[Array, "B M D"],
    scales: Float[Array, "B M D"],
    noise: Float[Array, "B M K D"],
    *,
    bound: Bound = "loose",
    gradient: Gradient = "iwae",
) -> Float[Array, "B"]:
    r"""Return the bound of each row's log-likelihood from the samples $z_{mk} = \mu_m + b_m \epsilon_{mk}$.

    The value does not depend on `gradient`. With the weights $w_{mk}$, normalised over the samples that the bound
    averages, parameters of the likelihood and of the prior always get $\sum w \, \partial \ell$. For the posteriors,

    - "iwae" is the gradient of the value (Burda et al., ICLR 2016);
    - "dreg" is $\sum w^2 \, \partial_z \ell \, \partial z$ with posteriors that are constants within $\ell$ (Tucker et
      al., ICLR 2019): the same expectation, with less variance;
    - "released" is $\sum w \, \partial_z \ell \, \partial z$, with the same constants. MMVAE's code computes it where
      it means "dreg": it multiplies by the second w in a hook on a copy of the samples that no gradient passes.

    Args:
      log_weights: function of samples `[B, M, k, D]`, means and scales that returns log-weights `[B, M, k]`.
      means: of the posteriors.
      scales: of the posteriors, positive.
      noise: of the standard Laplace distribution.
      bound: see `bound_of`; "loose" in the published experiments.
      gradient: of the posteriors' parameters.

    Example:
      >>> def log_weights(z, means, scales):  # p(z) is a standard Laplace distribution, and there are no data
      ...     return laplace_log_density(z, 0 * z, 1 + 0 * z).sum(axis=-1) - mixture_log_density(z, means, scales)
      >>> ones = jnp.ones((1, 1, 1))
      >>> importance_bound(log_weights, 0 * ones, ones, ones[..., None]).tolist()  # the posterior is the prior
      [0.0]
    """
    samples = means[:, :, None] + scales[:, :, None] * noise
    if gradient == "iwae":
        return bound_of(log_weights(samples, means, scales), bound)
    constant = jax.lax.stop_gradient((means, scales))
    if gradient == "dreg":
        fixed = jax.lax.stop_gradient(samples)
        first = jax.lax.stop_gradient(log_weights(fixed, *constant))
        normalised = jax.nn.softmax(first, axis=2 if bound == "loose" else (1, 2))
        samples = fixed + normalised[..., None] * (samples - fixed)  # the same values, and the gradient times w
    return bound_of(log_weights(samples, *constant), bound)


def in_parts(
    function: Callable[[Float[Array, "B M k D"]], Float[Array, "B M k"]],
    samples: Float[Array, "B M K D"],
    size: int | None,
) -> Float[Array, "B M K"]:
    """Return a function's results for all samples, computed for `size` samples of each posterior at a time.

    What the function needs for its gradient is computed again, and not kept: the memory is that of one part.

    Example:
      >>> in_parts(lambda samples: samples.sum(axis=-1), jnp.ones((1, 2, 6, 3)), 2).shape
      (1, 2, 6)
    """
    rows, modalities, count, width = samples.shape
    if size is None or size == count:
        return function(samples)
    parts = samples.reshape(rows, modalities, count // size, size, width)
    results = jax.lax.map(jax.checkpoint(function), jnp.moveaxis(parts, 2, 0))
    return jnp.moveaxis(results, 0, 2).reshape(rows, modalities, count)
