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
    """

    step: Int[Array, ""]
    params: Arrays
    model_state: Arrays
    optimizer_state: optax.OptState


def split_model(model: nnx.Module) -> tuple[Arrays, Arrays]:
    """A module's parameters, and its other state (normalisation statistics), as nested dicts."""
    _, params, rest = nnx.split(model, nnx.Param, ...)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


def first_state(model: nnx.Module, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    params, model_state = split_model(model)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        optimizer_state=optimizer.init(params),
    )
