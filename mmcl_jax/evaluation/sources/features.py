"""Frozen features: every example through an encoder once, without augmentation."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.backend import compiler_options
from mmcl_jax.encoders import Model
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.table_input import TableInput
from mmcl_jax.errors import UserError
from mmcl_jax.objectives.unit import unit
from mmcl_jax.training.finite import check_finite
from mmcl_jax.training.mesh import by_example, local_mesh, replicated
from mmcl_jax.views import VIEWS

_PIXELS = 32  # the side that images are averaged down to as features
_CHUNK = 256


def frozen_encoder(
    model: Model,
    *,
    config: ConfigDict,
    modality: str = "image",
    projected: bool = False,
    maps: bool = False,
    batch_size: int = _CHUNK,
) -> Callable[[Any], np.ndarray]:
    """A function from rows of a modality to their pooled features `[N, D]` float32, or to what else is asked for.

    That is the projections of these, `projected`, or the last feature `maps` `[N, h, w, C]`. It takes uint8 images
    `[N, H, W, C]` (with several pictures per row, `[N, V, H, W, C]`: the mean over them), or encoded table rows
    `[N, F]`; `batch_size` of them at a time, divided over this process's devices.
    BatchNorm uses its running statistics and nothing is updated, so the features are those of a frozen encoder. (In
    MMCL's released code a "frozen" encoder stays in train mode: it normalises by, and keeps adapting to, the batch.)

    Raises:
      UserError: the model's weights are not finite, or its encoder has no feature maps.
    """
    mesh = local_mesh(batch_size)
    graphdef, arrays = nnx.split(model)
    check_finite(arrays, f"the model of {config.name} (seed {config.seed})", remedy="go back to an earlier checkpoint")
    arrays = jax.device_put(arrays, replicated(mesh))
    pictured, size = _seen(config, modality)
    what = "maps" if maps else "projected" if projected else "pooled"
    encode = _program(graphdef, modality, pictured, size, config.dtype, what)

    def features(rows: Any) -> np.ndarray:
        if pictured and rows.ndim == 5:
            pictures = np.asarray(rows)
            found = features(pictures.reshape(-1, *pictures.shape[2:]))
            return found.reshape(*pictures.shape[:2], *found.shape[1:]).mean(axis=1)
        parts = []
        for start in range(0, len(rows), batch_size):
            part = np.asarray(rows[start : start + batch_size])
            padded = np.zeros((batch_size, *part.shape[1:]), part.dtype)  # one shape, so one compilation
            padded[: len(part)] = part
            parts.append(np.asarray(encode(arrays, jax.device_put(padded, by_example(mesh))))[: len(part)])
        return np.concatenate(parts)

    return features


@functools.lru_cache(maxsize=16)
def _program(
    graphdef: nnx.GraphDef, modality: str, pictured: bool, size: tuple[int, int] | None, dtype: str, what: str
) -> Callable[[nnx.State, np.ndarray | jax.Array], jax.Array]:
    """The compiled encoder; models of one structure, such as those of several seeds or steps, share it."""
    view = VIEWS.build(VIEWS.spec("resized", size=size), "view") if pictured else None

    @functools.partial(jax.jit, compiler_options=compiler_options(jax.local_devices()[0], dtype))
    def encode(arrays: nnx.State, batch: np.ndarray | jax.Array) -> jax.Array:
        model = nnx.merge(graphdef, arrays)
        seen = view.plain(batch, jax.random.split(jax.random.key(0), len(batch)), {}).values if view else batch
        found = model.encode(modality, seen, train=False)
        if what == "maps":
            return _last_map(found, modality)
        given = model.project(modality, found, train=False) if what == "projected" else found.pooled
        return given.astype(jnp.float32)

    return encode


def pixel_features(images: Any) -> np.ndarray:
    """The pixels themselves, `[N, pixels]` float32 in [0, 1].

    Sides longer than 32 are averaged down, in squares of whole pixels, to at most 32; what fills no square is left out.
    """
    return np.concatenate([_averaged(np.asarray(images[i : i + _CHUNK])) for i in range(0, len(images), _CHUNK)])


def _averaged(images: np.ndarray) -> np.ndarray:
    *rest, height, width, channels = images.shape
    step = -(-max(height, width) // _PIXELS)
    images = images[..., : height // step * step, : width // step * step, :]
    squares = images.reshape(*rest, height // step, step, width // step, step, channels)
    return squares.mean(axis=(-4, -2), dtype=np.float32).reshape(len(images), -1) / np.float32(255)


def column_features(rows: np.ndarray, widths: tuple[int, ...], *, missing: str) -> np.ndarray:
    """The columns themselves, `[N, E]` float32: encoded rows, one-hot, as a table encoder sees them.

    A number that is missing, with the policies that leave it so, is the mean, 0.
    """
    return np.asarray(TableInput(widths, missing=missing)(jnp.asarray(rows, jnp.float32)))


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return the rows `[N, D]` scaled to length 1, float32; rows of zeros stay zeros."""
    return np.asarray(unit(jnp.asarray(features, jnp.float32)))


def _seen(config: ConfigDict, modality: str) -> tuple[bool, tuple[int, int] | None]:
    """Whether the modality is images, and the size that its encoder was trained at; None means the stored size."""
    spec = next((spec for spec in config.views.values() if spec.modality == modality), None)
    if spec is None or VIEWS.build(spec, f"config.views of {modality}").takes != "image":
        return False, None
    return True, spec.get("size")


def _last_map(features: Features, modality: str) -> jax.Array:
    """Return the coarsest feature map `[B, h, w, C]`, float32."""
    if features.local is None or features.grid is None or len(features.grid) != 2:
        raise UserError(f"The encoder of {modality!r} has no feature maps, which a mask is predicted from.")
    return features.local.reshape(len(features.local), *features.grid, -1).astype(jnp.float32)
