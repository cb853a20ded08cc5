"""The CLIP term: two modalities of the same sample attract."""

from typing import Literal

from mmcl_jax.objectives.base import LARGEST_LOG_SCALE, TERMS, Term, check_term, learned_scale, scale_of
from mmcl_jax.objectives.pairs import AnchorLosses, Denominator, contrast
from mmcl_jax.objectives.stages import Loss, Whole
from mmcl_jax.objectives.terms.labels import Group, Labels, pairing, targets_of

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
      reduction: over the rows of a batch, "mean" (the code) or "sum" (the equations).

    Raises:
      ValueError: a number is out of range.

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
      >>> round(float(clip(temperature=0.5, reduction="sum")(images, tables)), 4)
      1.363
    """
    check_term(temperature=temperature, weight=weight)
    if not 0 <= balance <= 1:
        raise ValueError(f"balance must lie in [0, 1], not {balance}")

    def loss(batch: Whole) -> Loss:
        first, second = batch.embeddings
        rule, metadata = pairing(batch, labels, target=target, background=background, group=group)
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
        loss=loss,
        learned=learned_scale(temperature) if learn_temperature else {},
        bounds={"log_scale": LARGEST_LOG_SCALE} if learn_temperature else {},
        targets=targets_of(labels, target),
        groups=group != "repel",
    )
