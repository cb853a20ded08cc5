"""The CLIP term: two modalities of the same sample attract."""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Int

from mmcl_jax.arrays import ArrayError
from mmcl_jax.objectives.base import LARGEST_LOG_SCALE, TERMS, Term, check_term, learned_scale, scale_of
from mmcl_jax.objectives.pairs import AnchorLosses, Denominator, contrast, exclude
from mmcl_jax.objectives.pairs import within as slices_of
from mmcl_jax.objectives.stages import Each, Loss, Whole
from mmcl_jax.objectives.terms.labels import Group, Labels, pairing, targets_of
from mmcl_jax.views.text import text_hash

Text = Literal["repel", "ignore"]
Reduction = Literal["mean", "sum"]


@TERMS.register("clip")
def clip(
    *,
    between: tuple[str, str] = ("image", "table"),
    temperature: float = 0.1,
    learn_temperature: bool = False,
    weight: float = 1.0,
    balance: float = 0.5,
    denominator: Denominator = "all",
    labels: Labels = "ignore",
    target: str | None = None,
    background: int | None = None,
    group: Group = "repel",
    text: Text = "repel",
    within: int | None = None,
    reduction: Reduction = "mean",
) -> Term:
    """Return a contrast between two views of a sample: `balance * first->second + (1 - balance) * second->first`.

    MMCL (Hager et al., CVPR 2023), equations 2 and 3, and ContIG (Taleb et al., CVPR 2022), equation 1, where `balance`
    is lambda (0.75 in ContIG's code). The equations leave the positive out of the denominator and sum over the batch.
    The released code of both, which the published numbers come from, keeps the positive and takes the mean: the
    defaults of `denominator` and `reduction`.

    A row that lacks a modality is in no pair. Where a single row is left the loss is 0, and where none is the term
    counts nothing.

    Args:
      between: the two features.
      temperature: tau; 0.1 and fixed in MMCL.
      learn_temperature: learn the temperature, starting from `temperature` and never below 0.01, as CLIP does.
      weight: factor of this term in the objective.
      balance: weight of the direction first -> second, in [0, 1].
      denominator: "all" (the code) or "negatives" (the equations); see `pairs.contrast`.
      labels: use of class labels, see `label_rule`. MMCL's table 3 compares all three uses. In its released code,
        SupCon's second direction repeats the first, so only image -> table is trained; here both directions are, as in
        the paper.
      target: name of the class label; None for the store's first.
      background: see `classes`.
      group: use of other samples of the same person, the store's `group`: they "repel" as any other sample does
        (ContIG's code, for both eyes of a person), are left out of the denominator ("ignore"), or "attract"; see
        `group_rule`.
      text: use of other samples with the same text, such as identical reports, where one of the two views is of a text:
        they "repel" as any other sample does, or are left out of the denominator ("ignore"); texts are compared as they
        are stored, by `views.text.text_hash`.
      within: contrast each sample within its slice of so many consecutive samples of the batch, on any number of
        devices; None for the whole batch. LoVT's code accumulates gradients over 16 batches of 32 samples, whose
        negatives are the 31 others: `within=32` in a batch of 512.
      reduction: over the rows of a batch, "mean" (the code) or "sum" (the equations).

    Raises:
      ValueError: a number is out of range.
      ArrayError: (a `UserError`, when the term is called) with `text="ignore"`, neither input is a text.

    Example:
      >>> import jax.numpy as jnp
      >>> images, tables = jnp.eye(4), jnp.eye(4)
      >>> round(float(clip(temperature=0.5)(images, tables)), 4)
      0.3408
      >>> float(clip(temperature=0.5).with_metrics(images, tables).metrics["top1"])
      1.0
      >>> labels = jnp.array([0, 0, 1, -1])
      >>> round(float(clip(temperature=0.5, labels="eliminate")(images, tables, labels=labels)), 4)
      0.2901
      >>> eyes = jnp.array([7, 7, 8, 8])  # two samples of each of two people
      >>> round(float(clip(temperature=0.5, group="ignore")(images, tables, groups=eyes)), 4)
      0.2395
      >>> round(float(clip(temperature=0.5, within=2)(images, tables)), 4)
      0.1269
      >>> round(float(clip(temperature=0.5, reduction="sum")(images, tables)), 4)
      1.363
    """
    check_term(temperature=temperature, weight=weight)
    if not 0 <= balance <= 1:
        raise ValueError(f"balance must lie in [0, 1], not {balance}")
    if within is not None and within < 2:
        raise ValueError(f"within must be at least 2 samples, not {within}")

    def with_text(rows: Each) -> dict[str, Any]:
        return {"embeddings": rows.embeddings, "text": _text_of(rows, between)}

    def loss(batch: Whole) -> Loss:
        first, second = batch.embeddings if text == "repel" else batch.each["embeddings"]
        rule, metadata = pairing(batch, labels, target=target, background=background, group=group)
        if text == "ignore":
            rule, metadata["text"] = exclude(rule, "text"), batch.each["text"]
        if within is not None:
            rule = slices_of(rule, size=within)
        losses = contrast(
            first,
            second,
            rule=rule,
            x_metadata=metadata,
            y_metadata=metadata,
            scale=scale_of(batch.learned, temperature),
            denominator=denominator,
            execution=batch.execution,
        )
        one = AnchorLosses.mean if reduction == "mean" else AnchorLosses.sum
        value = balance * one(losses.forward) + (1 - balance) * one(losses.backward)
        return Loss(value=value, metrics={"top1": losses.forward.accuracy(), "top1_back": losses.backward.accuracy()})

    return Term(
        name="clip",
        between=between,
        weight=weight,
        each=with_text if text == "ignore" else None,
        loss=loss,
        learned=learned_scale(temperature) if learn_temperature else {},
        bounds={"log_scale": LARGEST_LOG_SCALE} if learn_temperature else {},
        targets=targets_of(labels, target),
        groups=group != "repel",
        caution=None if within is None else functools.partial(_of_slices, within),
    )


def _text_of(rows: Each, between: tuple[str, str]) -> Int[Array, "B"]:
    """Return the hash of the stored text of every row."""
    for given in rows.inputs:
        if given is not None and given.ndim == 3 and given.shape[2] == 2 and jnp.issubdtype(given.dtype, jnp.integer):
            return text_hash(given)
    raise ArrayError(
        f"clip compares {between[0]} with {between[1]}, and text='ignore' needs an input that is a text; leave it out."
    )


def _of_slices(size: int, rows: int, widths: Sequence[int]) -> str:
    """Return a sentence for the log if the slices do not divide the batch."""
    del widths
    return (
        f"clip contrasts within slices of {size} rows, and the last slice of a batch of {rows} has {rows % size}"
        if rows % size
        else ""
    )
