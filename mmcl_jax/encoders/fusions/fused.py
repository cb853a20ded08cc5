"""Fused views: the features of other views that a fusion combines."""

import dataclasses
from collections.abc import Iterable
from typing import Literal

from ml_collections import ConfigDict

from mmcl_jax.encoders.keys import parse_key
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.views import VIEWS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fused:
    """A view made of features: the encoder of `modality`, a fusion, combines the features that `of` names."""

    modality: str
    of: tuple[str, ...]
    absent: Literal["leave_out", "mask"] = "leave_out"


@VIEWS.register("fused")
def fused(
    *, of: tuple[str, ...] = (), modality: str = "fusion", absent: Literal["leave_out", "mask"] = "leave_out"
) -> Fused:
    """Return the view of a fusion: features of other views.

    Args:
      of: the parts, each `VIEW` for pooled or `VIEW.local` for local features of a view that is not fused itself.
      modality: the name of the fusion in `config.encoders`.
      absent: rows that lack a part: "leave_out", so that the view is of rows with all parts; or "mask", so that the
        tokens of that part are masked, as fusions document. The last part, whose tokens are the queries of
        `cross_attention`, must be there in either case. Matching takes rows with all parts alone.

    Raises:
      ValueError: `of` is empty, or a part is not of this form or named twice.

    Example:
      >>> fused(of=("image.local", "table"))
      Fused(modality='fusion', of=('image.local', 'table'), absent='leave_out')
    """
    if not of:
        raise ValueError("of must name the features to fuse, such as ('image.local', 'table')")
    for text in of:
        try:
            head = parse_key(text).head
        except UserError as error:
            raise ValueError(f"of: {text!r} is not VIEW or VIEW.local") from error
        if head:
            raise ValueError(f"of: features are fused before any head; write {text.split(':')[0]!r}, not {text!r}")
        if of.count(text) > 1:
            raise ValueError(f"of: {text!r} is named twice; remove one")
    return Fused(modality=modality, of=of, absent=absent)


def parts_of_views(views: ConfigDict) -> dict[str, tuple[str, ...]]:
    """Return the parts of every fused view in `config.views`, by its name."""
    return {name: tuple(spec.of) for name, spec in sorted(views.items()) if spec.name == "fused"}


def needed_of_views(views: ConfigDict) -> dict[str, tuple[str, ...]]:
    """Return the parts of every fused view in `config.views` that a row must have, by its name."""
    masked = {name for name, spec in views.items() if spec.get("absent", "leave_out") == "mask"}
    return {name: texts[-1:] if name in masked else texts for name, texts in parts_of_views(views).items()}


def inputs_of(views: ConfigDict, modality: str) -> tuple[str, ...]:
    """Return the inputs of an encoder: the modality itself, or the inputs of the parts of a fusion."""
    fusions = [texts for name, texts in parts_of_views(views).items() if views[name].modality == modality]
    return _inputs(views, (text for texts in fusions for text in texts)) or (modality,)


def needed_inputs(views: ConfigDict, modality: str) -> tuple[str, ...]:
    """Return the inputs that a row must have to be evaluated: those of the needed parts of a fusion's first view."""
    fusions = (texts for name, texts in needed_of_views(views).items() if views[name].modality == modality)
    return _inputs(views, next(fusions, ())) or (modality,)


def _inputs(views: ConfigDict, texts: Iterable[str]) -> tuple[str, ...]:
    """Return the inputs of parts, each once."""
    return tuple(dict.fromkeys(views[parse_key(text).modality].modality for text in texts))


def check_fused(config: ConfigDict) -> None:
    """Check the fused views of a config against its other views and its inputs.

    Raises:
      UserError: naming the key.
    """
    fusions = parts_of_views(config.views)
    features_of: dict[str, list[str]] = {}
    for name, texts in fusions.items():
        path, modality = f"config.views.{name}", VIEWS.build(config.views[name], f"config.views.{name}").modality
        check(
            modality not in config.inputs,
            f"{path}.modality: {modality!r} is one of config.inputs; give the fusion another name, such as 'fusion'.",
        )
        for text in texts:
            view = parse_key(text).modality
            others = [other for other in config.views if other not in fusions]
            known = ", ".join(others) or "no view of an input"
            check(view not in fusions, f"{path}.of: {view!r} is fused itself; name views of inputs, such as {known}.")
            check_name(view, others, f"{path}.of: there is no view", "config.views has")
        features = [text.replace(view := parse_key(text).modality, config.views[view].modality, 1) for text in texts]
        first = features_of.setdefault(modality, features)
        check(
            first == features,
            f"{path}.of: this view fuses {' and '.join(features)}, and another view of {modality!r} fuses "
            f"{' and '.join(first)}; give this view another modality, with an encoder of its own.",
        )
