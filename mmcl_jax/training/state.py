"""The train state: a pure pytree of arrays."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Int

Arrays = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything that training changes.

    Parameters and model state are plain nested dicts: `jax.jit` takes those in a few milliseconds where NNX states take
    tens.

    Attributes:
      step: steps done.
      params: trained by gradients.
      model_state: normalisation statistics.
      optimizer_state: moments of the gradients.
      target: moving averages of the parameters of encoders and projectors, if a term reads the target network.
      memory: the queues of terms that have one.
    """

    step: Int[Array, ""]
    params: Arrays
    model_state: Arrays
    optimizer_state: optax.OptState
    target: Arrays
    memory: Arrays


def split_model(model: nnx.Module) -> tuple[Arrays, Arrays]:
    """A module's parameters, and its other state (normalisation statistics), as nested dicts."""
    _, params, rest = nnx.split(model, nnx.Param, ...)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


def teacher_of(params: Arrays) -> Arrays:
    """The parameters that the target network has of its own."""
    return {part: params[part] for part in ("encoders", "projectors")}


def first_state(
    model: nnx.Module,
    optimizer: optax.GradientTransformation,
    *,
    has_target: bool = False,
    memory: Arrays | None = None,
) -> TrainState:
    """The state before the first step; the target network starts as the model itself."""
    params, model_state = split_model(model)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        optimizer_state=optimizer.init(params),
        target=jax.tree.map(jnp.copy, teacher_of(params)) if has_target else {},
        memory=memory or {},
    )
