"""The first steps of an experiment."""

from typing import Any

import jax

from mmcl_jax.training.build import Experiment
from mmcl_jax.training.mesh import by_example, put, put_whole, replicated, shardings_of
from mmcl_jax.training.state.train_state import TrainState
from mmcl_jax.training.step.train_step import compile_step, make_step

Batches = list[dict[str, jax.Array]]


def begin(experiment: Experiment, steps: int) -> tuple[TrainState, Batches, dict[str, Any]]:
    """Return the initial state, the first batches and the constants of the step, on the experiment's devices."""
    constants = put_whole(experiment.constants(), replicated(experiment.mesh))
    state = jax.jit(experiment.init, out_shardings=shardings_of(experiment.shapes()[0]))(constants["seed"])
    return state, [put(experiment.batches[step], by_example(experiment.mesh)) for step in range(steps)], constants


def compiled(experiment: Experiment) -> Any:
    """Return the compiled step."""
    return compile_step(make_step(experiment), *experiment.shapes(), dtype=experiment.config.dtype)


def walk(step: Any, state: TrainState, batches: Batches, constants: dict[str, Any]) -> list[float]:
    """Return the loss of the compiled step on each batch; the state is given up."""
    losses = []
    for batch in batches:
        state, metrics = step(state, batch, constants)
        losses.append(float(metrics["loss"]))
    return losses
