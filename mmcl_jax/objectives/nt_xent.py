"""The NT-Xent term of SimCLR: two views of the same sample attract, all other 2B - 2 views repel."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Learned, Metrics, Term, check_term
from mmcl_jax.objectives.labels import Labels, label_rule, needs, pair_metadata
from mmcl_jax.objectives.pairs import Denominator, Execution, contrast, others


@TERMS.register("nt_xent")
def nt_xent(
    *,
    execution: Execution,
    between: tuple[str, str] = ("image_1", "image_2"),
    temperature: float = 0.1,
    weight: float = 1.0,
    denominator: Denominator = "all",
    labels: Labels = "ignore",
    background: int | None = None,
) -> Term:
    """Normalised temperature-scaled cross-entropy over the 2B views of a batch; every view is an anchor once.

    SimCLR (Chen et al., ICML 2020), equation 1: the denominator has the 2B - 1 other views, the positive among them
    (`denominator="all"`).

    Args:
      execution: how the pairs are walked.
      between: the two views.
      temperature: tau; 0.1 as in MMCL's baseline.
      weight: of this term in the objective.
      denominator: see `pairs.contrast`.
      labels: see `label_rule`; "attract" is SupCon. (MMCL's code for it lacks the minus sign: it pushes classes apart.)
      background: see `pair_metadata`.

    Raises:
      ValueError: a number is out of range.
    """
    check_term(temperature=temperature, weight=weight)

    def loss(
        first: Float[Array, "B d"], second: Float[Array, "B d"], batch: Mapping[str, Array], learned: Learned
    ) -> tuple[Float[Array, ""], Metrics]:
        # Interleaved, not concatenated: view 1 and 2 of a sample stay on the device that holds the sample.
        views = jnp.stack([first, second], axis=1).reshape(-1, first.shape[1])
        twice = {name: jnp.repeat(value, 2) for name, value in pair_metadata(batch, labels, background).items()}
        metadata = {**twice, "place": jnp.arange(len(views))}
        losses = contrast(
            views,
            views,
            rule=others(label_rule(labels)),
            x_metadata=metadata,
            y_metadata=metadata,
            scale=1 / temperature,
            denominator=denominator,
            execution=execution,
        )
        return losses.forward.mean(), {"top1": losses.forward.accuracy()}

    return Term(name="nt_xent", between=between, weight=weight, loss=loss, needs=needs(labels))
