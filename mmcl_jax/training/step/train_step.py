"""The train step: one `jax.jit`, compiled before the loop."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array

from mmcl_jax.backend import compiler_options
from mmcl_jax.data.inputs import with_shared
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import Outputs
from mmcl_jax.objectives.partners import at_once
from mmcl_jax.training.build import Experiment
from mmcl_jax.training.mesh import replicated, shardings_of
from mmcl_jax.training.state.average import averaged
from mmcl_jax.training.state.groups import scaled, united
from mmcl_jax.training.state.model import fuse_by, stateless_layers
from mmcl_jax.training.state.target import ema_update
from mmcl_jax.training.state.train_state import Arrays, TrainState, split_model, teacher_of
from mmcl_jax.training.step.finite_step import all_finite, choose, skipped
from mmcl_jax.training.step.forward import forward
from mmcl_jax.training.step.gradients import Batch, Contrast, Encode, in_slices, mapped_in_slices, whole_batch
from mmcl_jax.training.step.norm import global_norm
from mmcl_jax.views import apply_views

Constants = Mapping[str, Any]
Metrics = dict[str, Array]
StepFunction = Callable[[TrainState, Batch, Constants], tuple[TrainState, Metrics]]


def parts_of_loss(
    experiment: Experiment, state: TrainState, constants: Constants, *, train: bool = True
) -> tuple[Encode, Contrast]:
    """Return what encodes a batch and what contrasts it, as functions of the trained parameters.

    Args:
      experiment: what is trained.
      state: all that a step knows beside the trained parameters.
      constants: see `make_step`.
      train: False for validation: views are plain, and normalisation layers use and keep their running statistics.
    """
    views, objective = experiment.views, experiment.objective
    taught = bool(objective.reads["teacher"])
    frozen = jax.lax.with_sharding_constraint(state.frozen, replicated(experiment.mesh))
    # What a plain view draws belongs to the data, and is the same at every step.
    drawn = {"seed": constants["seed"], "step": state.step if train else jnp.zeros_like(state.step)}
    partners_in = at_once
    if experiment.config.micro_batch is not None:
        partners_in = functools.partial(mapped_in_slices, size=experiment.config.micro_batch, mesh=experiment.mesh)

    def encode(params: Arrays, model_state: Arrays, batch: Batch) -> tuple[Outputs, Arrays]:
        batch = with_shared(batch, experiment.inputs)
        seen = apply_views(views, batch, **drawn, fitted=constants["fitted"], plain=not train)
        whole = united(params, frozen)
        model = nnx.merge(experiment.graphdef, whole, model_state)
        teacher = nnx.merge(experiment.graphdef, united(whole, state.target), model_state) if taught else None
        outputs = forward(model, teacher, objective, views=views, seen=seen, batch=batch, **drawn, train=train)
        return outputs, split_model(model)[1]

    def contrast(params: Arrays, outputs: Outputs, batch: Batch) -> tuple[Array, tuple[Metrics, Arrays]]:
        whole = united(params, frozen)
        model = nnx.merge(experiment.graphdef, whole, state.model_state)
        value, metrics = objective(
            outputs,
            batch,
            whole.get("learned"),
            state.queues,
            layers=stateless_layers(model, objective),
            in_slices=partners_in,
            fuse=fuse_by(model, objective, train=train),
            **drawn,
        )
        return value, (metrics, objective.enqueue(state.queues, outputs, batch))

    return encode, contrast


def make_step(experiment: Experiment) -> StepFunction:
    """Return the step as a pure function of (state, batch, constants): views, encoders, objective, update.

    A step whose loss, gradient or new state is not finite is skipped: the metric `skipped` is true, and nothing changes
    but the step counter and the position in the schedule (see `finite_step.skipped`).

    The module is rebuilt inside from `experiment.graphdef` and plain dicts of arrays. `constants` holds what no step
    changes: `seed`, and `fitted`, what views know of the training rows. As arguments, not as literals in
    the program, they let one compiled program serve all seeds.
    """
    mesh, rates = experiment.mesh, dict(experiment.config.rates)
    gradients_of = whole_batch
    if experiment.config.micro_batch is not None:
        gradients_of = functools.partial(in_slices, size=experiment.config.micro_batch, mesh=mesh)

    def step(state: TrainState, batch: Batch, constants: Constants) -> tuple[TrainState, Metrics]:
        encode, contrast = parts_of_loss(experiment, state, constants)
        # Parameters that are divided over devices are put together to be used; their gradients, to be divided, are not.
        params = jax.lax.with_sharding_constraint(state.params, replicated(mesh))
        gradients, model_state, extra = gradients_of(encode, contrast, params, state.model_state, batch)
        metrics, queues = extra
        gradients = jax.lax.with_sharding_constraint(gradients, experiment.shardings(gradients))
        queues = jax.lax.with_sharding_constraint(queues, experiment.shardings(queues))

        def updated(gradients: Arrays) -> TrainState:
            with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
                updates, optimizer_state = experiment.optimizer.update(gradients, state.optimizer_state, state.params)
            updates = scaled(updates, rates)
            if "plateau" in state.control:
                updates = jax.tree.map(lambda update: update * state.control["plateau"]["factor"], updates)
            params, target, average = optax.apply_updates(state.params, updates), state.target, state.average
            if target:
                decay, steps = experiment.config.target.decay, experiment.batches.steps
                target = ema_update(target, teacher_of(params), decay=decay, at=state.step, of=steps)
            if average:
                new = {"params": params, "model_state": model_state}
                average = averaged(average, new, at=state.step, **experiment.averaging())
            return dataclasses.replace(
                state,
                step=state.step + 1,
                params=params,
                model_state=model_state,
                optimizer_state=optimizer_state,
                target=target,
                queues=queues,
                average=average,
            )

        metrics |= experiment.schedule.at(state.step)
        if "plateau" in state.control:
            metrics["learning_rate"] *= state.control["plateau"]["factor"]
        metrics["gradient_norm"] = global_norm(gradients, experiment.shardings(gradients), mesh)
        finite = all_finite((updated(gradients), metrics["loss"], metrics["gradient_norm"]))
        metrics["skipped"] = ~finite
        # The update is computed again behind the barrier, in the old state's memory: the first result, kept until it is
        # known to be finite, would be a second train state.
        gradients, finite = jax.lax.optimization_barrier((gradients, finite))
        return choose(finite, updated(gradients), skipped(state)), metrics

    return step


def check_step(step: StepFunction, state: Any, batch: Any, constants: Any) -> None:
    """Trace the step for these shapes.

    Raises:
      UserError: the parts of the experiment do not fit together, such as a table view in front of an image encoder.
    """
    try:
        jax.eval_shape(step, state, batch, constants)
    except (TypeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"The views, encoders, projectors and terms of this config do not fit together: {reason}"
        ) from error


def compile_step(step: StepFunction, state: Any, batch: Any, constants: Any, *, dtype: str) -> Any:
    """Compile the step for arguments of these shapes and shardings.

    The new state is where the old one was, in its memory.
    """
    everywhere = replicated(jax.tree.leaves(state)[0].sharding.mesh)
    arguments = (state, batch, constants)
    jitted = jax.jit(
        step,
        in_shardings=shardings_of(arguments),
        out_shardings=(shardings_of(state), everywhere),
        donate_argnums=0,
    )
    device = everywhere.mesh.devices.flat[0]
    return jitted.lower(*arguments).compile(compiler_options=compiler_options(device, dtype))


def memory_report(compiled: Any) -> str:
    """Return the memory that the compiled step needs on each device, in words."""
    memory = compiled.memory_analysis()
    mib = {"state and inputs": memory.argument_size_in_bytes, "temporary": memory.temp_size_in_bytes}
    return ", ".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in mib.items())
