"""Features from encoders while heads are trained on them: of augmented rows, and of rows as they are."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from mmcl_jax.errors import UserError
from mmcl_jax.training.state import Arrays, split_model
from mmcl_jax.views import VIEWS

CROP_SCALE = (0.6, 1.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """Arrays of the encoders: what gradients train, and the running statistics of normalisation."""

    params: Arrays
    statistics: Arrays


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoders:
    """What decides about the programs of encoders, apart from shapes.

    Attributes:
      graphdef: of an `nnx.Dict` of the encoders.
      modalities: whose pooled features are concatenated, in this order.
      augmentations: of each modality that is pictures, the options of its training view.
    """

    graphdef: Any
    modalities: tuple[str, ...]
    augmentations: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]

    def augmented(self, inputs: dict[str, Array], keys: Array) -> dict[str, Array]:
        """Return the inputs with pictures augmented, a key per example."""
        seen = {modality: inputs[modality] for modality in self.modalities}
        for modality, spec in self._specs().items():
            seen[modality] = VIEWS.build(spec, "augmentation").apply(seen[modality], keys, {}).values
        return seen

    def pooled(
        self, encoder: Encoder, seen: dict[str, Array], *, train: bool, pictures: dict[str, int] | None = None
    ) -> tuple[Float[Array, "B D"], Arrays]:
        """Return the concatenated pooled features of all modalities, float32, and the running statistics after them.

        Of a modality that has several `pictures` per row, one after the other, the features are their mean.
        """
        module = nnx.merge(self.graphdef, encoder.params, encoder.statistics)
        parts = []
        for modality in self.modalities:
            pooled = module[modality](seen[modality], train=train).pooled.astype(jnp.float32)
            of_row = (pictures or {}).get(modality, 1)
            parts.append(pooled.reshape(-1, of_row, pooled.shape[-1]).mean(axis=1))
        return jnp.concatenate(parts, axis=1), split_model(module)[1]

    def plain(self, encoder: Encoder, inputs: dict[str, Array]) -> Float[Array, "B D"]:
        """Return the features of rows as they are; of several pictures their mean.

        A linear head on that mean gives the mean of its outputs on the pictures.
        """
        seen, pictures = {modality: inputs[modality] for modality in self.modalities}, {}
        for modality, spec in self._specs().items():
            images = inputs[modality]
            pictures[modality] = 1 if images.ndim == 4 else images.shape[1]
            images = images.reshape(-1, *images.shape[-3:])
            keys = jax.random.split(jax.random.key(0), len(images))
            seen[modality] = VIEWS.build(spec, "augmentation").plain(images, keys, {}).values
        return self.pooled(encoder, seen, train=False, pictures=pictures)[0]

    def _specs(self) -> dict[str, ConfigDict]:
        return {modality: ConfigDict(dict(spec), convert_dict=False) for modality, spec in self.augmentations}


def augmentation_of(config: ConfigDict, *, probability: float, modality: str = "image") -> tuple[tuple[str, Any], ...]:
    """Return the run's own augmentation of a modality (the first, if it has several), with crops of at least 0.6.

    Of rows with several pictures it takes one at random.

    Raises:
      UserError: the run does not augment it, or `probability` is not one.
    """
    for name, spec in config.views.items():
        if spec.modality == modality and spec.name == "augment":
            changed = {**spec, "crop_scale": CROP_SCALE, "probability": probability, "picture": None}
            VIEWS.build(ConfigDict(changed, convert_dict=False), f"config.views.{name}")
            return tuple(sorted(changed.items()))
    raise UserError(f"config.views: no view is an {modality} that is augmented, as is needed to train on {modality}s.")
