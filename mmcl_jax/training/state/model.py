"""The model that is trained: encoders, projectors and predictors, and what the objective's terms learn."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool
from ml_collections import ConfigDict

from mmcl_jax.data.inputs import InputSpec, specs_of
from mmcl_jax.data.schema import Schema
from mmcl_jax.encoders import Features, Model, build_model, view_specs
from mmcl_jax.encoders.fusions import Part, parts_of_views
from mmcl_jax.encoders.layers import BatchNorm
from mmcl_jax.errors import check
from mmcl_jax.objectives import LayerInput, Objective, Term, build_objective
from mmcl_jax.objectives.stages import Fuse, Layers, Sizes


def trained_model(
    config: ConfigDict, schema: Schema, inputs: Mapping[str, InputSpec] | None = None, *, rngs: nnx.Rngs
) -> Model:
    """Return the whole model of a config.

    Args:
      config: the experiment.
      schema: of the data, for labels.
      inputs: of the experiment, by modality; by default all that the schema says of them.
      rngs: random streams of the initial parameters.

    Raises:
      UserError: an option of a part is unknown, ill-typed or out of range, or parts do not fit together.
    """
    inputs = specs_of(config.inputs, schema) if inputs is None else inputs
    modalities = {name: view.modality for name, view in config.views.items()}
    parts = parts_of_views(config.views)
    objective = build_objective(config.objective, modalities, parts=parts, schema=schema, inputs=inputs)
    model = build_model(config, view_specs(config, inputs), rngs=rngs, learned=objective.learned)
    check_parts(objective, model)
    model.heads = nnx.Dict(_layers(config, objective, model, rngs))
    return model


def _layers(config: ConfigDict, objective: Objective, model: Model, rngs: nnx.Rngs) -> dict[str, Any]:
    """Return the layers of terms: those with a name of their own by that name, the others by term and name."""
    dtype = jnp.dtype(config.dtype)

    def norm(channels: int) -> BatchNorm:
        return BatchNorm(channels, dtype=dtype, **config.batch_norm)

    layers: dict[str, Any] = {}
    for key, term in objective.terms.items():
        given = LayerInput(sizes=_sizes(objective, term, model), norm=norm, rngs=rngs, dtype=dtype)
        own = {}
        for name, layer in term.layers.items():
            if not layer.name:
                own[name] = layer.build(given)
            elif layer.name not in layers:
                layers[layer.name] = layer.build(given)
        if own:
            layers[key] = nnx.Dict(own)
    return layers


def _sizes(objective: Objective, term: Term, model: Model) -> tuple[Sizes, ...]:
    found = []
    for text, read in zip(term.between, term.reads, strict=True):
        encoder = model.encoders[objective.modalities[read.view]]
        width = encoder.out_local_features if read.local else encoder.out_features
        if read.projected and term.outputs:
            width = model.projectors[objective.key(text)].out_features
        found.append(Sizes(pooled=encoder.out_features, local=encoder.out_local_features, embedding=width))
    return tuple(found)


def check_parts(objective: Objective, model: Model) -> None:
    """Check that the model has all that the terms read.

    Raises:
      UserError: a term reads local features that the encoder does not give, or needs a projector or a predictor that
        the config does not have.
    """
    for index, term in enumerate(objective.terms.values()):
        path = f"config.objective.{index}.between"
        for text, read in zip(term.between, term.reads, strict=True):
            key, modality = objective.key(text), objective.modalities[read.view]
            check(
                not read.local or model.encoders[modality].out_local_features > 0,
                f"{path}: {text!r} reads local features, and the encoder of {modality!r} gives none; read "
                f"{read.view!r}, or choose another config.encoders.{modality}.",
            )
            needed = ["projectors"] if term.outputs and read.projected else []
            needed += ["predictors"] if "prediction" in term.outputs else []
            for part in needed:
                has = sorted(getattr(model, part))
                listed = ", ".join(has) or "nothing"
                check(key in has, f"{path}: {text!r} needs {key!r} in config.{part}, which has {listed}; add it.")


def layers_of(model: Model, objective: Objective, key: str) -> Layers:
    """Return a term's own layers by name."""
    layers = objective.terms[key].layers
    return {name: model.heads[layer.name] if layer.name else model.heads[key][name] for name, layer in layers.items()}


def stateless_layers(model: Model, objective: Objective) -> dict[str, Layers]:
    """Return the layers without model state of the terms that look at partners, by term and name."""
    return {
        key: _Stateless({name: layer for name, layer in layers_of(model, objective, key).items() if not _state(layer)})
        for key, term in objective.terms.items()
        if term.each_pair
    }


def fuse_by(model: Model, objective: Objective, *, train: bool) -> Fuse:
    """Return what gives the stage `each_pair` the features of parts of different rows."""

    def fuse(view: str, parts: Mapping[str, Part], present: Bool[Array, "B"]) -> Features:
        modality = objective.modalities[view]
        if _state(model.encoders[modality]):
            raise ValueError(
                f"the fusion {modality!r} has model state, such as normalisation by the batch; pairs of rows need one "
                "without, such as 'concat_mlp'"
            )
        ordered = tuple(parts[text] for text in objective.parts[view])
        return model.encode(modality, ordered, train=train, present=present)

    return fuse


class _Stateless(dict[str, nnx.Module]):
    """Layers by name; those with model state are not among them."""

    def __missing__(self, name: str) -> nnx.Module:
        raise ValueError(
            f"{name!r} is no layer without model state of the term; layers with model state run in the stage each alone"
        )


def _state(layer: nnx.Module) -> bool:
    return bool(jax.tree.leaves(nnx.state(layer, nnx.Not(nnx.Param))))
