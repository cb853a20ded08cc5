"""The average of the weights over the steps of a training."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

Kind = Literal["ema", "mean"]
KINDS = ("ema", "mean")


def averaged(average: Any, new: Any, *, kind: Kind, decay: float, at: Int[Array, ""], start: int) -> Any:
    r"""Return the average after step `at` (counted from 0), whose weights are `new`.

    "ema" is $\tau\, average + (1 - \tau)\, new$ with $\tau$ = `decay` (Polyak and Juditsky, 1992); "mean" is the mean
    of all weights since step `start` (stochastic weight averaging, Izmailov et al., UAI 2018). Until `start`, the
    average equals the weights. Normalisation statistics are averaged like parameters; arrays of other types than float
    are copied from `new`.

    Example:
      >>> weights = [jnp.float32(value) for value in (5, 1, 2, 3)]
      >>> average = weights[0]
      >>> for step, new in enumerate(weights):
      ...     average = averaged(average, new, kind="mean", decay=0.0, at=jnp.int32(step), start=1)
      >>> float(average)
      2.0
    """
    since = jnp.asarray(at - start, jnp.float32)
    share = jnp.where(since <= 0, 1.0, 1 - decay if kind == "ema" else 1 / (jnp.maximum(since, 0) + 1))

    def step(old: Array, new: Array) -> Array:
        return old + share * (new - old) if jnp.issubdtype(new.dtype, jnp.floating) else new

    return jax.tree.map(step, average, new)
