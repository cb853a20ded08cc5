"""The target network: a moving average of the trained network (BYOL)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from mmcl_jax.training.state.train_state import Arrays


def ema_update(target: Arrays, params: Arrays, *, decay: float, at: Int[Array, ""], of: int) -> Arrays:
    r"""Return the target network after step `at` of `of` steps: $\tau\, target + (1 - \tau)\, params$.

    $\tau$ rises from `decay` to 1 along a cosine (Grill et al., NeurIPS 2020, section 3.3). Only parameters are
    averaged; the target network normalises by the batch, as in MMCL's baseline.
    """
    rising = (1 - decay) * jnp.square(jnp.cos(jnp.pi / 2 * jnp.asarray(at, jnp.float32) / of))
    return jax.tree.map(lambda old, new: old + rising * (new - old), target, params)
