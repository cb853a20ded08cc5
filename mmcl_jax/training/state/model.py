"""The trained model: encoders, projectors and predictors, and the layers and scalars of the objective's terms."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool
from ml_collections import ConfigDict

from mmcl_jax.data.inputs import InputSpec, specs_of
from mmcl_jax.data.schema import Schema
from mmcl_jax.encoders import Features, Model, build_model, view_specs
from mmcl_jax.encoders.fusions import Part, parts_of_views
from mmcl_jax.encoders.layers import BatchNorm
from mmcl_jax.encoders.transformers.bert import Bert
from mmcl_jax.errors import UserError, check
from mmcl_jax.objectives import LayerInput, Objective, Term, build_objective
from mmcl_jax.objectives.stages import Fuse, Layers, Sizes


def trained_model(
    config: ConfigDict, schema: Schema, inputs: Mapping[str, InputSpec] | None = None, *, rngs: nnx.Rngs
) -> Model:
    """Return the model of a config, with the layers of its terms.

    Args:
      config: the experiment.
      schema: describes the labels.
      inputs: the inputs of the experiment, by modality; by default as the schema describes them.
      rngs: random streams of the initial parameters.

    Raises:
      UserError: an option of a part is unknown, ill-typed or out of range, or parts do not fit together.
    """
    inputs = specs_of(config.inputs, schema) if inputs is None else inputs
    modalities = {name: view.modality for name, view in config.views.items()}
    parts = parts_of_views(config.views)
    objective = build_objective(config.objective, modalities, parts=parts, schema=schema, inputs=inputs)
    specs = view_specs(config, inputs)
    model = build_model(config, specs, rngs=rngs, learned=objective.learned)
    check_parts(objective, model)
    shapes = {modality: spec.shape for modality, spec in specs.items()}
    model.heads = nnx.Dict(_layers(config, objective, model, shapes, rngs))
    return model


def _layers(
    config: ConfigDict, objective: Objective, model: Model, shapes: Mapping[str, tuple[int, ...]], rngs: nnx.Rngs
) -> dict[str, Any]:
    """Return the layers of terms: shared layers by their own name, all others by term and name.

    Raises:
      UserError: naming the key: the features of a view do not fit a term's layer.
    """
    dtype = jnp.dtype(config.dtype)

    def norm(channels: int) -> BatchNorm:
        return BatchNorm(channels, dtype=dtype, **config.batch_norm)

    layers: dict[str, Any] = {}
    for index, (key, term) in enumerate(objective.terms.items()):
        sizes = _sizes(objective, term, model, shapes)
        layer_input = LayerInput(sizes=sizes, norm=norm, rngs=rngs, dtype=dtype)
        own: dict[str, nnx.Module] = {}
        for name, layer in term.layers.items():
            if layer.name in layers:
                continue
            group, own_name = (layers, layer.name) if layer.name else (own, name)
            try:
                group[own_name] = layer.build(layer_input)
            except ValueError as error:
                raise UserError(f"config.objective.{index}: {error}.") from error
        if own:
            layers[key] = nnx.Dict(own)
    return layers


def _sizes(objective: Objective, term: Term, model: Model, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Sizes, ...]:
    sizes = []
    for text, read in zip(term.between, term.reads, strict=True):
        modality = objective.modalities[read.view]
        encoder = model.encoders[modality]
        width = encoder.out_local_features if read.local else encoder.out_features
        if read.projected and term.outputs:
            width = model.projectors[objective.key(text)].out_features
        widths = {"pooled": encoder.out_features, "local": encoder.out_local_features, "embedding": width}
        sizes.append(Sizes(**widths, view=shapes.get(modality, ())))
    return tuple(sizes)


def check_parts(objective: Objective, model: Model) -> None:
    """Check that the model has the features, projectors and predictors that the terms read.

    Raises:
      UserError: a term reads local features of an encoder without them, or the config lacks a projector or predictor.
    """
    for index, term in enumerate(objective.terms.values()):
        path = f"config.objective.{index}.between"
        for text, read in zip(term.between, term.reads, strict=True):
            key, modality = objective.key(text), objective.modalities[read.view]
            check(
                not read.local or model.encoders[modality].out_local_features > 0,
                f"{path}: {text!r} reads local features, and the encoder of {modality!r} has none; read "
                f"{read.view!r}, or choose another config.encoders.{modality}.",
            )
            needed = ["projectors"] if term.outputs and read.projected else []
            needed += ["predictors"] if "prediction" in term.outputs else []
            for part in needed:
                keys = sorted(getattr(model, part))
                listed = ", ".join(keys) or "no keys"
                check(key in keys, f"{path}: {text!r} needs {key!r} in config.{part}, which has {listed}; add it.")


def cautions(objective: Objective, model: Model, rows: int) -> tuple[str, ...]:
    """Return what the terms say about a batch of so many rows, a sentence each.

    Raises:
      UserError: naming the key: the loss of a term has no meaning in such a batch.
    """
    sentences = []
    for index, (key, term) in enumerate(objective.terms.items()):
        if term.caution is None:
            continue
        try:
            sentence = term.caution(rows, [size.embedding for size in _sizes(objective, term, model, {})])
        except ValueError as error:
            raise UserError(f"config.objective.{index}: {error}.") from error
        if sentence:
            sentences.append(f"{objective.names[key]}: {sentence}")
    return tuple(sentences)


def sentence_cautions(model: Model, fitted: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[str, ...]:
    """Return a sentence for every encoder that has no vector for some sentences of training rows.

    Args:
      model: with its encoders.
      fitted: arrays of the training rows, by input; see `data.kinds.text.TokenCounts`.
    """
    said = []
    for name, encoder in model.encoders.items():
        rows = fitted.get(name, {}).get("rows_by_sentences", np.zeros(0, np.int32))
        if isinstance(encoder, Bert) and (more := int(rows[encoder.sentences + 1 :].sum())):
            said.append(
                f"config.encoders.{name}.sentences: {more:,} of {int(rows.sum()):,} training rows have more than "
                f"{encoder.sentences} sentences, up to {len(rows) - 1}; sentences after these have no vector of their "
                "own, and enter the pooled feature alone"
            )
    return tuple(said)


def length_cautions(views: ConfigDict, fitted: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[str, ...]:
    """Return a sentence for every view `report` that cuts some training rows.

    Args:
      views: of the experiment.
      fitted: arrays of the training rows, by input; see `data.kinds.text.TokenCounts`.
    """
    said = []
    for name, view in views.items():
        rows = fitted.get(view.get("modality", ""), {}).get("rows_by_tokens", np.zeros(0, np.int32))
        if view.name == "report":
            room = view.max_tokens - 2 * view.special_tokens
            if more := int(rows[room + 1 :].sum()):
                said.append(
                    f"config.views.{name}.max_tokens: {more:,} of {int(rows.sum()):,} training rows have more than "
                    f"{room} tokens, up to {len(rows) - 1}; sentences that do not fit are left out"
                )
    return tuple(said)


def layers_of(model: Model, objective: Objective, key: str) -> Layers:
    """Return the layers of a term by name, shared layers included."""
    layers = objective.terms[key].layers
    return {name: model.heads[layer.name] if layer.name else model.heads[key][name] for name, layer in layers.items()}


def stateless_layers(model: Model, objective: Objective) -> dict[str, Layers]:
    """Return the layers without model state of the terms with a stage `each_pair`, by term and name."""
    return {
        key: _Stateless({name: layer for name, layer in layers_of(model, objective, key).items() if not _state(layer)})
        for key, term in objective.terms.items()
        if term.each_pair
    }


def fuse_by(model: Model, objective: Objective, *, train: bool) -> Fuse:
    """Return the function by which the stage `each_pair` fuses parts of different rows."""

    def fuse(view: str, parts: Mapping[str, Part], present: Bool[Array, "B"]) -> Features:
        modality = objective.modalities[view]
        if _state(model.encoders[modality]):
            raise ValueError(
                f"the fusion {modality!r} has model state, such as normalisation by the batch; pairs of rows need a "
                "fusion without model state, such as 'concat_mlp'"
            )
        ordered = tuple(parts[text] for text in objective.parts[view])
        return model.encode(modality, ordered, train=train, present=present)

    return fuse


class _Stateless(dict[str, nnx.Module]):
    """Layers without model state, by name."""

    def __missing__(self, name: str) -> nnx.Module:
        raise ValueError(
            f"the term has no layer {name!r} without model state; layers with model state run in the stage `each` alone"
        )


def _state(layer: nnx.Module) -> bool:
    return bool(jax.tree.leaves(nnx.state(layer, nnx.Not(nnx.Param))))
