"""The model of an experiment: encoder, projector and predictor per modality, and what terms learn."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array
from ml_collections import ConfigDict

from mmcl_jax.data.schema import Schema
from mmcl_jax.encoders.base import ENCODERS, PROJECTORS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import BatchNorm, linear


class Model(nnx.Module):
    """Encoders, projectors and predictors by modality, which need not have all.

    `heads` are the layers of terms on the features of each of their views; `learned` the scalars that terms learn.
    """

    def __init__(
        self,
        encoders: Mapping[str, nnx.Module],
        projectors: Mapping[str, nnx.Module],
        predictors: Mapping[str, nnx.Module],
        heads: Mapping[str, Mapping[str, nnx.Module]],
        learned: Mapping[str, Mapping[str, float]],
    ) -> None:
        self.encoders = nnx.Dict(encoders)
        self.projectors = nnx.Dict(projectors)
        self.predictors = nnx.Dict(predictors)
        self.heads = nnx.Dict({term: nnx.Dict(layers) for term, layers in heads.items()})
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

    def predict(self, modality: str, embedding: Array, *, train: bool) -> Array:
        """What the predictor makes of an embedding: `[B, d]`."""
        return self.predictors[modality](embedding, train=train)


def build_model(
    config: ConfigDict,
    schema: Schema,
    *,
    rngs: nnx.Rngs,
    heads: Mapping[str, Mapping[str, int]] | None = None,
    learned: Mapping[str, Mapping[str, float]] | None = None,
) -> Model:
    """The model that `config.encoders`, `projectors`, `predictors` and `batch_norm` describe.

    `heads` are the sizes of the layers that terms have on the features of their views, by term and view; `learned` the
    scalars that terms train, by term and name, and where they start.

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
            missing=config.inputs[modality].missing,
            norm=norm,
            rngs=rngs,
            dtype=dtype,
        )
        for modality, spec in sorted(config.encoders.items())
    }

    def behind(part: str, before: Mapping[str, nnx.Module]) -> dict[str, nnx.Module]:
        return {
            modality: PROJECTORS.build(
                spec,
                f"config.{part}.{modality}",
                features=before[modality].features,
                norm=norm,
                rngs=rngs,
                dtype=dtype,
            )
            for modality, spec in sorted(config[part].items())
        }

    projectors = behind("projectors", encoders)
    predictors = behind("predictors", projectors)
    layers = {
        term: {
            view: linear(encoders[config.views[view].modality].features, size, rngs=rngs, dtype=dtype)
            for view, size in sizes.items()
        }
        for term, sizes in (heads or {}).items()
    }
    return Model(encoders, projectors, predictors, layers, learned or {})
