"""The model of an experiment: one encoder and one projector per modality."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array
from ml_collections import ConfigDict

from mmcl_jax.data.schema import Schema
from mmcl_jax.encoders.base import ENCODERS, PROJECTORS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import BatchNorm


class Model(nnx.Module):
    """Encoders and projectors by modality."""

    def __init__(self, encoders: Mapping[str, nnx.Module], projectors: Mapping[str, nnx.Module]) -> None:
        self.encoders = nnx.Dict(encoders)
        self.projectors = nnx.Dict(projectors)

    def encode(self, modality: str, view: Array, *, train: bool) -> Features:
        """The features of a view of this modality."""
        return self.encoders[modality](view, train=train)

    def project(self, modality: str, features: Features) -> Array:
        """The pooled features, projected: `[B, d]`."""
        return self.projectors[modality](features.pooled)


def build_model(config: ConfigDict, schema: Schema, *, rngs: nnx.Rngs) -> Model:
    """The model that `config.encoders`, `config.projectors` and `config.batch_norm` describe.

    Raises:
      UserError: an option is unknown, ill-typed or out of range, named by its key.
    """
    dtype = jnp.dtype(config.dtype)

    def norm(channels: int) -> BatchNorm:
        return BatchNorm(channels, dtype=dtype, **config.batch_norm)

    encoders = {
        modality: ENCODERS.build(
            spec,
            f"config.encoders.{modality}",
            shape=schema.image.shape,
            widths=schema.widths,
            norm=norm,
            rngs=rngs,
            dtype=dtype,
        )
        for modality, spec in sorted(config.encoders.items())
    }
    projectors = {
        modality: PROJECTORS.build(
            spec, f"config.projectors.{modality}", features=encoders[modality].features, rngs=rngs, dtype=dtype
        )
        for modality, spec in sorted(config.projectors.items())
    }
    return Model(encoders, projectors)
