"""The model of an experiment: encoders, projectors and predictors, and the learned scalars and layers of terms."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Key
from ml_collections import ConfigDict

from mmcl_jax.arrays import zero_absent
from mmcl_jax.data.inputs import InputSpec, specs_of
from mmcl_jax.data.schema import Schema
from mmcl_jax.encoders.base import ENCODERS, PROJECTORS, Encoder, Projector, ViewSpec
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.fusions import parts_of_views
from mmcl_jax.encoders.keys import parse_key
from mmcl_jax.encoders.layers import BatchNorm, linear
from mmcl_jax.encoders.pooling import attention_pooled
from mmcl_jax.errors import UserError, check
from mmcl_jax.views import VIEWS, view_shape

Present = Bool[Array, " B"]


class Model(nnx.Module):
    """Encoders by modality; projectors and predictors by the features that they project (`keys.FeatureKey`).

    `heads` are the layers of terms, by term; `learned` are the scalars that terms learn, by term and name.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        projectors: Mapping[str, Projector],
        predictors: Mapping[str, Projector],
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

    def encode(
        self,
        modality: str,
        view: Any,
        *,
        train: bool,
        present: Present | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of views of this modality: an array `[B, ...]`, or the tuple of parts of a fusion.

        Absent rows are replaced by zeros, and their features are zeros without a gradient; their local features are
        masked where the encoder has a mask.
        """
        encoder = self.encoders[modality]
        if present is None:
            return encoder(view, train=train, keys=keys)
        view = jax.tree.map(lambda array: zero_absent(array, present), view)
        features = encoder(view, train=train, present=present, keys=keys)
        return jax.tree.map(lambda array: zero_absent(array, present), features)

    def project(self, key: str, features: Features, *, train: bool, present: Present | None = None) -> Array:
        """Project the features that `key` names (`MODALITY[.local][:HEAD]`): `[B, d]` or `[B, L, d]`.

        Absent rows and masked local features are projected to zeros.
        """
        if not parse_key(key).local:
            return self._apply(self.projectors[key], features.pooled, train=train, present=present)
        assert features.local is not None  # `build_model` checked it
        return self._apply(self.projectors[key], features.local, train=train, present=features.local_present(present))

    def predict(self, key: str, embedding: Array, *, train: bool, present: Bool[Array, "B *L"] | None = None) -> Array:
        """Return the prediction from an embedding, in its shape; `present` is as in `Projector`."""
        return self._apply(self.predictors[key], embedding, train=train, present=present)

    def _apply(self, layer: Projector, x: Array, *, train: bool, present: Array | None) -> Array:
        if present is None:
            return layer(x, train=train)
        return zero_absent(layer(zero_absent(x, present), train=train, present=present), present)


def view_specs(config: ConfigDict, inputs: Mapping[str, InputSpec]) -> dict[str, ViewSpec]:
    """Return the kind and shape of every input's views, by modality; the first view of each is decisive.

    Raises:
      UserError: a view does not accept its input.
    """
    specs: dict[str, ViewSpec] = {}
    fusions = parts_of_views(config.views)
    for name, options in sorted(config.views.items()):
        if name in fusions:
            continue
        view = VIEWS.build(options, f"config.views.{name}")
        if view.modality in specs or view.modality not in inputs:
            continue
        spec = inputs[view.modality]
        check(
            view.takes == spec.kind,
            f"config.views.{name}: the view {options.name!r} takes the kind {view.takes}, and the input "
            f"{view.modality!r} is of the kind {spec.kind}; choose a view of the kind {spec.kind}.",
        )
        try:
            shape = view_shape(view, spec)
        except ValueError as error:
            raise UserError(f"config.views.{name}: {error}") from error
        specs[view.modality] = ViewSpec(
            kind=spec.kind, shape=shape, widths=spec.widths, missing=spec.missing, bin_edges=spec.bin_edges
        )
    return specs


def asked_of_tables(config: ConfigDict) -> dict[str, dict[str, int]]:
    """Return what encoders ask of the encodings of their tables, by modality; see `Encoder.asks`."""
    asked = {}
    for modality, part in config.encoders.items():
        encoder = _class_of(part.name, f"config.encoders.{modality}.name")
        if issubclass(encoder, Encoder) and (own := encoder.asks(dict(part))):
            asked[modality] = own
    return asked


def build_model(
    config: ConfigDict,
    specs: Mapping[str, ViewSpec] | Schema,
    *,
    rngs: nnx.Rngs,
    heads: Mapping[str, Mapping[str, int]] | None = None,
    learned: Mapping[str, Mapping[str, float]] | None = None,
) -> Model:
    """Return the model that `config.encoders`, `projectors`, `predictors` and `batch_norm` describe.

    `specs` describes the views of each modality; from a schema, `view_specs` derives it. `heads` are the output sizes
    of linear layers on the features of views, by term and view. `learned` are the initial values of the scalars that
    terms train, by term and name.

    Raises:
      UserError: naming the key: an option is unknown, ill-typed or out of range, an encoder does not take the kind of
        its modality, or features are projected that no encoder computes.
    """
    dtype = jnp.dtype(config.dtype)
    if isinstance(specs, Schema):
        specs = view_specs(config, specs_of(config.inputs, specs))

    def norm(channels: int) -> BatchNorm:
        return BatchNorm(channels, dtype=dtype, **config.batch_norm)

    def encoder(modality: str, spec: ViewSpec) -> Encoder:
        part, path = config.encoders[modality], f"config.encoders.{modality}"
        kinds = takes(part.name, f"{path}.name")
        check(
            not kinds or spec.kind in kinds,
            f"{path}.name: the encoder {part.name!r} takes the kind {' or '.join(kinds)}, and {modality!r} is of the "
            f"kind {spec.kind}; choose another encoder.",
        )
        described = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
        built = ENCODERS.build(part, path, **described, norm=norm, rngs=rngs, dtype=dtype)
        return _pooled(built, part, path, rngs=rngs, dtype=dtype)

    def projector(path: str, part: ConfigDict, features: int) -> Projector:
        return PROJECTORS.build(part, path, features=features, norm=norm, rngs=rngs, dtype=dtype)

    fused = {config.views[name].modality for name in parts_of_views(config.views)}
    encoders = {modality: encoder(modality, specs[modality]) for modality in sorted(set(config.encoders) - fused)}
    encoders |= {modality: encoder(modality, spec) for modality, spec in _fusion_specs(config, encoders).items()}
    projectors = {
        key: projector(f"config.projectors.{key}", part, _width(encoders, key, f"config.projectors.{key}"))
        for key, part in sorted(config.projectors.items())
    }
    predictors = {
        key: projector(f"config.predictors.{key}", part, projectors[key].out_features)
        for key, part in sorted(config.predictors.items())
    }
    layers = {
        term: {
            view: linear(encoders[config.views[view].modality].out_features, size, rngs=rngs, dtype=dtype)
            for view, size in sizes.items()
        }
        for term, sizes in (heads or {}).items()
    }
    return Model(encoders, projectors, predictors, layers, learned or {})


def _pooled(encoder: Encoder, part: ConfigDict, path: str, *, rngs: nnx.Rngs, dtype: DTypeLike) -> Encoder:
    """Return an encoder with the pooling that its config entry asks for.

    Raises:
      UserError: an option of the pooling stands alone, or does not fit the encoder; naming the key.
    """
    options = {name: part[f"pooling_{name}"] for name in ("heads", "mean") if part.get(f"pooling_{name}") is not None}
    if part.get("pooling", "none") == "none":
        check(
            not options,
            f"{path}.pooling_{next(iter(options), '')}: the encoder has no attention pooling; set {path}.pooling to "
            f"'attention', or leave this key out.",
        )
        return encoder
    try:
        return attention_pooled(encoder, **options, rngs=rngs, dtype=dtype)
    except ValueError as error:
        raise UserError(f"{path}.pooling: {error}") from error


def _fusion_specs(config: ConfigDict, encoders: Mapping[str, Encoder]) -> dict[str, ViewSpec]:
    """Return the widths of the parts of every fusion, by the modality of the fusion.

    Raises:
      UserError: a part is local, and its encoder has no local features.
    """
    specs: dict[str, ViewSpec] = {}
    for name, texts in parts_of_views(config.views).items():
        widths = []
        for text in texts:
            view, local, _ = parse_key(text)
            modality = config.views[view].modality
            encoder = encoders[modality]
            check(
                not local or encoder.out_local_features > 0,
                f"config.views.{name}.of: the encoder of {modality!r} has no local features for {text!r}; name "
                f"{view!r}, or choose another config.encoders.{modality}.",
            )
            widths.append(encoder.out_local_features if local else encoder.out_features)
        specs[config.views[name].modality] = ViewSpec(kind="fusion", shape=(), parts=tuple(widths))
    return dict(sorted(specs.items()))


def takes(name: str, path: str = "") -> tuple[str, ...]:
    """Return the kinds that an encoder takes; () if its factory has no return annotation."""
    return getattr(_class_of(name, path), "takes", ())


def _class_of(name: str, path: str) -> type:
    """Return the class of an encoder: the return annotation of its factory; `object` without an annotation."""
    encoder = typing.get_type_hints(ENCODERS.factory(name, path)).get("return")
    return encoder if isinstance(encoder, type) else object


def _width(encoders: Mapping[str, Encoder], key: str, path: str) -> int:
    """Return the width of the features that a projector's key names."""
    modality, local, _ = parse_key(key, path)
    check(modality in encoders, f"{path}: config.encoders has no {modality!r}; add it, or remove this key.")
    encoder = encoders[modality]
    check(
        not local or encoder.out_local_features > 0,
        f"{path}: the encoder of {modality!r} has no local features; project {modality!r} instead.",
    )
    return encoder.out_local_features if local else encoder.out_features
