"""The optimizer `amsgrad`: Adam whose second moment never falls."""

import jax
import jax.numpy as jnp
import optax

from mmcl_jax.training.optim.masks import Arrays
from mmcl_jax.training.optim.optimizer import OPTIMIZERS, with_coupled_decay
from mmcl_jax.training.optim.schedules import Schedule


def scale_by_amsgrad(*, b1: float | jax.Array, b2: float, eps: float) -> optax.GradientTransformation:
    """Return the part of AMSGrad that scales by moments, as PyTorch computes it.

    PyTorch corrects the bias of the largest second moment, and `optax.scale_by_amsgrad` takes the largest of the
    corrected ones, which differs in the first steps.
    """

    def init(params: optax.Params) -> optax.ScaleByAmsgradState:
        mu, nu, largest = (jax.tree.map(jnp.zeros_like, params) for _ in range(3))
        return optax.ScaleByAmsgradState(jnp.zeros((), jnp.int32), mu, nu, largest)

    def update(
        updates: optax.Updates, state: optax.ScaleByAmsgradState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.ScaleByAmsgradState]:
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        largest = jax.tree.map(jnp.maximum, state.nu_max, nu)
        first, second = optax.tree.bias_correction(mu, b1, count), optax.tree.bias_correction(largest, b2, count)
        scaled = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), first, second)
        return scaled, optax.ScaleByAmsgradState(count, mu, nu, largest)

    return optax.GradientTransformation(init, update)


@OPTIMIZERS.register("amsgrad")
def amsgrad(
    *,
    schedule: Schedule,
    weight_decay: float = 0.0,
    b1: float = 0.9,
    b2: float = 0.999,
    epsilon: float = 1e-8,
    decay: Arrays = "all",
) -> optax.GradientTransformation:
    """Return AMSGrad (Reddi et al., ICLR 2018, algorithm 2) with coupled L2 decay, as `torch.optim.Adam(amsgrad=True)`.

    This is the optimizer of MMVAE's code, at a rate of 0.001.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> from mmcl_jax.training.optim.schedules import constant
      >>> optimizer = amsgrad(schedule=constant(learning_rate=0.1))
      >>> weights, gradient = jnp.array([1.0, -1.0]), jnp.array([0.5, -2.0])
      >>> updates, _ = optimizer.update(gradient, optimizer.init(weights), weights)
      >>> [round(weight, 3) for weight in optax.apply_updates(weights, updates).tolist()]
      [0.9, -0.9]
    """
    return with_coupled_decay(
        scale_by_amsgrad, schedule, weight_decay=weight_decay, b1=b1, b2=b2, epsilon=epsilon, decay=decay
    )
