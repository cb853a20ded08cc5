"""Frozen features: every example through an encoder once, without augmentation."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.backend import compiler_options
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
    pictured,
    pictures_of_row,
    plain_spec,
    seen_by,
    views_of_inputs,
)
from mmcl_jax.objectives.unit import unit
from mmcl_jax.training.mesh import by_example, local_mesh, replicated
from mmcl_jax.training.runs.finite import check_finite
from mmcl_jax.views.base import Fitted

What = Literal["pooled", "projected", "maps"]
_PIXELS = 32  # the side that images are averaged down to as features
_CHUNK = 256


def frozen_encoder(
    model: Model,
    *,
    config: ConfigDict,
    modality: str = "image",
    what: What = "pooled",
    head: str = "",
    fitted: Mapping[str, Mapping[str, Any]] | None = None,
    batch_size: int = _CHUNK,
) -> Callable[[Any], np.ndarray]:
    """Return a function from rows of a modality to what its encoder makes of their plain views, float32.

    It takes rows as the store has them (tables encoded), of a fusion a dict of those of its inputs, `batch_size` at a
    time, divided over this process's devices. Of rows with several pictures it gives the mean. BatchNorm uses its
    running statistics and nothing is updated, so the features are those of a frozen encoder. (In MMCL's released code a
    "frozen" encoder stays in train mode: it normalises by, and keeps adapting to, the batch.)

    Args:
      model: with the encoder.
      config: of its run, which has the views.
      modality: whose encoder it is.
      what: the "pooled" features `[N, D]`, their projections `[N, d]`, or the last feature "maps" `[N, h, w, C]`.
      head: which projector of the modality; "" for its first.
      fitted: what views were fitted with, by input.
      batch_size: of the encoder.

    Raises:
      UserError: the model's weights are not finite, or its encoder has no feature maps.
    """
    mesh = local_mesh(batch_size)
    graphdef, arrays = nnx.split(model)
    check_finite(arrays, f"the model of {config.name} (seed {config.seed})", remedy="go back to an earlier checkpoint")
    spec = plain_spec(config, modality)
    views = {built(one).modality: one for one in views_of_inputs((spec,))}
    known = {name: dict((fitted or {}).get(name, {})) for name in views}
    arrays, known = jax.device_put((arrays, known), replicated(mesh))
    encode = _program(graphdef, modality, spec, config.dtype, what, head)

    def features(rows: Any) -> np.ndarray:
        inputs = rows if isinstance(rows, Mapping) else {modality: rows}
        count = len(next(iter(inputs.values())))
        # Rows with several pictures have one axis more.
        pictures = {name: part.shape[1] for name, part in inputs.items() if part.ndim == pictured(views[name]) + 1}
        if pictures:
            times = pictures_of_row(modality, pictures.values())
            found = features({name: _by_picture(part, name in pictures, times) for name, part in inputs.items()})
            return found.reshape(count, times, *found.shape[1:]).mean(axis=1)
        parts = []
        for start in range(0, count, batch_size):
            part = {name: _padded(values[start : start + batch_size], batch_size) for name, values in inputs.items()}
            found = np.asarray(encode(arrays, jax.device_put(part, by_example(mesh)), known))
            parts.append(found[: min(batch_size, count - start)])
        return np.concatenate(parts)

    return features


def _by_picture(rows: Any, pictured: bool, times: int) -> np.ndarray:
    """Return rows `[N * times, ...]`: the pictures of each row one after the other, or the row so many times."""
    array = np.asarray(rows) if pictured else np.asarray(rows)[:, None]
    every = np.broadcast_to(array, (len(array), times, *array.shape[2:]))
    return every.reshape(-1, *array.shape[2:])


def _padded(rows: Any, size: int) -> np.ndarray:
    """Return so many rows, zeros behind those that are given: one shape, so one compilation."""
    part = np.asarray(rows)
    padded = np.zeros((size, *part.shape[1:]), part.dtype)
    padded[: len(part)] = part
    return padded


@functools.lru_cache(maxsize=16)
def _program(
    graphdef: nnx.GraphDef, modality: str, spec: ViewSpec, dtype: str, what: What, head: str
) -> Callable[[nnx.State, dict[str, jax.Array], Mapping[str, Fitted]], jax.Array]:
    """Return the compiled encoder; models of one structure, such as those of several seeds or steps, share it."""

    @functools.partial(jax.jit, compiler_options=compiler_options(jax.local_devices()[0], dtype))
    def encode(arrays: nnx.State, batch: dict[str, jax.Array], fitted: Mapping[str, Fitted]) -> jax.Array:
        model = nnx.merge(graphdef, arrays)
        keys = jax.random.split(jax.random.key(0), len(next(iter(batch.values()))))
        seen = seen_by((spec,), batch, keys, fitted, train=False)
        features = features_of(model.encoders, seen, train=False)
        found = encoded(model.encoders, modality, spec, features, train=False)
        if what == "maps":
            return _last_map(found, modality)
        key = f"{modality}:{head}" if head else modality
        given = model.project(key, found, train=False) if what == "projected" else found.pooled
        return given.astype(jnp.float32)

    return encode


def _last_map(features: Features, modality: str) -> jax.Array:
    """Return the coarsest feature map `[B, h, w, C]`, float32."""
    if features.local is None or features.grid is None or len(features.grid) != 2:
        raise UserError(f"The encoder of {modality!r} has no feature maps, which a mask is predicted from.")
    return features.local.reshape(len(features.local), *features.grid, -1).astype(jnp.float32)


def pixel_features(images: Any, *, axes: int = 2) -> np.ndarray:
    """Return the pixels themselves, `[N, pixels]` float32, divided by 255.

    Sides longer than 32 are averaged down, in squares of whole pixels, to at most 32; what fills no square is left out.

    Args:
      images: `[N, ..., C]`, with several pictures of a row behind `N`.
      axes: of one picture without its channels: 2, or 3 of a volume.
    """
    parts = (_averaged(np.asarray(images[i : i + _CHUNK]), axes) for i in range(0, len(images), _CHUNK))
    return np.concatenate(list(parts))


def _averaged(images: np.ndarray, axes: int) -> np.ndarray:
    *rest, channels = images.shape
    rest, sides = rest[:-axes], rest[-axes:]
    step = -(-max(sides) // _PIXELS)
    whole: tuple[Any, ...] = (..., *(slice(side // step * step) for side in sides), slice(None))
    images = images[whole]
    squares = images.reshape(*rest, *(part for side in sides for part in (side // step, step)), channels)
    within = tuple(range(-2, -2 * axes - 1, -2))
    return squares.mean(axis=within, dtype=np.float32).reshape(len(images), -1) / np.float32(255)


def vector_features(rows: Any, fitted: Mapping[str, Any]) -> np.ndarray:
    """Return the values themselves, `[N, F]` float32, standardised by the training rows; missing values become 0."""
    parts = []
    for start in range(0, len(rows), _CHUNK):
        part = np.asarray(rows[start : start + _CHUNK])
        parts.append(z_scores(part, fitted["mean"], fitted["std"]))
    return np.concatenate(parts)


def column_features(rows: np.ndarray, widths: tuple[int, ...], *, missing: str) -> np.ndarray:
    """Return the columns themselves, `[N, E]` float32: encoded rows, one-hot, as a table encoder sees them.

    A number that is missing, with the policies that leave it so, is the mean, 0.
    """
    return np.asarray(TableInput(widths, missing=missing)(jnp.asarray(rows, jnp.float32)))


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return the rows `[N, D]` scaled to length 1, float32; rows of zeros stay zeros."""
    return np.asarray(unit(jnp.asarray(features, jnp.float32)))
