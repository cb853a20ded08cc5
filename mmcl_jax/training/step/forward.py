"""The forward pass: from a batch and its views to the outputs that the objective reads."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array, Bool, Int, Key, UInt32

from mmcl_jax.encoders import Features, Model
from mmcl_jax.encoders.fusions import Part, part_of
from mmcl_jax.objectives import Each, Objective, Outputs, Read
from mmcl_jax.training.state.model import layers_of
from mmcl_jax.views import Viewed
from mmcl_jax.views.randomness import example_keys


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewedBatch:
    """A batch with its views, and the seed and the step that its random draws depend on.

    Attributes:
      rows: the batch; see `views.apply_views`.
      views: the views of inputs, by name.
      seed: of the experiment.
      step: of training.
    """

    rows: Mapping[str, Array]
    views: Mapping[str, Viewed]
    seed: UInt32[Array, ""]
    step: Int[Array, ""]

    def keys(self, stream: str) -> Key[Array, "B"]:
        """Return a random key per row for the draws of this name."""
        return example_keys(self.seed, self.step, stream, self.rows["id"], self.rows.get("occurrence"))


def forward(
    model: Model,
    teacher: Model | None,
    objective: Objective,
    batch: ViewedBatch,
    *,
    train: bool = True,
    known: Mapping[str, Features] | None = None,
) -> Outputs:
    """Return the outputs of the model that the objective reads; see `objectives.Outputs`.

    Args:
      model: the trained model.
      teacher: the target network, if a term reads it.
      objective: the objective, which names the outputs.
      batch: the rows and their views.
      train: whether normalisation layers use the batch, and update their statistics.
      known: features of views that need not be encoded, by view, such as those that explanations differentiate.
    """
    features: dict[str, Features] = dict(known or {})
    teacher_features: dict[str, Features] = {}
    outputs: dict[str, dict[str, Array]] = {kind: {} for kind in objective.reads}
    teacher_views = [_view(text) for text in objective.reads["teacher"]]
    teacher_views += [_view(part) for view in teacher_views for part in objective.parts.get(view, ())]
    for name in (*batch.views, *objective.parts):  # fused views last, as their parts are features
        present, modality = objective.present_with(batch.rows, [name]), objective.modalities[name]
        options: dict[str, Any] = {"train": train, "present": present, "keys": batch.keys(f"{name}/encoder")}
        if name not in features:
            with jax.named_scope(f"encoder.{modality}"):
                features[name] = model.encode(modality, _encoder_input(objective, name, batch, features), **options)
        reads = {kind: [text for text in texts if _view(text) == name] for kind, texts in objective.reads.items()}
        for text in reads["embedding"]:
            outputs["embedding"][text] = embedded(model, objective, text, features[name], present, train=train)
        for text in reads["prediction"]:
            mask = features[name].local_present(present) if Read.parse(text).local else present
            embedding = outputs["embedding"][text]
            with jax.named_scope(f"predictor.{objective.key(text)}"):
                outputs["prediction"][text] = model.predict(objective.key(text), embedding, train=train, present=mask)
        if name in teacher_views:
            assert teacher is not None
            view = _encoder_input(objective, name, batch, teacher_features)
            with jax.named_scope(f"target.{modality}"):
                teacher_features[name] = teacher.encode(modality, view, **options)
            for text in reads["teacher"]:
                outputs["teacher"][text] = jax.lax.stop_gradient(
                    embedded(teacher, objective, text, teacher_features[name], present, train=train)
                )
    return {
        **{kind: {text: outputs[kind][text] for text in texts} for kind, texts in objective.loss_reads.items()},
        "pooled": {name: jax.lax.stop_gradient(features[name].pooled) for name in objective.pooled},
        "each": {
            key: jax.named_scope(objective.scope(key))(term.each)(
                Each(
                    ids=batch.rows["id"],
                    features=tuple(features[read.view] for read in term.reads),
                    **objective.outputs_of(key, outputs),
                    views=tuple(batch.views.get(read.view) for read in term.reads),
                    inputs=tuple(batch.rows.get(objective.modalities[read.view]) for read in term.reads),
                    parts=tuple(_parts(objective, read.view, batch, features) for read in term.reads),
                    targets=objective.targets_of(key, batch.rows),
                    layers=layers_of(model, objective, key),
                    learned={name: model.learned[key][name][...] for name in term.learned},
                    keys=batch.keys(objective.stream(key)),
                    present=objective.present(key, batch.rows),
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
    """Return the features that a text names, projected if it names a projector."""
    read = Read.parse(text)
    if read.projected:
        with jax.named_scope(f"projector.{objective.key(text)}"):
            return model.project(objective.key(text), features, train=train, present=present)
    selected = features.local if read.local else features.pooled
    assert selected is not None
    return selected


def _parts(objective: Objective, view: str, batch: ViewedBatch, features: Mapping[str, Features]) -> dict[str, Part]:
    """Return the parts of a fused view by their texts; {} for any other view. Parts that rows may lack are masked."""
    parts = {}
    for text in objective.parts.get(view, ()):
        read = Read.parse(text)
        present = None if text in objective.needed[view] else objective.present_with(batch.rows, [read.view])
        parts[text] = part_of(features[read.view], local=read.local, present=present)
    return parts


def _encoder_input(objective: Objective, view: str, batch: ViewedBatch, features: Mapping[str, Features]) -> Any:
    """Return the input of the encoder of a view: the values of the view, or the parts of a fused view."""
    if view not in objective.parts:
        return batch.views[view].values
    return tuple(_parts(objective, view, batch, features).values())


def _view(text: str) -> str:
    return Read.parse(text).view
