"""Frozen features: the output of an encoder, or of a baseline, for rows without augmentation."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mmcl_jax.data.kinds.vector import z_scores
from mmcl_jax.encoders import Model
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.table_input import TableInput
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.encoded import (
    ViewSpec,
    built,
    encoded,
    features_of,
    image_axes,
    images_of_row,
    mean_of_images,
    plain_spec,
    plain_values,
    presence,
    views_of_inputs,
)
from mmcl_jax.evaluation.heads.maps import last_map
from mmcl_jax.evaluation.sources.blocks import BLOCK, block_mesh, blockwise, in_blocks
from mmcl_jax.objectives.unit import unit
from mmcl_jax.training.mesh import replicated
from mmcl_jax.training.runs.finite import check_finite
from mmcl_jax.views.base import Fitted
from mmcl_jax.views.pixels import has_picture

What = Literal["pooled", "projected", "local", "maps"]
_PIXELS = 32  # the side that images are averaged down to as features
_CHUNK = 256  # rows of raw values


def frozen_encoder(
    model: Model,
    *,
    config: ConfigDict,
    modality: str = "image",
    what: What = "pooled",
    head: str = "",
    fitted: Mapping[str, Mapping[str, Any]] | None = None,
    batch_size: int = BLOCK,
    devices: Sequence[jax.Device] | None = None,
) -> Callable[[Any], np.ndarray]:
    """Return a function from rows of a modality to the encoder's features of their plain views, float32.

    The function takes rows as the store has them (tables encoded; for a fusion a dict of the rows of its inputs, with
    `present/NAME` of inputs that rows may lack, and `id` for a view whose draws are part of the data), and encodes
    blocks of `batch_size` of them, one per device (see `blocks`). The features of a row with several images are the
    mean over the images that it has. BatchNorm uses its running statistics and nothing is updated. (In MMCL's released
    code a "frozen" encoder stays in train mode: it normalises by the batch and keeps adapting to it.)

    Args:
      model: with the encoder.
      config: of the run, for its views.
      modality: that the encoder is of.
      what: the "pooled" features `[N, D]`, their projections `[N, d]`, the mean of the "local" features `[N, C]`, or
        the last feature "maps" `[N, h, w, C]`.
      head: the name of a projector of the modality; "" for its first.
      fitted: the fitted values of the views, by input.
      batch_size: rows per forward pass of a device.
      devices: of this process, that encode; by default `block_devices`.

    Raises:
      UserError: the model's weights are not finite, or its encoder has no feature maps or local features.
    """
    mesh = block_mesh(devices)
    graphdef, arrays = nnx.split(model)
    check_finite(arrays, f"the model of {config.name} (seed {config.seed})", remedy="go back to an earlier checkpoint")
    spec = plain_spec(config, modality)
    views = {built(one).modality: one for one in views_of_inputs((spec,))}
    by_input = {name: dict((fitted or {}).get(name, {})) for name in views}
    on_devices = jax.device_put((arrays, by_input), replicated(mesh))
    encode = functools.partial(_program(graphdef, modality, spec, config.dtype, what, head, mesh), on_devices)

    def features(rows: Any) -> np.ndarray:
        inputs = rows if isinstance(rows, Mapping) else {modality: rows}
        count = len(next(iter(inputs.values())))
        # Rows with several images have one axis more.
        several = (name for name in views if inputs[name].ndim == image_axes(views[name]) + 1)
        images = {name: inputs[name].shape[1] for name in several}
        if images:
            times = images_of_row(modality, images.values())
            by_image = features({name: _by_image(part, name in images, times) for name, part in inputs.items()})
            exists = has_picture(np.asarray(inputs[next(iter(images))]))
            return mean_of_images(by_image.reshape(count, times, *by_image.shape[1:]), exists)
        return in_blocks(encode, inputs, mesh, block=batch_size)

    return features


def _by_image(rows: Any, has_images: bool, times: int) -> np.ndarray:
    """Return rows `[N * times, ...]`: the images of every row one after the other, or the row `times` times."""
    array = np.asarray(rows) if has_images else np.asarray(rows)[:, None]
    every = np.broadcast_to(array, (len(array), times, *array.shape[2:]))
    return every.reshape(-1, *array.shape[2:])


@functools.lru_cache(maxsize=16)
def _program(
    graphdef: nnx.GraphDef, modality: str, spec: ViewSpec, dtype: str, what: What, head: str, mesh: Mesh
) -> Callable[[tuple[nnx.State, Mapping[str, Fitted]], dict[str, jax.Array]], jax.Array]:
    """Return the compiled encoder; models of the same structure, such as several seeds or steps, share it."""

    def encode(on_devices: tuple[nnx.State, Mapping[str, Fitted]], batch: dict[str, jax.Array]) -> jax.Array:
        arrays, fitted = on_devices
        model = nnx.merge(graphdef, arrays)
        views = plain_values((spec,), batch, fitted)
        options: dict[str, Any] = {"train": False, "present": presence(batch)}
        features = features_of(model.encoders, views, **options)
        row_features = encoded(model.encoders, modality, spec, features, **options)
        if what == "maps":
            return last_map(row_features, modality).astype(jnp.float32)
        if what == "local":
            return _local_mean(row_features, modality)
        key = f"{modality}:{head}" if head else modality
        projected = what == "projected"
        vectors = model.project(key, row_features, train=False) if projected else row_features.pooled
        return vectors.astype(jnp.float32)

    return blockwise(encode, mesh, dtype)


def _local_mean(features: Features, modality: str) -> jax.Array:
    """Return the mean of the local features that exist, `[B, C]` float32; 0 for a row that has none."""
    if features.local is None:
        raise UserError(f"The encoder of {modality!r} has no local features; compare its pooled ones (--layer pooled).")
    local = features.local.astype(jnp.float32)
    if features.mask is None:
        return local.mean(axis=1)
    shares = features.mask.astype(jnp.float32)
    counts = jnp.maximum(shares.sum(axis=1, keepdims=True), 1)
    return jnp.einsum("blc,bl->bc", local, shares) / counts


def pixel_features(images: Any, *, axes: int = 2) -> np.ndarray:
    """Return the pixels as features, `[N, pixels]` float32, divided by 255.

    If a side is longer than 32, squares of pixels are averaged until none is; pixels that fill no square are dropped.

    Args:
      images: `[N, ..., C]`; the second axis counts the images of a row if it has several.
      axes: of one image without its channels: 2, or 3 for a volume.
    """
    parts = (_averaged(np.asarray(images[i : i + _CHUNK]), axes) for i in range(0, len(images), _CHUNK))
    return np.concatenate(list(parts))


def _averaged(images: np.ndarray, axes: int) -> np.ndarray:
    *rest, channels = images.shape
    rest, sides = rest[:-axes], rest[-axes:]
    step = -(-max(sides) // _PIXELS)
    in_squares: tuple[Any, ...] = (..., *(slice(side // step * step) for side in sides), slice(None))
    images = images[in_squares]
    squares = images.reshape(*rest, *(part for side in sides for part in (side // step, step)), channels)
    within = tuple(range(-2, -2 * axes - 1, -2))
    return squares.mean(axis=within, dtype=np.float32).reshape(len(images), -1) / np.float32(255)


def vector_features(rows: Any, fitted: Mapping[str, Any]) -> np.ndarray:
    """Return vectors as features, `[N, F]` float32, scaled and imputed by the training rows as the view does."""
    parts = []
    for start in range(0, len(rows), _CHUNK):
        part = np.asarray(rows[start : start + _CHUNK])
        parts.append(z_scores(part, fitted["mean"], fitted["std"], fitted.get("fill")))
    return np.concatenate(parts)


def column_features(rows: np.ndarray, widths: tuple[int, ...], *, missing: str) -> np.ndarray:
    """Return table columns as features, `[N, E]` float32: numbers and one-hot categories, the input of table encoders.

    A number that stays missing under the policy `missing` is the mean, 0.
    """
    return np.asarray(TableInput(widths, missing=missing)(jnp.asarray(rows, jnp.float32)))


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return the rows `[N, D]` scaled to length 1, float32; rows of zeros stay zeros."""
    return np.asarray(unit(jnp.asarray(features, jnp.float32)))
