"""From a batch to what the objective reads of it."""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array, Bool, Int, UInt32

from mmcl_jax.encoders import Features, Model
from mmcl_jax.encoders.fusions import Part, part_of
from mmcl_jax.objectives import Each, Objective, Outputs, Read
from mmcl_jax.training.state.model import layers_of
from mmcl_jax.views import View, Viewed
from mmcl_jax.views.randomness import example_keys


def forward(
    model: Model,
    teacher: Model | None,
    objective: Objective,
    *,
    views: Mapping[str, View],
    seen: Mapping[str, Viewed],
    batch: Mapping[str, Array],
    seed: UInt32[Array, ""],
    step: Int[Array, ""],
    train: bool = True,
) -> Outputs:
    """Return what the objective reads of every view; see `objectives.Outputs`.

    Args:
      model: the trained model.
      teacher: the target network, where a term reads it.
      objective: what is trained for.
      views: of inputs, by name.
      seen: what they gave.
      batch: the rows that they were given.
      seed: of the experiment.
      step: of training.
      train: whether normalisation layers use the batch, and adapt to it.
    """
    features: dict[str, Features] = {}
    taught: dict[str, Features] = {}
    made: dict[str, dict[str, Array]] = {kind: {} for kind in objective.reads}
    read_by_teacher = [_view(text) for text in objective.reads["teacher"]]
    read_by_teacher += [_view(part) for view in read_by_teacher for part in objective.parts.get(view, ())]
    for name in (*views, *objective.parts):  # a fused view last, as its parts are features
        present, modality = objective.present_with(batch, [name]), objective.modalities[name]
        keys = example_keys(seed, step, f"{name}/encoder", batch["id"], batch.get("occurrence"))
        given: dict[str, Any] = {"train": train, "present": present, "keys": keys}
        own = features[name] = model.encode(modality, _given(objective, name, seen, features), **given)
        reads = {kind: [text for text in texts if _view(text) == name] for kind, texts in objective.reads.items()}
        for text in reads["embedding"]:
            made["embedding"][text] = embedded(model, objective, text, own, present, train=train)
        for text in reads["prediction"]:
            mask = own.local_present(present) if Read.parse(text).local else present
            embedding = made["embedding"][text]
            made["prediction"][text] = model.predict(objective.key(text), embedding, train=train, present=mask)
        if name in read_by_teacher:
            assert teacher is not None
            taught[name] = teacher.encode(modality, _given(objective, name, seen, taught), **given)
            for text in reads["teacher"]:
                made["teacher"][text] = jax.lax.stop_gradient(
                    embedded(teacher, objective, text, taught[name], present, train=train)
                )
    return {
        **{kind: {text: made[kind][text] for text in texts} for kind, texts in objective.loss_reads.items()},
        "pooled": {name: jax.lax.stop_gradient(features[name].pooled) for name in objective.pooled},
        "each": {
            key: term.each(
                Each(
                    ids=batch["id"],
                    features=tuple(features[read.view] for read in term.reads),
                    **objective.outputs_of(key, made),
                    views=tuple(seen.get(read.view) for read in term.reads),
                    inputs=tuple(batch.get(objective.modalities[read.view]) for read in term.reads),
                    parts=tuple(_parts(objective, read.view, features) for read in term.reads),
                    targets=objective.targets_of(key, batch),
                    layers=layers_of(model, objective, key),
                    learned={name: model.learned[key][name][...] for name in term.learned},
                    keys=example_keys(seed, step, objective.stream(key), batch["id"], batch.get("occurrence")),
                    present=objective.present(key, batch),
                    train=train,
                )
            )
            for key, term in objective.terms.items()
            if term.each
        },
    }


def embedded(
    model: Model,
    objective: Objective,
    text: str,
    features: Features,
    present: Bool[Array, "B"] | None,
    *,
    train: bool = True,
) -> Array:
    """Return what a text names: features behind their projector, or the features themselves."""
    read = Read.parse(text)
    if read.projected:
        return model.project(objective.key(text), features, train=train, present=present)
    found = features.local if read.local else features.pooled
    assert found is not None
    return found


def _parts(objective: Objective, view: str, features: Mapping[str, Features]) -> dict[str, Part]:
    """Return the parts of a fused view by their texts; {} of another."""
    reads = {text: Read.parse(text) for text in objective.parts.get(view, ())}
    return {text: part_of(features[read.view], local=read.local) for text, read in reads.items()}


def _given(objective: Objective, view: str, seen: Mapping[str, Viewed], features: Mapping[str, Features]) -> Any:
    """Return what the encoder of a view is given: what it shows, or the parts that are fused."""
    return tuple(_parts(objective, view, features).values()) if view in objective.parts else seen[view].values


def _view(text: str) -> str:
    return Read.parse(text).view
