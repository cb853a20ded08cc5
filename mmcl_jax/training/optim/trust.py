"""Optimizers for large batches, whose step on each array is in proportion to the norm of the array."""

import optax

from mmcl_jax.training.optim.masks import Arrays, decayed, on
from mmcl_jax.training.optim.optimizer import OPTIMIZERS, check_adam, check_momentum, scaled_by_moments
from mmcl_jax.training.optim.schedules import Schedule


@OPTIMIZERS.register("lars")
def lars(
    *,
    schedule: Schedule,
    weight_decay: float = 1e-6,
    momentum: float = 0.9,
    nesterov: bool = False,
    trust: float = 0.001,
    decay: Arrays = "matrices",
    adapt: Arrays = "matrices",
) -> optax.GradientTransformation:
    r"""Return LARS (You et al., 2017, algorithm 1): momentum whose rate is scaled for every array by its trust ratio.

    $v \leftarrow \mu v + \eta\, \tau \frac{\lVert w \rVert}{\lVert g + \lambda w \rVert} (g + \lambda w)$, then
    $w \leftarrow w - v$. The ratio of an array whose norm, or whose gradient's, is 0 is 1.

    Args:
      schedule: of the rate; in the recipes of SimCLR and BYOL, its peak is 0.3 and 0.2 per 256 rows of the batch.
      weight_decay: coupled; SimCLR's by default.
      momentum: of the scaled gradients.
      nesterov: whether the step looks ahead by the momentum.
      trust: the coefficient of the ratio.
      decay: arrays that decay: "matrices" leaves out biases and norms, as in the recipes of SimCLR and BYOL, "all" is
        the paper's form.
      adapt: arrays whose rate is scaled by the ratio; the others take the rate as it is.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> from mmcl_jax.training.optim.schedules import constant
      >>> optimizer = lars(weight_decay=0.0, trust=0.1, schedule=constant(learning_rate=1.0))
      >>> weights = {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.array([1.0])}
      >>> gradient = {"kernel": jnp.array([[0.0, 2.0]]), "bias": jnp.array([0.5])}
      >>> updates, _ = optimizer.update(gradient, optimizer.init(weights), weights)
      >>> updates["kernel"].tolist(), updates["bias"].tolist()
      ([[0.0, -0.5]], [-0.5])
    """
    check_momentum(weight_decay=weight_decay, momentum=momentum)
    if trust <= 0:
        raise ValueError(f"trust must be positive, not {trust}")
    return optax.chain(
        decayed(weight_decay, decay),
        on(adapt, optax.scale_by_trust_ratio(trust_coefficient=trust)),
        optax.scale_by_learning_rate(schedule.learning_rate),
        optax.trace(momentum, nesterov=nesterov),
    )


@OPTIMIZERS.register("lamb")
def lamb(
    *,
    schedule: Schedule,
    weight_decay: float = 0.01,
    b1: float = 0.9,
    b2: float = 0.999,
    epsilon: float = 1e-6,
    decay: Arrays = "matrices",
    adapt: Arrays = "matrices",
) -> optax.GradientTransformation:
    r"""Return LAMB (You et al., ICLR 2020, algorithm 2): AdamW whose step is scaled for every array by its trust ratio.

    With Adam's direction $r$: $w \leftarrow w - \eta \frac{\lVert w \rVert}{\lVert r + \lambda w \rVert} (r + \lambda
    w)$. The ratio of an array of norm 0 is 1.

    Args:
      schedule: of the rate.
      weight_decay: decoupled from the moments.
      b1: decay of the first moment.
      b2: decay of the second moment.
      epsilon: added to the root of the second moment.
      decay: arrays that decay: "matrices" leaves out biases and norms; "all" is the paper's form.
      adapt: arrays whose step is scaled by the ratio; the others take AdamW's step.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> from mmcl_jax.training.optim.schedules import constant
      >>> optimizer = lamb(weight_decay=0.0, schedule=constant(learning_rate=0.1))
      >>> weights = {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.array([1.0])}
      >>> gradient = {"kernel": jnp.array([[0.5, -2.0]]), "bias": jnp.array([0.5])}
      >>> updates, _ = optimizer.update(gradient, optimizer.init(weights), weights)
      >>> [round(update, 3) for update in (*updates["kernel"][0].tolist(), *updates["bias"].tolist())]
      [-0.354, 0.354, -0.1]
    """
    check_adam(weight_decay=weight_decay, b1=b1, b2=b2, epsilon=epsilon)
    return optax.chain(
        scaled_by_moments(optax.scale_by_adam, schedule, b1=b1, b2=b2, eps=epsilon),
        decayed(weight_decay, decay),
        on(adapt, optax.scale_by_trust_ratio()),
        optax.scale_by_learning_rate(schedule.learning_rate),
    )
