"""Gradients of an objective over a batch that is encoded at once or in slices."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from mmcl_jax.encoders.statistics import apart, replayed
from mmcl_jax.objectives import Outputs
from mmcl_jax.training.mesh import by_example
from mmcl_jax.training.state.train_state import Arrays

Batch = Mapping[str, Array]
# (parameters, model state, batch) -> (outputs, a tree of arrays [B, ...] for the objective; new model state)
Encode = Callable[[Arrays, Arrays, Batch], tuple[Outputs, Arrays]]
# (parameters, outputs, batch) -> (loss, auxiliary results, such as metrics)
Contrast = Callable[[Arrays, Outputs, Batch], tuple[Array, Any]]


def whole_batch(
    encode: Encode, contrast: Contrast, params: Arrays, model_state: Arrays, batch: Batch
) -> tuple[Arrays, Arrays, Any]:
    """Return the gradients with respect to the parameters, the new model state, and the auxiliary results."""

    def loss(params: Arrays) -> tuple[Array, tuple[Arrays, Any]]:
        outputs, new_state = encode(params, model_state, batch)
        value, extra = contrast(params, outputs, batch)
        return value, (apart(new_state)[0], extra)

    gradients, (new_state, extra) = jax.grad(loss, has_aux=True)(params)
    return gradients, new_state, extra


def in_slices(
    encode: Encode, contrast: Contrast, params: Arrays, model_state: Arrays, batch: Batch, *, size: int, mesh: Mesh
) -> tuple[Arrays, Arrays, Any]:
    """Return the results of `whole_batch` with the memory of `size` examples: gradient caching (GradCache, 2021).

    First, every slice of the batch is encoded, and only its outputs are stored. Then the outputs of the whole batch are
    contrasted, which gives the gradients with respect to the outputs. Last, every slice is encoded again, and its
    backward pass takes these gradients to the parameters.

    The result is exact if the outputs of an example do not depend on its slice. So a slice holds whole groups of batch
    normalisation, views are drawn by example, and the new normalisation statistics, which are means over groups, are
    the mean over slices; where rows are absent, slices are weighted by their valid groups (see `encoders.statistics`).

    Outputs may be any tree. Gradients flow through its arrays of floats; all other arrays (masks, codes, keys) pass
    through unchanged.
    """
    slices = _cut(batch, size, mesh)
    count = len(jax.tree.leaves(slices)[0])
    structures = []  # of outputs: a scan stacks lists of arrays, since the classes of outputs check their shapes

    def forward_pass(total: Arrays, part: Batch) -> tuple[Arrays, tuple[list[Array], Arrays]]:
        outputs, new_state = encode(params, model_state, part)
        new_state, records = apart(new_state)
        leaves, structure = jax.tree.flatten(outputs)
        structures.append(structure)
        return jax.tree.map(lambda a, b: a + b / count, total, new_state), (leaves, records)

    new_state, (parts, records) = jax.lax.scan(forward_pass, jax.tree.map(jnp.zeros_like, model_state), slices)
    leaves = _joined(parts, mesh)

    def contrasted(params: Arrays, floats: dict[int, Array]) -> tuple[Array, Any]:
        outputs = [floats.get(index, leaf) for index, leaf in enumerate(leaves)]
        return contrast(params, jax.tree.unflatten(structures[0], outputs), batch)

    (gradients, cotangents), extra = jax.grad(contrasted, argnums=(0, 1), has_aux=True)(params, _floats(leaves))

    def backward_pass(total: Arrays, part: tuple[Batch, dict[int, Array]]) -> tuple[Arrays, None]:
        batch, cotangents = part
        with jax.named_scope("again"):  # see `training.flops`
            _, pullback = jax.vjp(
                lambda params: _floats(jax.tree.leaves(encode(params, model_state, batch)[0])), params
            )
        return jax.tree.map(jnp.add, total, pullback(cotangents)[0]), None

    gradients, _ = jax.lax.scan(backward_pass, gradients, (slices, _cut(cotangents, size, mesh)))
    return gradients, replayed(new_state, records), extra


def mapped_in_slices(function: Callable[[Any], Any], rows: Any, *, size: int, mesh: Mesh) -> Any:
    """Apply a function of arrays `[size, ...]` to each slice of arrays `[B, ...]`, and join the results."""
    return _joined(jax.lax.map(function, _cut(rows, size, mesh)), mesh)


def _floats(leaves: list[Array]) -> dict[int, Array]:
    """Return the arrays of floats, by index."""
    return {index: leaf for index, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)}


def _cut(batch: Any, size: int, mesh: Mesh) -> Any:
    """Cut arrays `[B, ...]` into slices `[B / size, size, ...]`, to which every device contributes its own examples."""

    def cut(array: Array) -> Array:
        by_device = array.reshape(mesh.size, -1, size // mesh.size, *array.shape[1:])
        slices = by_device.swapaxes(0, 1).reshape(-1, size, *array.shape[1:])
        return jax.lax.with_sharding_constraint(slices, by_example(mesh, axis=1))

    return jax.tree.map(cut, batch)


def _joined(slices: Any, mesh: Mesh) -> Any:
    """Join slices into arrays `[B, ...]`, the inverse of `_cut`."""

    def join(array: Array) -> Array:
        count, size = array.shape[:2]
        by_device = array.reshape(count, mesh.size, size // mesh.size, *array.shape[2:]).swapaxes(0, 1)
        joined = by_device.reshape(count * size, *array.shape[2:])
        return jax.lax.with_sharding_constraint(joined, by_example(mesh))

    return jax.tree.map(join, slices)
