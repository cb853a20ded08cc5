"""The CLIP term: two modalities of the same sample attract."""

from collections.abc import Mapping

from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Metrics, Term, check_term
from mmcl_jax.objectives.pairs import Denominator, contrast, same_id


@TERMS.register("clip")
def clip(
    *,
    between: tuple[str, str] = ("image", "table"),
    temperature: float = 0.1,
    weight: float = 1.0,
    balance: float = 0.5,
    denominator: Denominator = "all",
) -> Term:
    """Contrast between two views of each sample: `balance * first->second + (1 - balance) * second->first`.

    MMCL (Hager et al., CVPR 2023), equations 2 and 3, where `balance` is lambda. The equations leave the positive out
    of the denominator and sum over the batch; the released code keeps it in and takes the mean. Here the mean is taken,
    and `denominator` is "all" (the code's, and so the published numbers') or "negatives" (the equation's).

    Args:
      between: the two views.
      temperature: tau; 0.1 in MMCL, not learned.
      weight: of this term in the objective.
      balance: weight of the direction first -> second, in [0, 1].
      denominator: see `pairs.contrast`.

    Raises:
      ValueError: a number is out of range.
    """
    check_term(temperature=temperature, weight=weight)
    if not 0 <= balance <= 1:
        raise ValueError(f"balance must lie in [0, 1], not {balance}")

    def loss(
        first: Float[Array, "B d"], second: Float[Array, "B d"], batch: Mapping[str, Array]
    ) -> tuple[Float[Array, ""], Metrics]:
        ids = {"id": batch["id"]}
        losses = contrast(
            first,
            second,
            rule=same_id,
            x_metadata=ids,
            y_metadata=ids,
            temperature=temperature,
            denominator=denominator,
        )
        value = balance * losses.forward.mean() + (1 - balance) * losses.backward.mean()
        return value, {"top1": losses.forward_top1.mean(), "top1_back": losses.backward_top1.mean()}

    return Term(name="clip", between=between, weight=weight, loss=loss)
