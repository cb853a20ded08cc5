"""The features that encoders compute while heads are trained: of augmented rows, and of plain rows."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders import Features, parse_key
from mmcl_jax.encoders.fusions import part_of, parts_of_views
from mmcl_jax.encoders.statistics import apart
from mmcl_jax.errors import UserError, check
from mmcl_jax.training.state.train_state import Arrays, split_model
from mmcl_jax.views import VIEWS, View
from mmcl_jax.views.base import Fitted
from mmcl_jax.views.pixels import has_picture
from mmcl_jax.views.randomness import plain_keys

CROP_SCALE = (0.6, 1.0)
_AXES = {"image": 4, "volume": 5}  # of a batch

# The name and options of a view, which compiled programs depend on; a fused view also has the "views" of its parts.
ViewSpec = tuple[tuple[str, Any], ...]
ViewValues = dict[ViewSpec, Array]  # by the specs of views of inputs
Presence = Mapping[str, Bool[Array, "B"]]  # by input: the rows that have it, of inputs that rows may lack
PRESENT = "present/"  # before the name of such an input, among the arrays of a batch
IDS = "id"  # the array of the rows' ids, uint32 [B], which views need whose draws are part of the data


class ImageCounts(dict[ViewSpec, int]):
    """The number of images in a row, by view; `exists`, bool `[B, V]` by view, says which of these a row has."""

    def __init__(self) -> None:
        """Start without a view."""
        super().__init__()
        self.exists: dict[ViewSpec, Bool[Array, "B V"]] = {}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureEncoder:
    """The arrays of encoders: parameters, running statistics of normalisation, and the fitted values of views."""

    params: Arrays
    statistics: Arrays
    fitted: dict[str, Fitted] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoders:
    """The settings of encoders that compiled programs depend on, besides shapes.

    Attributes:
      graphdef: of an `nnx.Dict` of the encoders of the modalities and of the parts of fusions.
      modalities: whose pooled features are concatenated, in this order.
      views: a spec per modality; training augments images, and uses the plain form of everything else.
      dense: whether a feature is a map `[h, w, D]`, which takes so much memory that heads read it part by part.
    """

    dense: ClassVar[bool] = False
    graphdef: Any
    modalities: tuple[str, ...]
    views: tuple[ViewSpec, ...]

    def augmented(self, encoder: FeatureEncoder, inputs: dict[str, Array], keys: Array) -> ViewValues:
        """Return the training views of the inputs, with a random key per example."""
        return training_values(self.views, inputs, keys, encoder.fitted)

    def pooled(
        self,
        encoder: FeatureEncoder,
        views: ViewValues,
        *,
        train: bool,
        hold: bool = False,
        images: dict[ViewSpec, int] | None = None,
        present: Presence | None = None,
    ) -> tuple[Float[Array, "B D"], Arrays]:
        """Return the concatenated pooled features of all modalities, float32, and the running statistics after them.

        With `hold`, encoders use their running statistics in training too, and do not change them.

        If a view has several `images` per row, one after the other, the features are the mean over them. `present` says
        which rows have the inputs that rows may lack.
        """
        train = train and not hold
        module = nnx.merge(self.graphdef, encoder.params, encoder.statistics)
        features = features_of(module, views, train=train, images=images, present=present)
        options: dict[str, Any] = {"train": train, "images": images, "present": present}
        parts = []
        for modality, spec in zip(self.modalities, self.views, strict=True):
            pooled = encoded(module, modality, spec, features, **options).pooled.astype(jnp.float32)
            by_row = pooled.reshape(-1, _image_count(spec, images), pooled.shape[-1])
            exists = images.exists if isinstance(images, ImageCounts) else {}
            own = [exists[one] for one in views_of_inputs((spec,)) if one in exists]
            parts.append(mean_of_images(by_row, own[0] if own else None))
        # Layers record calls with absent rows, to be replayed over slices; here a batch is one call.
        return jnp.concatenate(parts, axis=1), apart(split_model(module)[1])[0]

    def is_held(self, path: tuple[Any, ...]) -> bool:
        """Return whether the parameter at a path of the tree stays while the encoders are held: all of them do."""
        return True

    def plain(self, encoder: FeatureEncoder, inputs: dict[str, Array]) -> Float[Array, "B D"]:
        """Return the features of plain rows; the features of a row with several images are the mean over them.

        The output of a linear head on the mean is the mean of its outputs on the images.
        """
        views, images = ViewValues(), ImageCounts()
        for spec in views_of_inputs(self.views):
            modality = built(spec).modality
            rows = {name: inputs[name] for name in (modality, IDS) if name in inputs}
            if rows[modality].ndim == image_axes(spec) + 1:
                count = images[spec] = rows[modality].shape[1]
                images.exists[spec] = has_picture(rows[modality])
                rows[modality] = rows[modality].reshape(-1, *rows[modality].shape[2:])
                if IDS in rows:
                    rows[IDS] = jnp.repeat(rows[IDS], count)
            views |= plain_values((spec,), rows, encoder.fitted)
        return self.pooled(encoder, views, train=False, images=images, present=presence(inputs))[0]


def training_values(
    specs: Sequence[ViewSpec], inputs: Mapping[str, Array], keys: Array, fitted: Mapping[str, Fitted]
) -> ViewValues:
    """Return the values of the views of inputs behind these views: images augmented, all else plain."""
    views = {}
    for spec in views_of_inputs(specs):
        view = built(spec)
        apply = view.apply if image_axes(spec) else view.plain
        views[spec] = apply(inputs[view.modality], keys, fitted.get(view.modality, {})).values
    return views


def plain_values(specs: Sequence[ViewSpec], rows: Mapping[str, Array], fitted: Mapping[str, Fitted]) -> ViewValues:
    """Return the values of the plain views of inputs behind these views.

    Args:
      specs: of the views.
      rows: by input, and `id` [B] where a view is `drawn`; see `View`.
      fitted: the fitted arrays, by input.

    Raises:
      UserError: a view is drawn by the ids of rows, and there are no ids.
    """
    views = {}
    for spec in views_of_inputs(specs):
        view = built(spec)
        values = rows[view.modality]
        # Other plain views of single images draw nothing.
        keys = jnp.broadcast_to(jax.random.key(0)[None], values.shape[:1])
        if view.drawn:
            check(
                IDS in rows,
                f"The view {dict(spec)['name']!r} of {view.modality!r} is drawn by the ids of rows; pass the ids, "
                f"numbers [N] uint32, as rows[{IDS!r}].",
            )
            keys = plain_keys(view.modality, rows[IDS])
        views[spec] = view.plain(values, keys, fitted.get(view.modality, {})).values
    return views


def is_drawn(specs: Sequence[ViewSpec]) -> bool:
    """Return whether a plain view of an input behind these views is drawn by the ids of rows."""
    return any(built(spec).drawn for spec in views_of_inputs(specs))


def presence(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return, by input, which rows have it, of the inputs of which the rows say so (`present/NAME`)."""
    return {name.removeprefix(PRESENT): mask for name, mask in rows.items() if name.startswith(PRESENT)}


def beside(rows: Mapping[str, Any], inputs: Collection[str]) -> dict[str, Any]:
    """Return what goes with these inputs of rows, where it is given: `present/NAME`, and the ids of the rows."""
    return {name: rows[name] for name in (*map(PRESENT.__add__, inputs), IDS) if name in rows}


def features_of(
    encoders: Mapping[str, Any],
    views: ViewValues,
    *,
    train: bool,
    images: Mapping[ViewSpec, int] | None = None,
    present: Presence | None = None,
) -> dict[ViewSpec, Features]:
    """Return the encoder features of views of inputs; rows that lack an input have the features 0."""
    features = {}
    for spec, values in views.items():
        modality = built(spec).modality
        mask = (present or {}).get(modality)
        if mask is None:
            features[spec] = encoders[modality](values, train=train)
            continue
        rows = jnp.repeat(mask, (images or {}).get(spec, 1))
        made = encoders[modality](zero_absent(values, rows), train=train, present=rows)
        features[spec] = jax.tree.map(partial(zero_absent, present=rows), made)
    return features


def encoded(
    encoders: Mapping[str, Any],
    modality: str,
    spec: ViewSpec,
    features: Mapping[ViewSpec, Features],
    *,
    train: bool,
    images: Mapping[ViewSpec, int] | None = None,
    present: Presence | None = None,
) -> Features:
    """Return the features of a modality: of its view, or of the fusion of the features of its parts.

    If parts have several images per row, every image is fused with the other parts of its row. The tokens of parts that
    a row lacks, as `present` says, are masked.
    """
    behind, count = _behind(spec), _image_count(spec, images)
    if not behind:
        return features[spec]
    parts = []
    for text in dict(spec)["of"]:
        view, local, _ = parse_key(text)
        own = _image_count(behind[view], images)
        times, mask = count // own, (present or {}).get(built(behind[view]).modality)
        mask = None if mask is None else jnp.repeat(mask, own)
        part = part_of(features[behind[view]], local=local, present=mask)
        parts.append(part if times == 1 else jax.tree.map(partial(jnp.repeat, repeats=times, axis=0), part))
    return encoders[modality](tuple(parts), train=train)


def _image_count(spec: ViewSpec, images: Mapping[ViewSpec, int] | None) -> int:
    """Return the number of images in a row of a view."""
    counts = [(images or {}).get(one, 1) for one in views_of_inputs((spec,))]
    return images_of_row(dict(spec)["modality"], counts)


def mean_of_images(features: Any, exists: Any) -> Any:
    """Return the mean `[B, ...]` of the features `[B, V, ...]` of the images that rows have: all, or bool `[B, V]`."""
    if exists is None or features.shape[1] == 1:
        return features.mean(axis=1)
    shares = exists.astype(features.dtype)
    shares = (shares / shares.sum(axis=1, keepdims=True)).reshape(*shares.shape, *[1] * (features.ndim - 2))
    return (features * shares).sum(axis=1)


def images_of_row(modality: str, counts: Collection[int]) -> int:
    """Return how often a row of a modality is encoded: the number of images that its inputs have.

    Raises:
      UserError: two inputs have different numbers of several images.
    """
    several = sorted({count for count in counts if count > 1})
    check(
        len(several) < 2,
        f"The inputs that {modality!r} fuses have {' and '.join(map(str, several))} images per row; prepare a store "
        "with the same number of images of each.",
    )
    return max(counts)


def views_of_inputs(specs: Sequence[ViewSpec]) -> tuple[ViewSpec, ...]:
    """Return the distinct views of inputs that these views are made of."""
    return tuple(dict.fromkeys(one for spec in specs for one in _behind(spec).values() or (spec,)))


def _behind(spec: ViewSpec) -> dict[str, ViewSpec]:
    """Return the views of the parts of a fused view by name; {} for a view of an input."""
    return dict(dict(spec).get("views", ()))


def built(spec: ViewSpec) -> View:
    """Return the view that a spec describes."""
    return VIEWS.build(ConfigDict(dict(spec), convert_dict=False), "view")


def image_axes(spec: ViewSpec) -> int:
    """Return the number of axes of a batch of images (4) or volumes (5); 0 for other inputs."""
    return _AXES.get(built(spec).takes, 0)


def plain_spec(config: ConfigDict, modality: str) -> ViewSpec:
    """Return the spec of the first view of a modality, whose plain form is used for evaluation.

    The parts of a fused view are the first views of their modalities.

    Raises:
      UserError: the modality has no view.
    """
    for name, spec in config.views.items():
        if spec.modality == modality:
            views = [parse_key(text).modality for text in parts_of_views(config.views).get(name, ())]
            behind = tuple((view, plain_spec(config, config.views[view].modality)) for view in views)
            return (*sorted(spec.items()), *((("views", behind),) if behind else ()))
    raise UserError(f"config.views: {modality!r} has no view to evaluate its encoder on.")


def trained_spec(config: ConfigDict, modality: str, *, probability: float) -> ViewSpec:
    """Return the spec of the training view of a modality: augmented for images, plain for everything else.

    An image whose view is drawn, as part of the data, keeps this view, which draws anew at every step.

    Raises:
      UserError: the run does not augment images.
    """
    spec = plain_spec(config, modality)
    if not _behind(spec):
        fixed = not image_axes(spec) or built(spec).drawn
        return spec if fixed else augmentation_of(config, probability=probability, modality=modality)
    behind = tuple(
        (name, trained_spec(config, built(part).modality, probability=probability))
        for name, part in _behind(spec).items()
    )
    return (*(option for option in spec if option[0] != "views"), ("views", behind))


def simple_spec(config: ConfigDict, modality: str, augment: Literal["flip", "none"]) -> ViewSpec:
    """Return the spec of a view that resizes images as the plain view of a modality does, and at most mirrors them.

    Other inputs, and the parts of a fusion, keep their plain view.

    Raises:
      UserError: images are to be mirrored, and the view is of another kind.
    """
    spec: dict[str, Any] = dict(plain_spec(config, modality))
    if "views" in spec:
        behind = [(name, simple_spec(config, built(part).modality, augment)) for name, part in spec["views"]]
        return tuple((key, tuple(behind) if key == "views" else value) for key, value in spec.items())
    kind = spec["name"].removesuffix("_volume")
    if kind not in ("augment", "frontal", "resized"):
        check(
            augment == "none" or not image_axes(tuple(spec.items())),
            f"--augment flip: the view {spec['name']!r} of {modality!r} is not one that can be mirrored; use --augment "
            "run or none.",
        )
        return tuple(spec.items())
    kept: dict[str, Any] = {key: spec[key] for key in ("modality", "size", "picture") if key in spec}
    if augment == "none":
        kept["name"] = spec["name"].replace("augment", "resized")
        return tuple(spec.items()) if kind == "frontal" else tuple(sorted(kept.items()))
    check(kind == spec["name"], f"--augment flip: {modality!r} is a volume; use --augment run or none.")
    off: dict[str, Any] = {"crop_scale": (1.0, 1.0), "jitter": 0.0, "grayscale": 0.0, "blur": 0.0, "flip": 0.5}
    if kind == "frontal":
        kept |= {"name": kind, "channels": spec["channels"], "rotation": 0.0, "shift": 0.0, "zoom": (1.0, 1.0)}
        return tuple(sorted((kept | {key: value for key, value in off.items() if key != "grayscale"}).items()))
    return tuple(sorted((kept | off | {"name": "augment"}).items()))


def augmentation_of(config: ConfigDict, *, probability: float, modality: str = "image") -> ViewSpec:
    """Return the run's first augmentation of a modality, with crops of at least 0.6 of the area.

    It uses a random image of rows with several.

    Raises:
      UserError: the run does not augment the modality, or `probability` is not in [0, 1].
    """
    for name, spec in config.views.items():
        if spec.modality == modality and spec.name in ("augment", "frontal"):
            changed = {**spec, "crop_scale": CROP_SCALE, "probability": probability, "picture": None}
            VIEWS.build(ConfigDict(changed, convert_dict=False), f"config.views.{name}")
            return tuple(sorted(changed.items()))
    raise UserError(f"config.views: no view augments {modality!r}, which training on it needs.")
