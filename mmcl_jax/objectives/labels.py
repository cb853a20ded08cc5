"""What contrast does with labels, where there are some: ignore them, eliminate false negatives, or attract classes."""

from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Shaped

from mmcl_jax.objectives.pairs import PairRule, same, without

Labels = Literal["ignore", "eliminate", "attract"]


def label_rule(labels: Labels) -> PairRule:
    """The pair rule.

    "ignore": a sample's own other view is its positive, and every other sample a negative. "eliminate": other samples
    of its class are left out of the denominator (false-negative elimination; MMCL, section 3.3). "attract": they are
    positives, too (SupCon; Khosla et al., NeurIPS 2020).
    """
    if labels == "eliminate":
        return without(same("id"), "label")
    return same("label" if labels == "attract" else "id")


def needs(labels: Labels) -> tuple[str, ...]:
    """The entries of the batch that the rule reads, beside `id`."""
    return () if labels == "ignore" else ("label",)


def pair_metadata(batch: Mapping[str, Array], labels: Labels, background: int | None) -> dict[str, Shaped[Array, "B"]]:
    """`id` and, if it is used, `label` of every sample.

    Rows of the class `background` have labels of their own: they have nothing in common, such as the healthy of whom
    only the ill are told apart. (MMCL's code does so for its binary targets.)
    """
    if labels == "ignore":
        return {"id": batch["id"]}
    label = batch["label"]
    if background is not None:
        alone = jnp.iinfo(label.dtype).min + jnp.arange(len(label), dtype=label.dtype)
        label = jnp.where(label == background, alone, label)
    return {"id": batch["id"], "label": label}
