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
from mmcl_jax.training.faults import COLUMNS
from mmcl_jax.training.flops import AUGMENTATION
from mmcl_jax.training.mesh import replicated, shardings_of
from mmcl_jax.training.state.average import averaged
from mmcl_jax.training.state.groups import merged, scaled
from mmcl_jax.training.state.model import fuse_by, stateless_layers
from mmcl_jax.training.state.target import ema_update
from mmcl_jax.training.state.train_state import Arrays, TrainState, split_model, teacher_of
from mmcl_jax.training.step.finite_step import all_finite, choose, skipped
from mmcl_jax.training.step.forward import ViewedBatch, forward
from mmcl_jax.training.step.gradients import Batch, Contrast, Encode, in_slices, mapped_in_slices, whole_batch
from mmcl_jax.training.step.norm import column_norms, global_norm
from mmcl_jax.views import apply_views

Constants = Mapping[str, Any]
Metrics = dict[str, Array]
StepFunction = Callable[[TrainState, Batch, Constants], tuple[TrainState, Metrics]]


def parts_of_loss(
    experiment: Experiment, state: TrainState, constants: Constants, *, train: bool = True
) -> tuple[Encode, Contrast]:
    """Return the two parts of the loss, encoding and contrast, as functions of the trained parameters.

    Args:
      experiment: the experiment.
      state: the train state, which supplies all arrays but the trained parameters.
      constants: see `make_step`.
      train: False for validation: views are those of validation passes, and normalisation layers use their running
        statistics unchanged.
    """
    views, objective = experiment.views, experiment.objective
    has_teacher = bool(objective.reads["teacher"])
    frozen = jax.lax.with_sharding_constraint(state.frozen, replicated(experiment.mesh))
    # All validation passes draw alike.
    draws = {"seed": constants["seed"], "step": state.step if train else jnp.zeros_like(state.step)}
    partners_in = at_once
    if experiment.config.micro_batch is not None:
        partners_in = functools.partial(mapped_in_slices, size=experiment.config.micro_batch, mesh=experiment.mesh)

    def encode(params: Arrays, model_state: Arrays, batch: Batch) -> tuple[Outputs, Arrays]:
        batch = with_shared(batch, experiment.inputs)
        with jax.named_scope(AUGMENTATION):
            viewed = apply_views(views, batch, **draws, fitted=constants["fitted"], validation=not train)
        all_params = merged(params, frozen)
        model = nnx.merge(experiment.graphdef, all_params, model_state)
        teacher = None
        if has_teacher:
            teacher = nnx.merge(experiment.graphdef, merged(all_params, state.target), model_state)
        outputs = forward(model, teacher, objective, ViewedBatch(rows=batch, views=viewed, **draws), train=train)
        return outputs, split_model(model)[1]

    def contrast(params: Arrays, outputs: Outputs, batch: Batch) -> tuple[Array, tuple[Metrics, Arrays]]:
        all_params = merged(params, frozen)
        model = nnx.merge(experiment.graphdef, all_params, state.model_state)
        value, metrics = objective(
            outputs,
            batch,
            all_params.get("learned"),
            state.queues,
            layers=stateless_layers(model, objective),
            in_slices=partners_in,
            fuse=fuse_by(model, objective, train=train),
            **draws,
        )
        with jax.named_scope("queues"):
            queues = objective.enqueue(state.queues, outputs, batch)
        return value, (metrics, queues)

    return encode, contrast


def make_step(experiment: Experiment) -> StepFunction:
    """Return the step as a pure function of (state, batch, constants): views, encoders, objective, update.

    A step whose loss, gradient or new state is not finite is skipped: the metric `skipped` is true, and only the step
    counter and the position in the schedule change (see `finite_step.skipped`).

    The step rebuilds the module from `experiment.graphdef` and plain dicts of arrays. `constants` are the arrays that
    no step changes: `seed`, and `fitted`, the arrays of training rows that views use. They are arguments, not literals
    in the program, so that one compiled program serves all seeds.
    """
    mesh, rates, clip = experiment.mesh, dict(experiment.config.rates), experiment.config.clip_norm
    gradients_of = whole_batch
    if experiment.config.micro_batch is not None:
        gradients_of = functools.partial(in_slices, size=experiment.config.micro_batch, mesh=mesh)

    def step(state: TrainState, batch: Batch, constants: Constants) -> tuple[TrainState, Metrics]:
        encode, contrast = parts_of_loss(experiment, state, constants)
        # Parameters that are divided over devices are gathered for use; their gradients are divided again.
        params = jax.lax.with_sharding_constraint(state.params, replicated(mesh))
        with jax.named_scope("gradients"):
            gradients, model_state, extra = gradients_of(encode, contrast, params, state.model_state, batch)
        metrics, queues = extra
        gradients = jax.lax.with_sharding_constraint(gradients, experiment.shardings(gradients))
        queues = jax.lax.with_sharding_constraint(queues, experiment.shardings(queues))

        def updated(gradients: Arrays) -> TrainState:
            # optax raises floats to integer powers
            with jax.named_scope("optimizer"), jax.numpy_dtype_promotion("standard"):
                updates, optimizer_state = experiment.optimizer.update(gradients, state.optimizer_state, state.params)
            updates = scaled(updates, rates)
            if "plateau" in state.control:
                updates = jax.tree.map(lambda update: update * state.control["plateau"]["factor"], updates)
            params, target, average = optax.apply_updates(state.params, updates), state.target, state.average
            if target:
                decay, steps = experiment.config.target.decay, experiment.batches.steps
                with jax.named_scope("ema"):
                    target = ema_update(target, teacher_of(params), decay=decay, at=state.step, of=steps)
            if average:
                new = {"params": params, "model_state": model_state}
                with jax.named_scope("average"):
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
        metrics["gradient_norm"] = norm = global_norm(gradients, experiment.shardings(gradients), mesh)
        norms = column_norms(experiment, gradients, state.frozen, state.model_state)
        metrics |= {f"{COLUMNS}{name}": norm for name, norm in norms.items()}
        if clip is not None:  # the factor of a shorter gradient is exactly 1
            gradients = jax.tree.map(lambda gradient: gradient * (clip / jnp.maximum(norm, clip)), gradients)
        finite = all_finite((updated(gradients), metrics["loss"], metrics["gradient_norm"]))
        metrics["skipped"] = ~finite
        # After the barrier the update is computed a second time, in the memory of the old state: keeping the first
        # result until it is known to be finite would take the memory of a second train state.
        gradients, finite = jax.lax.optimization_barrier((gradients, finite))
        return choose(finite, updated(gradients), skipped(state)), metrics

    return step


def check_step(step: StepFunction, state: Any, batch: Any, constants: Any) -> jax.stages.Traced:
    """Return the traced step, and check that it can be traced for these shapes.

    Raises:
      UserError: the parts of the experiment do not fit together, such as a table view in front of an image encoder.
    """
    try:
        return trace_step(step, state, batch, constants)
    except (TypeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"The views, encoders, projectors and terms of this config do not fit together: {reason}"
        ) from error


def compile_step(step: StepFunction, state: Any, batch: Any, constants: Any, *, dtype: str) -> Any:
    """Compile the step for arguments of these shapes and shardings."""
    device = jax.tree.leaves(state)[0].sharding.mesh.devices.flat[0]
    return compile_traced(trace_step(step, state, batch, constants), device, dtype=dtype)


def compile_traced(traced: jax.stages.Traced, device: jax.Device, *, dtype: str) -> Any:
    """Compile a traced step for devices such as `device`."""
    return traced.lower().compile(compiler_options=compiler_options(device, dtype))


def trace_step(step: StepFunction, state: Any, batch: Any, constants: Any) -> jax.stages.Traced:
    """Trace the step for arguments of these shapes and shardings; it can then be lowered and compiled.

    The new state takes the memory and the shardings of the old state.
    """
    on_all = replicated(jax.tree.leaves(state)[0].sharding.mesh)
    arguments = (state, batch, constants)
    jitted = jax.jit(
        step,
        in_shardings=shardings_of(arguments),
        out_shardings=(shardings_of(state), on_all),
        donate_argnums=0,
    )
    return jitted.trace(*arguments)


def memory_report(compiled: Any) -> str:
    """Return a text on the memory that the compiled step needs on each device."""
    memory = compiled.memory_analysis()
    mib = {"state and inputs": memory.argument_size_in_bytes, "temporary": memory.temp_size_in_bytes}
    return ", ".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in mib.items())
