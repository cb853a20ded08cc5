"""The use of labels and groups in contrast: samples of one class, or of one person, repel, are left out, or attract."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from mmcl_jax.arrays import ArrayError
from mmcl_jax.objectives.pairs import PairRule, also, exclude, present, same
from mmcl_jax.objectives.stages import Whole

Labels = Literal["ignore", "eliminate", "attract"]
Group = Literal["repel", "ignore", "attract"]


def label_rule(labels: Labels) -> PairRule:
    """Return the pair rule for one use of labels.

    "ignore": the sample's own other view is the positive, and every other sample is a negative. "eliminate": other
    samples of the same class are excluded from the denominator (false-negative elimination; MMCL, section 3.3).
    "attract": other samples of the same class are positives, too (SupCon; Khosla et al., NeurIPS 2020).
    """
    if labels == "eliminate":
        return exclude(same("id"), "label")
    return same("label" if labels == "attract" else "id")


def group_rule(rule: PairRule, group: Group) -> PairRule:
    """Return the pair rule with one use of groups: of the samples of one person, such as the left and the right eye.

    "repel": another sample of the person is what the rule says, for `label_rule` a negative. "ignore": a pair of two
    samples of the person that are no positives enters no denominator. "attract": such pairs are positives, too.
    """
    if group == "repel":
        return rule
    return exclude(rule, "group") if group == "ignore" else also(rule, "group")


def targets_of(labels: Labels, target: str | None) -> tuple[str, ...]:
    """Return the names of the targets that the rule reads."""
    return () if labels == "ignore" else (target or "label",)


def pairing(
    batch: Whole,
    labels: Labels = "ignore",
    *,
    target: str | None = None,
    background: int | None = None,
    group: Group = "repel",
) -> tuple[PairRule, dict[str, Shaped[Array, "B"]]]:
    """Return the pair rule of a batch, and the metadata that it reads, which both sides share.

    A pair is valid only if both of its rows are present.

    Args:
      batch: the batch.
      labels: see `label_rule`.
      target: name of the class label; None for "label".
      background: see `classes`.
      group: see `group_rule`.

    Raises:
      ArrayError: groups are to be used, and the batch has none.
    """
    rule, metadata = group_rule(label_rule(labels), group), {"id": batch.ids}
    if group != "repel":
        if batch.groups is None:
            raise ArrayError(f"group={group!r} reads the person of each row; give groups=, int [rows].")
        metadata["group"] = batch.groups
    for name in targets_of(labels, target):
        metadata["label"] = classes(batch.targets[name], background)
    if batch.present is not None:
        rule, metadata["present"] = present(rule), batch.present
    return rule, metadata


def classes(label: Int[Array, "B"], background: int | None) -> Int[Array, "B"]:
    """Return the class of every row; each row without a label (a negative code) is a class of its own.

    So is each row of the class `background`, whose samples need not resemble each other: healthy people, for example,
    where the other classes are diseases. (MMCL's code does so for its binary targets.)
    """
    alone = jnp.iinfo(label.dtype).min + jnp.arange(len(label), dtype=label.dtype)
    shared = label >= 0 if background is None else (label >= 0) & (label != background)
    return jnp.where(shared, label, alone)
