"""The model of an experiment: encoder, projector and predictor per modality, and what terms learn."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Key
from ml_collections import ConfigDict

from mmcl_jax.data.inputs import InputSpec, specs_of
from mmcl_jax.data.schema import Schema
from mmcl_jax.encoders.base import ENCODERS, PROJECTORS, Encoder, Projector, ViewSpec
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.fusions import parts_of_views
from mmcl_jax.encoders.keys import parse_key
from mmcl_jax.encoders.layers import BatchNorm, kept, linear
from mmcl_jax.errors import UserError, check
from mmcl_jax.views import VIEWS, view_shape

Present = Bool[Array, " B"]


class Model(nnx.Module):
    """Encoders by modality, and projectors and predictors by what they project, which not all modalities need have.

    `heads` are the layers of terms on the features of each of their views; `learned` the scalars that terms learn.
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
        """Return the features of views of this modality: arrays `[B, ...]`, and of a fusion the tuple of its parts.

        Rows that are not `present` enter as zeros, whatever they hold, and their features are zeros that have no
        gradient; their local features are masked where the encoder has a mask.
        """
        encoder = self.encoders[modality]
        if present is None:
            return encoder(view, train=train, keys=keys)
        there = jax.tree.map(lambda array: kept(array, present), view)
        found = encoder(there, train=train, present=present, keys=keys)
        return jax.tree.map(lambda array: kept(array, present), found)

    def project(self, key: str, features: Features, *, train: bool, present: Present | None = None) -> Array:
        """Return the features that `key` names (`MODALITY[.local][:HEAD]`), projected: `[B, d]` or `[B, L, d]`.

        Rows that are not `present`, and local features that are masked, are zeros.
        """
        if not parse_key(key).local:
            return self._through(self.projectors[key], features.pooled, train=train, present=present)
        assert features.local is not None  # or there were no such projector
        return self._through(self.projectors[key], features.local, train=train, present=features.local_present(present))

    def predict(self, key: str, embedding: Array, *, train: bool, present: Bool[Array, "B *L"] | None = None) -> Array:
        """Return what the predictor makes of an embedding, in its shape; `present` as of a `Projector`."""
        return self._through(self.predictors[key], embedding, train=train, present=present)

    def _through(self, layer: Projector, x: Array, *, train: bool, present: Array | None) -> Array:
        if present is None:
            return layer(x, train=train)
        return kept(layer(kept(x, present), train=train, present=present), present)


def view_specs(config: ConfigDict, inputs: Mapping[str, InputSpec]) -> dict[str, ViewSpec]:
    """Return what the encoders of inputs get to see, by modality: the first view of each.

    Raises:
      UserError: a view and its input do not go together.
    """
    found: dict[str, ViewSpec] = {}
    fusions = parts_of_views(config.views)
    for name, options in sorted(config.views.items()):
        if name in fusions:
            continue
        view = VIEWS.build(options, f"config.views.{name}")
        if view.modality in found or view.modality not in inputs:
            continue
        spec = inputs[view.modality]
        check(
            view.takes == spec.kind,
            f"config.views.{name}: {options.name!r} is a view of the kind {view.takes}, and the input "
            f"{view.modality!r} is of the kind {spec.kind}.",
        )
        try:
            shape = view_shape(view, spec)
        except ValueError as error:
            raise UserError(f"config.views.{name}: {error}") from error
        found[view.modality] = ViewSpec(kind=spec.kind, shape=shape, widths=spec.widths, missing=spec.missing)
    return found


def build_model(
    config: ConfigDict,
    specs: Mapping[str, ViewSpec] | Schema,
    *,
    rngs: nnx.Rngs,
    heads: Mapping[str, Mapping[str, int]] | None = None,
    learned: Mapping[str, Mapping[str, float]] | None = None,
) -> Model:
    """Return the model that `config.encoders`, `projectors`, `predictors` and `batch_norm` describe.

    `specs` says what each modality's views are; of a schema, `view_specs` makes it. `heads` are the sizes of the layers
    that terms have on the features of their views, by term and view; `learned` the scalars that terms train, by term
    and name, and where they start.

    Raises:
      UserError: an option is unknown, ill-typed or out of range, an encoder does not take the kind of its modality, or
        features are projected that no encoder gives; named by its key.
    """
    dtype = jnp.dtype(config.dtype)
    if isinstance(specs, Schema):
        specs = view_specs(config, specs_of(config.inputs, specs))

    def norm(channels: int) -> BatchNorm:
        return BatchNorm(channels, dtype=dtype, **config.batch_norm)

    def encoder(modality: str, spec: ViewSpec) -> Encoder:
        part, path = config.encoders[modality], f"config.encoders.{modality}"
        takes = _takes(part.name, f"{path}.name")
        check(
            not takes or spec.kind in takes,
            f"{path}.name: a {spec.kind} and the encoder {part.name!r}, which takes {' or '.join(takes)}, do not fit "
            f"together.",
        )
        given = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
        return ENCODERS.build(part, path, **given, norm=norm, rngs=rngs, dtype=dtype)

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


def _fusion_specs(config: ConfigDict, encoders: Mapping[str, Encoder]) -> dict[str, ViewSpec]:
    """Return what the fusions of a config get to see of the encoders of inputs, by modality.

    Raises:
      UserError: a part is local, and its encoder gives no local features.
    """
    found: dict[str, ViewSpec] = {}
    for name, texts in parts_of_views(config.views).items():
        widths = []
        for text in texts:
            view, local, _ = parse_key(text)
            of = config.views[view].modality
            check(
                not local or encoders[of].out_local_features > 0,
                f"config.views.{name}.of: {text!r} are local features, and the encoder of {of!r} gives none; name "
                f"{view!r}, or choose another config.encoders.{of}.",
            )
            widths.append(encoders[of].out_local_features if local else encoders[of].out_features)
        found[config.views[name].modality] = ViewSpec(kind="fusion", shape=(), parts=tuple(widths))
    return dict(sorted(found.items()))


def _takes(name: str, path: str) -> tuple[str, ...]:
    """Return the kinds that an encoder takes; () if its factory does not say which class it makes."""
    made = typing.get_type_hints(ENCODERS.factory(name, path)).get("return")
    return getattr(made, "takes", ())


def _width(encoders: Mapping[str, Encoder], key: str, path: str) -> int:
    """Return the width of the features that a projector's key names."""
    modality, local, _ = parse_key(key, path)
    check(modality in encoders, f"{path}: there is no {modality!r} in config.encoders.")
    encoder = encoders[modality]
    check(
        not local or encoder.out_local_features > 0,
        f"{path}: the encoder of {modality!r} gives no local features; project {modality!r}.",
    )
    return encoder.out_local_features if local else encoder.out_features
