"""From views to what the objective reads of them."""

from collections.abc import Mapping, Sequence

import jax
from jaxtyping import Array

from mmcl_jax.encoders import Model
from mmcl_jax.objectives import Objective, Outputs
from mmcl_jax.views import View, Viewed


def forward(
    model: Model,
    teacher: Model | None,
    *,
    views: Mapping[str, View],
    seen: Mapping[str, Viewed],
    reads: Mapping[str, Sequence[str]],
    heads: Mapping[str, Mapping[str, int]],
) -> Outputs:
    """The outputs that the objective reads, of every view, in training mode; see `objectives.Term`.

    Beside those there are the features ("pooled") of views that no term reads an embedding of, for the log.

    Args:
      model: the trained one.
      teacher: the target network, where a term reads it.
      views: by name.
      seen: what they gave.
      reads: views by kind of output.
      heads: sizes by term and view; only the names are used.
    """
    outputs: dict[str, dict[str, Array]] = {kind: {} for kind in reads}
    for name, view in views.items():
        features = model.encode(view.modality, seen[name].values, train=True)
        if name in reads.get("embedding", ()) or name in reads.get("prediction", ()):
            embedding = model.project(view.modality, features, train=True)
            outputs.setdefault("embedding", {})[name] = embedding
            if name in reads.get("prediction", ()):
                outputs["prediction"][name] = model.predict(view.modality, embedding, train=True)
        else:
            outputs.setdefault("pooled", {})[name] = jax.lax.stop_gradient(features.pooled)
        if name in reads.get("target", ()):
            assert teacher is not None
            target = teacher.project(
                view.modality, teacher.encode(view.modality, seen[name].values, train=True), train=True
            )
            outputs["target"][name] = jax.lax.stop_gradient(target)
        if name in reads.get("view", ()):
            outputs["view"][name] = seen[name].values
        for term, layers in heads.items():
            if name in layers:
                outputs["head"][f"{term}/{name}"] = model.heads[term][name](features.pooled)
    return outputs


def check_parts(objective: Objective, views: Mapping[str, View], has: Mapping[str, Sequence[str]]) -> str | None:
    """What is missing: a sentence on the first view whose modality lacks a part that a term reads, or None.

    `has` gives the modalities that have a "projectors" or "predictors" part.
    """
    needed = {"embedding": ("projectors",), "prediction": ("projectors", "predictors"), "target": ("projectors",)}
    for kind, names in objective.reads.items():
        for name in names:
            for part in needed.get(kind, ()):
                modality = views[name].modality
                if modality not in has[part]:
                    return f"config.views.{name}.modality: there is no {modality!r} in config.{part}."
    return None
