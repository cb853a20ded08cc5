"""Gradients of an objective over a whole batch, encoded at once or in slices."""

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
# (parameters, model state, batch) -> (what the objective reads, a tree of arrays [B, ...]; new model state)
Encode = Callable[[Arrays, Arrays, Batch], tuple[Outputs, Arrays]]
# (parameters, outputs, batch) -> (loss, anything else, such as metrics)
Contrast = Callable[[Arrays, Outputs, Batch], tuple[Array, Any]]


def whole_batch(
    encode: Encode, contrast: Contrast, params: Arrays, model_state: Arrays, batch: Batch
) -> tuple[Arrays, Arrays, Any]:
    """Return the gradients by the parameters, the new model state, and what else the contrast gives."""

    def loss(params: Arrays) -> tuple[Array, tuple[Arrays, Any]]:
        outputs, new_state = encode(params, model_state, batch)
        value, extra = contrast(params, outputs, batch)
        return value, (apart(new_state)[0], extra)

    gradients, (new_state, extra) = jax.grad(loss, has_aux=True)(params)
    return gradients, new_state, extra


def in_slices(
    encode: Encode, contrast: Contrast, params: Arrays, model_state: Arrays, batch: Batch, *, size: int, mesh: Mesh
) -> tuple[Arrays, Arrays, Any]:
    """Do as `whole_batch` does, with the encoders' memory of `size` examples: gradient caching (GradCache, 2021).

    Every slice is encoded, without keeping anything but its outputs, the embeddings. The whole batch is contrasted,
    which gives the gradients by the outputs. Then every slice is encoded again, to carry those on to the parameters.

    It is exact if what encodes an example does not depend on the slice that it is in. So a slice holds whole groups of
    batch normalisation, views are drawn by example, and the normalisation statistics that are kept, which are means
    over groups, are the mean of what the slices give; where rows are absent, slices count by their valid groups (see
    `encoders.statistics`).

    Outputs may be any tree. Gradients go through its arrays of floats; all others (masks, codes, keys) only pass.
    """
    slices = _cut(batch, size, mesh)
    count = len(jax.tree.leaves(slices)[0])
    structures = []  # of the outputs: a scan stacks their arrays alone, so that no object must hold stacked ones

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

    (gradients, by_floats), extra = jax.grad(contrasted, argnums=(0, 1), has_aux=True)(params, _floats(leaves))

    def backward_pass(total: Arrays, part: tuple[Batch, dict[int, Array]]) -> tuple[Arrays, None]:
        batch, by_floats = part
        _, back = jax.vjp(lambda params: _floats(jax.tree.leaves(encode(params, model_state, batch)[0])), params)
        return jax.tree.map(jnp.add, total, back(by_floats)[0]), None

    gradients, _ = jax.lax.scan(backward_pass, gradients, (slices, _cut(by_floats, size, mesh)))
    return gradients, replayed(new_state, records), extra


def mapped_in_slices(function: Callable[[Any], Any], rows: Any, *, size: int, mesh: Mesh) -> Any:
    """Return what a function of arrays `[size, ...]` returns for each slice of arrays `[B, ...]`, put together."""
    return _joined(jax.lax.map(function, _cut(rows, size, mesh)), mesh)


def _floats(leaves: list[Array]) -> dict[int, Array]:
    """Return the arrays of floats, by index."""
    return {index: leaf for index, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)}


def _cut(batch: Any, size: int, mesh: Mesh) -> Any:
    """Cut arrays [B, ...] into [B / size, size, ...], where each device's part of a slice is of its own examples."""

    def cut(array: Array) -> Array:
        by_device = array.reshape(mesh.size, -1, size // mesh.size, *array.shape[1:])
        slices = by_device.swapaxes(0, 1).reshape(-1, size, *array.shape[1:])
        return jax.lax.with_sharding_constraint(slices, by_example(mesh, axis=1))

    return jax.tree.map(cut, batch)


def _joined(slices: Any, mesh: Mesh) -> Any:
    """Return the inverse of `_cut`."""

    def join(array: Array) -> Array:
        count, size = array.shape[:2]
        by_device = array.reshape(count, mesh.size, size // mesh.size, *array.shape[2:]).swapaxes(0, 1)
        joined = by_device.reshape(count * size, *array.shape[2:])
        return jax.lax.with_sharding_constraint(joined, by_example(mesh))

    return jax.tree.map(join, slices)
