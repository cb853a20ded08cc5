"""Features from encoders while heads are trained on them: of augmented rows, and of rows as they are."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from mmcl_jax.encoders import Features, parse_key
from mmcl_jax.encoders.fusions import part_of, parts_of_views
from mmcl_jax.errors import UserError, check
from mmcl_jax.training.state.train_state import Arrays, split_model
from mmcl_jax.views import VIEWS, View
from mmcl_jax.views.base import Fitted

CROP_SCALE = (0.6, 1.0)
_AXES = {"image": 4, "volume": 5}  # of a batch of pictures

# The name and the options of a view, which decide about a program; of a fused view also "views", those of its parts.
ViewSpec = tuple[tuple[str, Any], ...]
Seen = dict[ViewSpec, Array]  # what views of inputs gave


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureEncoder:
    """Arrays of the encoders: what gradients train, the running statistics of normalisation, and what views know."""

    params: Arrays
    statistics: Arrays
    fitted: dict[str, Fitted] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoders:
    """What decides about the programs of encoders, apart from shapes.

    Attributes:
      graphdef: of an `nnx.Dict` of the encoders, of the modalities and of what is fused.
      modalities: whose pooled features are concatenated, in this order.
      views: of each modality; pictures are augmented in training, and of everything else the plain form is taken.
    """

    graphdef: Any
    modalities: tuple[str, ...]
    views: tuple[ViewSpec, ...]

    def augmented(self, encoder: FeatureEncoder, inputs: dict[str, Array], keys: Array) -> Seen:
        """Return the inputs as training sees them, a key per example."""
        return seen_by(self.views, inputs, keys, encoder.fitted, train=True)

    def pooled(
        self, encoder: FeatureEncoder, seen: Seen, *, train: bool, pictures: dict[ViewSpec, int] | None = None
    ) -> tuple[Float[Array, "B D"], Arrays]:
        """Return the concatenated pooled features of all modalities, float32, and the running statistics after them.

        Of a view that has several `pictures` per row, one after the other, the features are their mean.
        """
        module = nnx.merge(self.graphdef, encoder.params, encoder.statistics)
        features = features_of(module, seen, train=train)
        parts = []
        for modality, spec in zip(self.modalities, self.views, strict=True):
            found = encoded(module, modality, spec, features, train=train, pictures=pictures)
            pooled, of_row = found.pooled.astype(jnp.float32), _pictures(spec, pictures)
            parts.append(pooled.reshape(-1, of_row, pooled.shape[-1]).mean(axis=1))
        return jnp.concatenate(parts, axis=1), split_model(module)[1]

    def plain(self, encoder: FeatureEncoder, inputs: dict[str, Array]) -> Float[Array, "B D"]:
        """Return the features of rows as they are; of several pictures their mean.

        A linear head on that mean gives the mean of its outputs on the pictures.
        """
        seen, pictures = Seen(), dict[ViewSpec, int]()
        for spec in views_of_inputs(self.views):
            modality = built(spec).modality
            rows = inputs[modality]
            if rows.ndim == pictured(spec) + 1:
                pictures[spec] = rows.shape[1]
                rows = rows.reshape(-1, *rows.shape[2:])
            keys = jax.random.split(jax.random.key(0), len(rows))
            seen |= seen_by((spec,), {modality: rows}, keys, encoder.fitted, train=False)
        return self.pooled(encoder, seen, train=False, pictures=pictures)[0]


def seen_by(
    specs: Sequence[ViewSpec], inputs: Mapping[str, Array], keys: Array, fitted: Mapping[str, Fitted], *, train: bool
) -> Seen:
    """Return what the views of inputs behind these views give: pictures augmented in training, all else plain."""
    seen = {}
    for spec in views_of_inputs(specs):
        view = built(spec)
        look = view.apply if train and pictured(spec) else view.plain
        seen[spec] = look(inputs[view.modality], keys, fitted.get(view.modality, {})).values
    return seen


def features_of(encoders: Mapping[str, Any], seen: Seen, *, train: bool) -> dict[ViewSpec, Features]:
    """Return the features of views of inputs."""
    return {spec: encoders[built(spec).modality](values, train=train) for spec, values in seen.items()}


def encoded(
    encoders: Mapping[str, Any],
    modality: str,
    spec: ViewSpec,
    features: Mapping[ViewSpec, Features],
    *,
    train: bool,
    pictures: Mapping[ViewSpec, int] | None = None,
) -> Features:
    """Return the features of a modality: those of its view, or what a fusion makes of those of its parts.

    Where parts have several pictures per row, every one of them is fused with the other parts of its row.
    """
    behind, count = _behind(spec), _pictures(spec, pictures)
    if not behind:
        return features[spec]
    parts = []
    for text in dict(spec)["of"]:
        view, local, _ = parse_key(text)
        times = count // _pictures(behind[view], pictures)
        part = part_of(features[behind[view]], local=local)
        parts.append(part if times == 1 else jax.tree.map(partial(jnp.repeat, repeats=times, axis=0), part))
    return encoders[modality](tuple(parts), train=train)


def _pictures(spec: ViewSpec, pictures: Mapping[ViewSpec, int] | None) -> int:
    """Return the number of pictures in a row of a view."""
    counts = [(pictures or {}).get(one, 1) for one in views_of_inputs((spec,))]
    return pictures_of_row(dict(spec)["modality"], counts)


def pictures_of_row(modality: str, counts: Collection[int]) -> int:
    """Return how often a row is encoded whose inputs have so many pictures each.

    Raises:
      UserError: they have different numbers of pictures.
    """
    several = sorted({count for count in counts if count > 1})
    check(
        len(several) < 2,
        f"The inputs that {modality!r} fuses have {' and '.join(map(str, several))} pictures of a row; prepare a store "
        "with as many pictures of each.",
    )
    return max(counts)


def views_of_inputs(specs: Sequence[ViewSpec]) -> tuple[ViewSpec, ...]:
    """Return the views of inputs behind these views, each once."""
    return tuple(dict.fromkeys(one for spec in specs for one in _behind(spec).values() or (spec,)))


def _behind(spec: ViewSpec) -> dict[str, ViewSpec]:
    """Return the views of a fused view's parts by name; {} of a view of an input."""
    return dict(dict(spec).get("views", ()))


def built(spec: ViewSpec) -> View:
    """Return the view of a specification."""
    return VIEWS.build(ConfigDict(dict(spec), convert_dict=False), "view")


def pictured(spec: ViewSpec) -> int:
    """Return the number of axes of a batch of images (4) or volumes (5); 0 of what is neither."""
    return _AXES.get(built(spec).takes, 0)


def plain_spec(config: ConfigDict, modality: str) -> ViewSpec:
    """Return the run's first view of a modality, whose plain form its encoder is evaluated on.

    Behind a fused view are the first views of its parts' modalities.

    Raises:
      UserError: it has none.
    """
    for name, spec in config.views.items():
        if spec.modality == modality:
            views = [parse_key(text).modality for text in parts_of_views(config.views).get(name, ())]
            behind = tuple((view, plain_spec(config, config.views[view].modality)) for view in views)
            return (*sorted(spec.items()), *((("views", behind),) if behind else ()))
    raise UserError(f"config.views: no view is of {modality!r}, which its encoder is evaluated on.")


def trained_spec(config: ConfigDict, modality: str, *, probability: float) -> ViewSpec:
    """Return the view of a modality that is trained on: pictures are augmented, all else is as it is.

    Raises:
      UserError: pictures are not augmented by the run.
    """
    spec = plain_spec(config, modality)
    if not _behind(spec):
        return augmentation_of(config, probability=probability, modality=modality) if pictured(spec) else spec
    behind = tuple(
        (view, trained_spec(config, built(one).modality, probability=probability))
        for view, one in _behind(spec).items()
    )
    return (*(option for option in spec if option[0] != "views"), ("views", behind))


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
