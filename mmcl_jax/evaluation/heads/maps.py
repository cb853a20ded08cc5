"""Encoders whose features are maps, for dense tasks; a decoder may stand between the encoder and the head."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.features import Features
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import (
    Encoders,
    FeatureEncoder,
    Presence,
    ViewSpec,
    ViewValues,
    encoded,
    features_of,
)
from mmcl_jax.training.state.train_state import Arrays, split_model


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapEncoders(Encoders):
    """An image encoder whose "features" are its last map `[B, h, w, C]`, or what a decoder makes of all its maps.

    Attributes:
      decoder: the name of the decoder beside the modalities, whose names have no colon; "" without a decoder.
    """

    dense = True
    decoder: ClassVar[str] = ""

    @staticmethod
    def decoder_of(
        encoder: nnx.Module, view: jax.ShapeDtypeStruct, *, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> nnx.Module | None:
        """Return an untrained decoder for the views `[B, H, W, C]` of an encoder; None if there is none."""
        del encoder, view, rngs, dtype
        return None

    def pooled(
        self,
        encoder: FeatureEncoder,
        views: ViewValues,
        *,
        train: bool,
        hold: bool = False,
        images: dict[ViewSpec, int] | None = None,
        present: Presence | None = None,
    ) -> tuple[Float[Array, "B ..."], Arrays]:
        """Return the maps, float32, and the running statistics after them."""
        module = nnx.merge(self.graphdef, encoder.params, encoder.statistics)
        train_encoder = train and not hold
        features = features_of(module, views, train=train_encoder)
        (modality,), (spec,) = self.modalities, self.views
        of_encoder = encoded(module, modality, spec, features, train=train_encoder)
        decoded = self.decoded(module, of_encoder, views[spec], train=train)
        return decoded.astype(jnp.float32), split_model(module)[1]

    def decoded(self, module: Any, features: Features, view: Array, *, train: bool) -> Array:
        """Return what a head reads: here the last map of the encoder."""
        del module, view, train
        return last_map(features, self.modalities[0])

    def is_held(self, path: tuple[Any, ...]) -> bool:
        """Return whether the parameter at a path of the tree stays while the encoder is held: all but the decoder's."""
        return path[0].key != self.decoder


def last_map(features: Features, modality: str) -> Float[Array, "B h w C"]:
    """Return the map of the local features.

    Raises:
      UserError: the encoder has no maps of images.
    """
    grid = features.grid or ()
    check(
        features.local is not None and len(grid) == 2,
        f"The encoder of {modality!r} has no feature maps to predict a mask from; name another --input.",
    )
    assert features.local is not None
    return features.local.reshape(len(features.local), *grid, -1)
