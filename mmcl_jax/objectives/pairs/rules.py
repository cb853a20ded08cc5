"""Pair rules: which pairs are positives, and which are valid, that is, enter the loss at all.

A rule reads the metadata of a tile of pairs, so no rule needs an array of all pairs. Rules compose:
`within(exclude(identity(), "person"), size=32)`. A rule of your own is a function, too:

    def older(rows, columns):  # a sample repels only samples of younger people
        positive = rows["id"] == columns["id"]
        return positive, positive | (rows["age"] > columns["age"])

The arrays of the rows have the shape `[A, 1]` and those of the columns `[1, B]`. The metadata `id` and `index` are the
index in the batch unless they are given, where both sides are of the same samples. Absent rows are the argument
`present` of `contrast`, and no rule needs to handle them.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmcl_jax.arrays import zero_absent

Metadata = Mapping[str, Shaped[Array, "..."]]
# (metadata of the rows, as [A, 1]; of the columns, as [1, B]) -> (positive, valid), both broadcast to [A, B].
PairRule = Callable[[Metadata, Metadata], tuple[Bool[Array, "A B"], Bool[Array, "A B"]]]


def identity() -> PairRule:
    """Make a sample's own pair the positive and every other sample a negative: the rule of CLIP and of MMCL.

    The metadata `id` decide which pair is a sample's own; by default row i belongs to column i.
    """
    return same("id")


def same(key: str, missing: int | None = None) -> PairRule:
    """Make pairs that agree in `key` positives; every pair is valid.

    `same("id")` is CLIP's and MMCL's rule, `same("label")` SupCon's (Khosla et al., NeurIPS 2020). The value `missing`
    agrees with nothing, not even with itself, so rows without a label are no class.
    """

    def rule(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        positive = _agree(rows, columns, key, missing)
        return positive, jnp.ones_like(positive)

    return rule


def also(rule: PairRule, key: str, missing: int | None = None) -> PairRule:
    """Make valid pairs that agree in `key` positives, too.

    `also(same("id"), "label", missing=-1)` is SupCon's rule where some labels are missing: the positives of a row
    without a label are the views of its own sample. `missing` is as in `same`.
    """

    def widened(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        positive, valid = rule(rows, columns)
        return positive | (valid & _agree(rows, columns, key, missing)), valid

    return _Composed(widened, _presence(rule))


def exclude(rule: PairRule, key: str, missing: int | None = None) -> PairRule:
    """Exclude pairs that agree in `key` and are not positives.

    `exclude(same("id"), "label")` is false-negative elimination (MMCL, section 3.3); with "person", two items of one
    person, such as the left and the right eye, do not repel each other. `missing` is as in `same`: a row without a
    label repels all others.
    """

    def narrowed(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        positive, valid = rule(rows, columns)
        return positive, valid & (positive | ~_agree(rows, columns, key, missing))

    return _Composed(narrowed, _presence(rule))


def within(rule: PairRule, key: str = "index", size: int = 1) -> PairRule:
    """Exclude pairs whose sides lie in different slices of the batch, that is, whose `key // size` differs.

    `within(rule, size=32)` contrasts a batch in slices of 32 consecutive samples, as LoVT's code does, which
    accumulates gradients over 16 batches of 32. `index` is the sample's index in the whole batch, so the slices are the
    same on any number of devices. `within(rule, "group")` takes the slices from the metadata.

    Raises:
      ValueError: the size is less than 1.
    """
    if size < 1:
        raise ValueError(f"a slice has at least 1 sample, not {size}")

    def narrowed(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        positive, valid = rule(rows, columns)
        inside = rows[key] // size == columns[key] // size
        return positive & inside, valid & inside

    return _Composed(narrowed, _presence(rule))


def present(rule: PairRule, key: str = "present") -> PairRule:
    """Exclude pairs with an absent side (ContIG's "outer" cohort: a modality may be missing).

    Give both sides the same array `[B]`: True where a sample has every modality that the loss compares. Presence per
    side is wrong in the backward direction: an image without a table has no loss of its own, as it has no positive, but
    it would stay a negative of every table. (Two such images beside the four of ContIG's golden values raise the
    backward loss from 5.287 to 6.690.)

    Absent rows may hold anything, NaN included: zeros take their place, and their gradients are exactly 0. This holds
    for this rule and for the rules of this module that wrap it; a function of your own around it hides it from the
    kernel. The argument `present` of `contrast` works with every rule.
    """

    def narrowed(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        positive, valid = rule(rows, columns)
        both = rows[key] & columns[key]
        return positive & both, valid & both

    return _Composed(narrowed, (*_presence(rule), key))


def exclude_self(rule: PairRule, key: str = "index") -> PairRule:
    """Exclude the pair of an anchor with itself, where views are contrasted among themselves, as in SimCLR."""

    def narrowed(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        positive, valid = rule(rows, columns)
        different = rows[key] != columns[key]
        return positive & different, valid & different

    return _Composed(narrowed, _presence(rule))


def zero_absent_rows(x: Float[Array, "n *d"], rule: PairRule, metadata: Metadata) -> Float[Array, "n *d"]:
    """Return `x` with zeros in the rows that the rule's `present` marks as absent.

    None of their pairs is valid, but 0 times NaN is NaN: in the products of the gradients they must be numbers.
    """
    for key in _presence(rule):
        x = zero_absent(x, metadata[key])
    return x


@dataclasses.dataclass(frozen=True)
class _Composed:
    """A rule that wraps another one, and the names of the metadata that mark rows as present."""

    pairs: PairRule
    presence: tuple[str, ...]

    def __call__(self, rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
        return self.pairs(rows, columns)


def _presence(rule: PairRule) -> tuple[str, ...]:
    return rule.presence if isinstance(rule, _Composed) else ()


def _agree(rows: Metadata, columns: Metadata, key: str, missing: int | None) -> Bool[Array, "A B"]:
    agree = rows[key] == columns[key]
    return agree if missing is None else agree & (rows[key] != missing)
