"""The CLIP term: two modalities of the same sample attract."""

from mmcl_jax.objectives.base import TERMS, Term, check_term, learned_scale, scale_of
from mmcl_jax.objectives.pairs import Denominator, contrast
from mmcl_jax.objectives.stages import Loss, Whole
from mmcl_jax.objectives.terms.labels import Labels, pairing, targets_of


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
) -> Term:
    """Return a contrast between two views of a sample: `balance * first->second + (1 - balance) * second->first`.

    MMCL (Hager et al., CVPR 2023), equations 2 and 3, where `balance` is lambda. The equations leave the positive out
    of the denominator and sum over the batch; the released code keeps it in and takes the mean. Here the mean is taken,
    and `denominator` is "all" (the code's, and so the published numbers') or "negatives" (the equation's).

    Args:
      between: the two features.
      temperature: tau; 0.1 and fixed in MMCL.
      learn_temperature: learn it, from `temperature` on and not below 0.01, as CLIP does.
      weight: of this term in the objective.
      balance: weight of the direction first -> second, in [0, 1].
      denominator: see `pairs.contrast`.
      labels: see `label_rule`. MMCL's table 3 compares all three. In its released code, SupCon's second direction
        repeats the first, so that only image -> table is trained; here both are, as the paper means.
      target: the class label that `labels` is about; None for the store's first.
      background: see `classes`.

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
    """
    check_term(temperature=temperature, weight=weight)
    if not 0 <= balance <= 1:
        raise ValueError(f"balance must lie in [0, 1], not {balance}")

    def loss(given: Whole) -> Loss:
        first, second = given.embeddings
        rule, metadata = pairing(given, labels, target=target, background=background)
        losses = contrast(
            first,
            second,
            rule=rule,
            x_metadata=metadata,
            y_metadata=metadata,
            scale=scale_of(given.learned, temperature),
            denominator=denominator,
            execution=given.execution,
        )
        value = balance * losses.forward.mean() + (1 - balance) * losses.backward.mean()
        return Loss(value=value, metrics={"top1": losses.forward.accuracy(), "top1_back": losses.backward.accuracy()})

    return Term(
        name="clip",
        between=between,
        weight=weight,
        loss=loss,
        learned=learned_scale(temperature) if learn_temperature else {},
        targets=targets_of(labels, target),
    )
