"""Gradients of an objective over a whole batch, encoded at once or in slices."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from mmcl_jax.training.mesh import by_example
from mmcl_jax.training.state import Arrays

Batch = Mapping[str, Array]
Embeddings = dict[str, Float[Array, "B d"]]
Metrics = dict[str, Array]
# (parameters, model state, batch) -> (embeddings by view, new model state)
Encode = Callable[[Arrays, Arrays, Batch], tuple[Embeddings, Arrays]]
# (parameters, embeddings, batch) -> (loss, metrics)
Contrast = Callable[[Arrays, Embeddings, Batch], tuple[Array, Metrics]]


def whole_batch(
    encode: Encode, contrast: Contrast, params: Arrays, model_state: Arrays, batch: Batch
) -> tuple[Arrays, Arrays, Metrics]:
    """Gradients by the parameters, the new model state, and metrics."""

    def loss(params: Arrays) -> tuple[Array, tuple[Arrays, Metrics]]:
        embeddings, new_state = encode(params, model_state, batch)
        value, metrics = contrast(params, embeddings, batch)
        return value, (new_state, metrics)

    gradients, (new_state, metrics) = jax.grad(loss, has_aux=True)(params)
    return gradients, new_state, metrics


def in_slices(
    encode: Encode, contrast: Contrast, params: Arrays, model_state: Arrays, batch: Batch, *, size: int, mesh: Mesh
) -> tuple[Arrays, Arrays, Metrics]:
    """The same as `whole_batch`, with the encoders' memory of `size` examples: gradient caching (GradCache, 2021).

    Every slice is encoded, without keeping anything but its embeddings. The whole batch is contrasted, which gives the
    gradients by the embeddings. Then every slice is encoded again, to carry those on to the parameters.

    It is exact if what encodes an example does not depend on the slice that it is in. So a slice holds whole groups of
    batch normalisation, views are drawn by example, and the normalisation statistics that are kept, which are means
    over groups, are the mean of what the slices give.
    """
    slices = _cut(batch, size, mesh)
    count = len(jax.tree.leaves(slices)[0])

    def look(total: Arrays, part: Batch) -> tuple[Arrays, Embeddings]:
        embeddings, new_state = encode(params, model_state, part)
        return jax.tree.map(lambda a, b: a + b / count, total, new_state), embeddings

    new_state, parts = jax.lax.scan(look, jax.tree.map(jnp.zeros_like, model_state), slices)
    by_params_and_embeddings = jax.grad(contrast, argnums=(0, 1), has_aux=True)
    (gradients, by_embeddings), metrics = by_params_and_embeddings(params, _joined(parts, mesh), batch)

    def carry_on(total: Arrays, part: tuple[Batch, Embeddings]) -> tuple[Arrays, None]:
        batch, by_embeddings = part
        _, back = jax.vjp(lambda params: encode(params, model_state, batch)[0], params)
        return jax.tree.map(jnp.add, total, back(by_embeddings)[0]), None

    gradients, _ = jax.lax.scan(carry_on, gradients, (slices, _cut(by_embeddings, size, mesh)))
    return gradients, new_state, metrics


def _cut(batch: Any, size: int, mesh: Mesh) -> Any:
    """Arrays [B, ...] as [B / size, size, ...], where each device's part of a slice is of its own examples."""

    def cut(array: Array) -> Array:
        by_device = array.reshape(mesh.size, -1, size // mesh.size, *array.shape[1:])
        slices = by_device.swapaxes(0, 1).reshape(-1, size, *array.shape[1:])
        return jax.lax.with_sharding_constraint(slices, by_example(mesh, axis=1))

    return jax.tree.map(cut, batch)


def _joined(slices: Any, mesh: Mesh) -> Any:
    """The inverse of `_cut`."""

    def join(array: Array) -> Array:
        count, size = array.shape[:2]
        by_device = array.reshape(count, mesh.size, size // mesh.size, *array.shape[2:]).swapaxes(0, 1)
        joined = by_device.reshape(count * size, *array.shape[2:])
        return jax.lax.with_sharding_constraint(joined, by_example(mesh))

    return jax.tree.map(join, slices)
