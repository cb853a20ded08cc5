"""The contrast of an experiment's step, lowered by itself for the devices of its mesh."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mmcl_jax.training.build import Experiment
from mmcl_jax.training.mesh import by_example, placed, replicated
from mmcl_jax.training.step.train_step import parts_of_loss


def encoded(experiment: Experiment, shapes: tuple[Any, Any, Any]) -> Any:
    """Return the outputs of the encoders for a batch, as shapes and dtypes."""

    def outputs(state: Any, batch: Any, constants: Any) -> Any:
        return parts_of_loss(experiment, state, constants)[0](state.params, state.model_state, batch)[0]

    return jax.eval_shape(outputs, *shapes)


def lowered_contrast(experiment: Experiment, shapes: tuple[Any, Any, Any], outputs: Any) -> jax.stages.Lowered:
    """Return the loss of the whole batch from the outputs of its encoders, with its gradients, lowered by itself."""
    leaves, structure = jax.tree.flatten(outputs)
    floats = {index: leaf for index, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)}
    others = {index: leaf for index, leaf in enumerate(leaves) if index not in floats}

    def gradients(state: Any, batch: Any, constants: Any, floats: Any, others: Any) -> Any:
        contrast = parts_of_loss(experiment, state, constants)[1]

        def loss(floats: Any) -> Any:
            both = floats | others
            outputs = jax.tree.unflatten(structure, [both[index] for index in range(len(leaves))])
            return contrast(state.params, outputs, batch)

        return jax.grad(loss, has_aux=True)(floats)[0]

    rows = [placed(part, _by_rows(experiment.mesh, part, experiment.batches.batch_size)) for part in (floats, others)]
    return jax.jit(gradients).lower(*shapes, *rows)


def _by_rows(mesh: Mesh, arrays: Any, rows: int) -> Any:
    """Return shardings that divide the arrays which have a row per example."""
    return jax.tree.map(lambda array: by_example(mesh) if array.shape[:1] == (rows,) else replicated(mesh), arrays)


def bytes_per_device(arrays: Any) -> int:
    """Return the bytes of a tree of placed arrays on each device."""
    return sum(
        int(np.prod(array.sharding.shard_shape(array.shape))) * array.dtype.itemsize
        for array in jax.tree.leaves(arrays)
    )
