"""Features from encoders while heads are trained on them: of augmented rows, and of rows as they are."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from mmcl_jax.errors import UserError
from mmcl_jax.training.state.train_state import Arrays, split_model
from mmcl_jax.views import VIEWS, View
from mmcl_jax.views.base import Fitted

CROP_SCALE = (0.6, 1.0)
_AXES = {"image": 4, "volume": 5}  # of a batch of pictures

ViewSpec = tuple[tuple[str, Any], ...]  # the name and the options of a view, which decide about a program


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """Arrays of the encoders: what gradients train, the running statistics of normalisation, and what views know."""

    params: Arrays
    statistics: Arrays
    fitted: dict[str, Fitted] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoders:
    """What decides about the programs of encoders, apart from shapes.

    Attributes:
      graphdef: of an `nnx.Dict` of the encoders.
      modalities: whose pooled features are concatenated, in this order.
      views: of each modality; pictures are augmented in training, and of everything else the plain form is taken.
    """

    graphdef: Any
    modalities: tuple[str, ...]
    views: tuple[ViewSpec, ...]

    def augmented(self, encoder: Encoder, inputs: dict[str, Array], keys: Array) -> dict[str, Array]:
        """Return the inputs as training sees them, a key per example."""
        seen = {}
        for modality, spec in zip(self.modalities, self.views, strict=True):
            view, fitted = built(spec), encoder.fitted.get(modality, {})
            look = view.apply if pictured(spec) else view.plain
            seen[modality] = look(inputs[modality], keys, fitted).values
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
        seen, pictures = {}, {}
        for modality, spec in zip(self.modalities, self.views, strict=True):
            rows = inputs[modality]
            if rows.ndim == pictured(spec) + 1:
                pictures[modality] = rows.shape[1]
                rows = rows.reshape(-1, *rows.shape[2:])
            keys = jax.random.split(jax.random.key(0), len(rows))
            seen[modality] = built(spec).plain(rows, keys, encoder.fitted.get(modality, {})).values
        return self.pooled(encoder, seen, train=False, pictures=pictures)[0]


def built(spec: ViewSpec) -> View:
    """Return the view of a specification."""
    return VIEWS.build(ConfigDict(dict(spec), convert_dict=False), "view")


def pictured(spec: ViewSpec) -> int:
    """Return the number of axes of a batch of images (4) or volumes (5); 0 of what is neither."""
    return _AXES.get(built(spec).takes, 0)


def plain_spec(config: ConfigDict, modality: str) -> ViewSpec:
    """Return the run's first view of a modality, whose plain form its encoder is evaluated on.

    Raises:
      UserError: it has none.
    """
    spec = next((spec for spec in config.views.values() if spec.modality == modality), None)
    if spec is None:
        raise UserError(f"config.views: no view is of {modality!r}, which its encoder is evaluated on.")
    return tuple(sorted(spec.items()))


def augmentation_of(config: ConfigDict, *, probability: float, modality: str = "image") -> ViewSpec:
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
