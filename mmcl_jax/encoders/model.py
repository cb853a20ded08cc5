"""The model of an experiment: one encoder and one projector per modality, and what terms learn."""

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
    """Encoders and projectors by modality; `learned` holds the scalars of each term that learns any."""

    def __init__(
        self,
        encoders: Mapping[str, nnx.Module],
        projectors: Mapping[str, nnx.Module],
        learned: Mapping[str, Mapping[str, float]],
    ) -> None:
        self.encoders = nnx.Dict(encoders)
        self.projectors = nnx.Dict(projectors)
        self.learned = nnx.Dict(
            {
                term: nnx.Dict({name: nnx.Param(jnp.float32(value)) for name, value in scalars.items()})
                for term, scalars in learned.items()
            }
        )

    def encode(self, modality: str, view: Array, *, train: bool) -> Features:
        """The features of a view of this modality."""
        return self.encoders[modality](view, train=train)

    def project(self, modality: str, features: Features, *, train: bool) -> Array:
        """The pooled features, projected: `[B, d]`."""
        return self.projectors[modality](features.pooled, train=train)


def build_model(
    config: ConfigDict, schema: Schema, *, rngs: nnx.Rngs, learned: Mapping[str, Mapping[str, float]] | None = None
) -> Model:
    """The model that `config.encoders`, `config.projectors` and `config.batch_norm` describe.

    `learned` are the scalars that terms train with it, by term and name, and where they start.

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
            missing=config.missing,
            norm=norm,
            rngs=rngs,
            dtype=dtype,
        )
        for modality, spec in sorted(config.encoders.items())
    }
    projectors = {
        modality: PROJECTORS.build(
            spec,
            f"config.projectors.{modality}",
            features=encoders[modality].features,
            norm=norm,
            rngs=rngs,
            dtype=dtype,
        )
        for modality, spec in sorted(config.projectors.items())
    }
    return Model(encoders, projectors, learned or {})
