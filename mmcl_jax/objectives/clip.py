"""The CLIP term: two modalities of the same sample attract."""

from collections.abc import Mapping

from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Learned, Metrics, Term, check_term, learned_scale, scale_of
from mmcl_jax.objectives.labels import Labels, label_rule, needs, pair_metadata
from mmcl_jax.objectives.pairs import Denominator, Execution, contrast


@TERMS.register("clip")
def clip(
    *,
    execution: Execution,
    between: tuple[str, str] = ("image", "table"),
    temperature: float = 0.1,
    learn_temperature: bool = False,
    weight: float = 1.0,
    balance: float = 0.5,
    denominator: Denominator = "all",
    labels: Labels = "ignore",
    background: int | None = None,
) -> Term:
    """Contrast between two views of each sample: `balance * first->second + (1 - balance) * second->first`.

    MMCL (Hager et al., CVPR 2023), equations 2 and 3, where `balance` is lambda. The equations leave the positive out
    of the denominator and sum over the batch; the released code keeps it in and takes the mean. Here the mean is taken,
    and `denominator` is "all" (the code's, and so the published numbers') or "negatives" (the equation's).

    Args:
      execution: how the pairs are walked.
      between: the two views.
      temperature: tau; 0.1 and fixed in MMCL.
      learn_temperature: learn it, from `temperature` on and not below 0.01, as CLIP does.
      weight: of this term in the objective.
      balance: weight of the direction first -> second, in [0, 1].
      denominator: see `pairs.contrast`.
      labels: see `label_rule`. MMCL's table 3 compares all three. In its released code, SupCon's second direction
        repeats the first, so that only image -> table is trained; here both are, as the paper means.
      background: see `pair_metadata`.

    Raises:
      ValueError: a number is out of range.
    """
    check_term(temperature=temperature, weight=weight)
    if not 0 <= balance <= 1:
        raise ValueError(f"balance must lie in [0, 1], not {balance}")

    def loss(
        first: Float[Array, "B d"], second: Float[Array, "B d"], batch: Mapping[str, Array], learned: Learned
    ) -> tuple[Float[Array, ""], Metrics]:
        metadata = pair_metadata(batch, labels, background)
        losses = contrast(
            first,
            second,
            rule=label_rule(labels),
            x_metadata=metadata,
            y_metadata=metadata,
            scale=scale_of(learned, temperature),
            denominator=denominator,
            execution=execution,
        )
        value = balance * losses.forward.mean() + (1 - balance) * losses.backward.mean()
        return value, {"top1": losses.forward.accuracy(), "top1_back": losses.backward.accuracy()}

    learned = learned_scale(temperature) if learn_temperature else {}
    return Term(name="clip", between=between, weight=weight, loss=loss, learned=learned, needs=needs(labels))
