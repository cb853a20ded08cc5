"""What contrast does with labels, where there are some: ignore them, eliminate false negatives, or attract classes."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from mmcl_jax.objectives.pairs import PairRule, exclude, present, same
from mmcl_jax.objectives.stages import Whole

Labels = Literal["ignore", "eliminate", "attract"]


def label_rule(labels: Labels) -> PairRule:
    """Return the pair rule.

    "ignore": a sample's own other view is its positive, and every other sample a negative. "eliminate": other samples
    of its class are left out of the denominator (false-negative elimination; MMCL, section 3.3). "attract": they are
    positives, too (SupCon; Khosla et al., NeurIPS 2020).
    """
    if labels == "eliminate":
        return exclude(same("id"), "label")
    return same("label" if labels == "attract" else "id")


def targets_of(labels: Labels, target: str | None) -> tuple[str, ...]:
    """Return the names of the targets that the rule reads."""
    return () if labels == "ignore" else (target or "label",)


def pairing(
    given: Whole, labels: Labels = "ignore", *, target: str | None = None, background: int | None = None
) -> tuple[PairRule, dict[str, Shaped[Array, "B"]]]:
    """Return the rule of the pairs of a batch, and the metadata that it reads, which is that of both sides.

    A pair counts only where both of its rows are present.

    Args:
      given: the batch.
      labels: see `label_rule`.
      target: name of the class label; None for "label".
      background: see `classes`.
    """
    rule, metadata = label_rule(labels), {"id": given.ids}
    for name in targets_of(labels, target):
        metadata["label"] = classes(given.targets[name], background)
    if given.present is not None:
        rule, metadata["present"] = present(rule), given.present
    return rule, metadata


def classes(label: Int[Array, "B"], background: int | None) -> Int[Array, "B"]:
    """Return the class of every row, where rows without a label, which is below 0, have classes of their own.

    So have rows of the class `background`: they have nothing in common, such as the healthy of whom only the ill are
    told apart. (MMCL's code does so for its binary targets.)
    """
    alone = jnp.iinfo(label.dtype).min + jnp.arange(len(label), dtype=label.dtype)
    shared = label >= 0 if background is None else (label >= 0) & (label != background)
    return jnp.where(shared, label, alone)
