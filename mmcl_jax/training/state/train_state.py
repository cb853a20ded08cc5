"""The train state: a pure pytree of arrays."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Int

from mmcl_jax.training.state.groups import merged, split_frozen

Arrays = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainState:
    """All arrays that training changes.

    Parameters and model state are plain nested dicts: `jax.jit` flattens these in a few milliseconds, NNX states
    in tens.

    Attributes:
      step: number of steps done.
      params: parameters that are trained by gradients.
      model_state: normalisation statistics.
      optimizer_state: moments of the gradients.
      target: moving averages of the parameters of encoders and projectors, if a term reads the target network.
      queues: embeddings of earlier steps, by term.
      frozen: parameters that are not trained, without gradients and moments.
      average: averages over the steps, with the keys `params` and `model_state`, if the config averages weights.
      control: the state that validation passes update; see `control`.
    """

    step: Int[Array, ""]
    params: Arrays
    model_state: Arrays
    optimizer_state: optax.OptState
    target: Arrays
    queues: Arrays
    frozen: Arrays = dataclasses.field(default_factory=dict)
    average: Arrays = dataclasses.field(default_factory=dict)
    control: Arrays = dataclasses.field(default_factory=dict)

    def weights(self) -> tuple[Arrays, Arrays]:
        """Return the parameters and the model state to evaluate: the averages, if the config averages weights."""
        params, model_state = self.params, self.model_state
        if self.average:
            params, model_state = self.average["params"], self.average["model_state"]
        return merged(params, self.frozen), model_state

    def with_control(self, control: Arrays) -> "TrainState":
        """Return this state with another `control`."""
        return dataclasses.replace(self, control=control)


def split_model(model: nnx.Module) -> tuple[Arrays, Arrays]:
    """Return a module's parameters, and its other state (normalisation statistics), as nested dicts."""
    _, params, rest = nnx.split(model, nnx.Param, ...)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


def teacher_of(params: Arrays) -> Arrays:
    """Return the parameters of which the target network has its own copy."""
    return {part: params[part] for part in ("encoders", "projectors") if part in params}


def initial_state(
    model: nnx.Module,
    optimizer: optax.GradientTransformation,
    *,
    has_target: bool = False,
    queues: Arrays | None = None,
    frozen: Sequence[str] = (),
    has_average: bool = False,
    control: Arrays | None = None,
    loaded: tuple[Arrays, Arrays] = ({}, {}),
) -> TrainState:
    """Return the state before the first step; the target network and the average start as copies of the model.

    `loaded` are parameters and normalisation statistics that replace those of the model.
    """
    params, model_state = map(merged, split_model(model), loaded)
    params, frozen_params = split_frozen(params, frozen)
    average = {"params": params, "model_state": model_state} if has_average else {}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        optimizer_state=optimizer.init(params),
        target=jax.tree.map(jnp.copy, teacher_of(params)) if has_target else {},
        queues=queues or {},
        frozen=frozen_params,
        average=jax.tree.map(jnp.copy, average),
        control=control or {},
    )
