"""The train step: one `jax.jit`, compiled before the loop."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from flax import nnx
from jaxtyping import Array

from mmcl_jax.backend import compiler_options
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import Outputs
from mmcl_jax.objectives.partners import at_once
from mmcl_jax.training.build import Experiment
from mmcl_jax.training.finite_step import all_finite, choose, skipped
from mmcl_jax.training.forward import forward
from mmcl_jax.training.gradients import Batch, in_slices, mapped_in_slices, whole_batch
from mmcl_jax.training.mesh import replicated, shardings_of
from mmcl_jax.training.model import stateless_layers
from mmcl_jax.training.state import Arrays, TrainState, split_model, teacher_of
from mmcl_jax.training.target import moved
from mmcl_jax.views import apply_views

Constants = Mapping[str, Any]
Metrics = dict[str, Array]
Step = Callable[[TrainState, Batch, Constants], tuple[TrainState, Metrics]]


def make_step(experiment: Experiment) -> Step:
    """The step as a pure function of (state, batch, constants): views, encoders, objective, update.

    A step whose loss, gradient or new state is not finite is skipped: the metric `skipped` is true, and nothing changes
    but the step counter and the position in the schedule (see `finite_step.skipped`).

    The module is rebuilt inside from `experiment.graphdef` and plain dicts of arrays. `constants` holds what no step
    changes: `seed`, and `fitted`, what views know of the training rows. As arguments, not as literals in
    the program, they let one compiled program serve all seeds.
    """
    views, objective, mesh = experiment.views, experiment.objective, experiment.mesh

    gradients_of, partners_in = whole_batch, at_once
    if experiment.config.micro_batch is not None:
        gradients_of = functools.partial(in_slices, size=experiment.config.micro_batch, mesh=mesh)
        partners_in = functools.partial(mapped_in_slices, size=experiment.config.micro_batch, mesh=mesh)

    def step(state: TrainState, batch: Batch, constants: Constants) -> tuple[TrainState, Metrics]:
        def encode(params: Arrays, model_state: Arrays, batch: Batch) -> tuple[Outputs, Arrays]:
            seen = apply_views(views, batch, step=state.step, **constants)
            model = nnx.merge(experiment.graphdef, params, model_state)
            teacher = nnx.merge(experiment.graphdef, {**params, **state.target}, model_state) if state.target else None
            outputs = forward(
                model, teacher, objective, views=views, seen=seen, batch=batch, seed=constants["seed"], step=state.step
            )
            return outputs, split_model(model)[1]

        def contrast(params: Arrays, outputs: Outputs, batch: Batch) -> tuple[Array, tuple[Metrics, Arrays]]:
            model = nnx.merge(experiment.graphdef, params, state.model_state)
            value, metrics = objective(
                outputs,
                batch,
                params.get("learned"),
                state.memory,
                layers=stateless_layers(model, objective),
                in_slices=partners_in,
                seed=constants["seed"],
                step=state.step,
            )
            return value, (metrics, objective.remember(state.memory, outputs, batch))

        # Parameters that are divided over devices are put together to be used; their gradients, to be divided, are not.
        params = jax.lax.with_sharding_constraint(state.params, replicated(mesh))
        gradients, model_state, extra = gradients_of(encode, contrast, params, state.model_state, batch)
        metrics, memory = extra
        gradients = jax.lax.with_sharding_constraint(gradients, experiment.shardings(gradients))
        memory = jax.lax.with_sharding_constraint(memory, experiment.shardings(memory))

        def updated(gradients: Arrays) -> TrainState:
            with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
                updates, optimizer_state = experiment.optimizer.update(gradients, state.optimizer_state, state.params)
            params, target = optax.apply_updates(state.params, updates), state.target
            if target:
                decay, steps = experiment.config.target.decay, experiment.batches.steps
                target = moved(target, teacher_of(params), decay=decay, at=state.step, of=steps)
            return TrainState(
                step=state.step + 1,
                params=params,
                model_state=model_state,
                optimizer_state=optimizer_state,
                target=target,
                memory=memory,
            )

        metrics["learning_rate"] = experiment.schedule(state.step)
        metrics["gradient_norm"] = optax.global_norm(gradients)
        finite = all_finite((updated(gradients), metrics["loss"], metrics["gradient_norm"]))
        metrics["skipped"] = ~finite
        # The update is computed again behind the barrier, in the old state's memory: the first result, kept until it is
        # known to be finite, would be a second train state.
        gradients, finite = jax.lax.optimization_barrier((gradients, finite))
        return choose(finite, updated(gradients), skipped(state)), metrics

    return step


def check_step(step: Step, state: Any, batch: Any, constants: Any) -> None:
    """Traces the step for these shapes.

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


def compile_step(step: Step, state: Any, batch: Any, constants: Any, *, dtype: str) -> Any:
    """Compiles the step for arguments of these shapes and shardings.

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
    """What the compiled step needs on each device, in words."""
    memory = compiled.memory_analysis()
    mib = {"state and inputs": memory.argument_size_in_bytes, "temporary": memory.temp_size_in_bytes}
    return ", ".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in mib.items())
