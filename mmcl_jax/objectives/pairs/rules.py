"""Pair rules: which pairs are positives, and which count at all.

A rule sees the metadata of a tile of pairs, never how the pairs are walked, so no rule needs an array of all pairs.
Rules compose: `present(without(same("id"), "person"))`.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

Metadata = Mapping[str, Shaped[Array, "..."]]
# (metadata of the rows, as [A, 1]; of the columns, as [1, B]) -> (positive, counted), both broadcast to [A, B].
PairRule = Callable[[Metadata, Metadata], tuple[Bool[Array, "A B"], Bool[Array, "A B"]]]


def same(key: str) -> PairRule:
    """Pairs that agree in `key` are positives, and every pair counts.

    `same("id")` is CLIP's and MMCL's rule, `same("label")` SupCon's (Khosla et al., NeurIPS 2020).
    """

    def rule(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        positive = rows[key] == columns[key]
        return positive, jnp.ones_like(positive)

    return rule


def without(rule: PairRule, key: str) -> PairRule:
    """Pairs that agree in `key` and are not positives do not count.

    `without(same("id"), "label")` is false-negative elimination (MMCL, section 3.3); with "person", two items of one
    person, such as the left and the right eye, do not repel each other.
    """

    def narrowed(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        positive, counted = rule(rows, columns)
        return positive, counted & (positive | (rows[key] != columns[key]))

    return narrowed


def present(rule: PairRule, key: str = "present") -> PairRule:
    """Only pairs count of which both sides are present (ContIG's "outer" cohort: a modality may be missing)."""

    def narrowed(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        positive, counted = rule(rows, columns)
        both = rows[key] & columns[key]
        return positive & both, counted & both

    return narrowed


def others(rule: PairRule, key: str = "place") -> PairRule:
    """An anchor is not compared with itself: for views contrasted among themselves, as in SimCLR."""

    def narrowed(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        positive, counted = rule(rows, columns)
        other = rows[key] != columns[key]
        return positive & other, counted & other

    return narrowed
