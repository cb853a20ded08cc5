"""The train step: one `jax.jit`, compiled before the loop."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array

from mmcl_jax.backend import compiler_options
from mmcl_jax.encoders import Features
from mmcl_jax.errors import UserError
from mmcl_jax.training.build import Experiment
from mmcl_jax.training.mesh import by_example, replicated
from mmcl_jax.training.state import Arrays, TrainState, split_model
from mmcl_jax.views import apply_views

Batch = Mapping[str, Array]
Metrics = dict[str, Array]
Constants = Mapping[str, Any]
Step = Callable[[TrainState, Batch, Constants], tuple[TrainState, Metrics]]


def make_step(experiment: Experiment) -> Step:
    """The step as a pure function of (state, batch, constants): views, encoders, objective, update.

    The module is rebuilt inside from `experiment.graphdef` and plain dicts of arrays. `constants` holds what no step
    changes: `seed`, and `populations`, the training rows that table views draw from. As arguments, not as literals in
    the program, they let one compiled program serve all seeds.
    """
    views = experiment.views

    def loss(params: Arrays, model_state: Arrays, seen: Batch, batch: Batch) -> tuple[Array, tuple[Metrics, Arrays]]:
        model = nnx.merge(experiment.graphdef, params, model_state)
        embeddings = {}
        for name, view in views.items():
            features = model.encode(view.modality, seen[name], train=True)
            embeddings[name] = Features(pooled=model.project(view.modality, features))
        value, metrics = experiment.objective(embeddings, batch)
        return value, (metrics, split_model(model)[1])

    def step(state: TrainState, batch: Batch, constants: Constants) -> tuple[TrainState, Metrics]:
        seen = apply_views(views, batch, step=state.step, **constants)
        gradients, (metrics, model_state) = jax.grad(loss, has_aux=True)(state.params, state.model_state, seen, batch)
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
            updates, optimizer_state = experiment.optimizer.update(gradients, state.optimizer_state, state.params)
        metrics["learning_rate"] = experiment.schedule(state.step)
        metrics["gradient_norm"] = optax.global_norm(gradients)
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=model_state,
            optimizer_state=optimizer_state,
        )
        return new, metrics

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


def compile_step(step: Step, mesh: Mesh, state: Any, batch: Any, constants: Any, *, dtype: str) -> Any:
    """Compiles the step for these shapes.

    The batch is divided over `data`, everything else is on every device; the old state's memory is given to the new.
    """
    everywhere, divided = replicated(mesh), by_example(mesh)
    jitted = jax.jit(
        step, in_shardings=(everywhere, divided, everywhere), out_shardings=(everywhere, everywhere), donate_argnums=0
    )
    options = compiler_options(mesh.devices.flat[0], dtype)
    return jitted.lower(state, batch, constants).compile(compiler_options=options)


def memory_report(compiled: Any) -> str:
    """What the compiled step needs on each device, in words."""
    memory = compiled.memory_analysis()
    mib = {"state and inputs": memory.argument_size_in_bytes, "temporary": memory.temp_size_in_bytes}
    return ", ".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in mib.items())
