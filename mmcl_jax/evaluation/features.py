"""Frozen features: every example through an encoder once, without augmentation."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.backend import compiler_options
from mmcl_jax.encoders import Model
from mmcl_jax.views import VIEWS


def frozen_encoder(model: Model, *, config: ConfigDict, batch_size: int = 256) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 images `[N, H, W, C]` to their pooled features `[N, D]` float32, compiled once.

    BatchNorm uses its running statistics and nothing is updated, so the features are those of a frozen encoder. (In
    MMCL's released code a "frozen" encoder stays in train mode: it normalises by, and keeps adapting to, the batch.)
    """
    view = VIEWS.build(VIEWS.spec("resized", size=_view_size(config)), "view")
    graphdef, arrays = nnx.split(model)

    @partial(jax.jit, compiler_options=compiler_options(jax.local_devices()[0], config.dtype))
    def encode(arrays: nnx.State, batch: jax.Array) -> jax.Array:
        seen = view.apply(batch, jax.random.split(jax.random.key(0), len(batch)), None)
        features = nnx.merge(graphdef, arrays).encode("image", seen, train=False)
        return features.pooled.astype(jnp.float32)

    def features(images: np.ndarray) -> np.ndarray:
        if images.ndim == 5:  # several pictures per row: the mean of their features
            pictures = np.asarray(images)
            return features(pictures.reshape(-1, *pictures.shape[2:])).reshape(*pictures.shape[:2], -1).mean(axis=1)
        parts = []
        for start in range(0, len(images), batch_size):
            rows = np.asarray(images[start : start + batch_size])
            padded = np.zeros((batch_size, *images.shape[1:]), images.dtype)  # one shape, so one compilation
            padded[: len(rows)] = rows
            parts.append(np.asarray(encode(arrays, padded))[: len(rows)])
        return np.concatenate(parts)

    return features


def pixel_features(images: np.ndarray) -> np.ndarray:
    """The pixels themselves, `[N, H * W * C]` float32 in [0, 1]."""
    return np.asarray(images).reshape(len(images), -1).astype(np.float32) / 255


def _view_size(config: ConfigDict) -> tuple[int, int] | None:
    """The image size the encoder was trained at; None means the stored size."""
    return next((spec.get("size") for spec in config.views.values() if spec.modality == "image"), None)
