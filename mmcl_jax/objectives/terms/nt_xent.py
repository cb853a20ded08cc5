"""The NT-Xent term of SimCLR: two views of the same sample attract, all other 2B - 2 views repel."""

import jax.numpy as jnp

from mmcl_jax.objectives.base import TERMS, Term, check_term
from mmcl_jax.objectives.pairs import Denominator, contrast, exclude_self
from mmcl_jax.objectives.stages import Loss, Whole
from mmcl_jax.objectives.terms.labels import Labels, pairing, targets_of


@TERMS.register("nt_xent")
def nt_xent(
    *,
    between: tuple[str, str] = ("image_1", "image_2"),
    temperature: float = 0.1,
    weight: float = 1.0,
    denominator: Denominator = "all",
    labels: Labels = "ignore",
    target: str | None = None,
    background: int | None = None,
) -> Term:
    """Return the normalised temperature-scaled cross-entropy over the 2B views of a batch; each view is an anchor once.

    SimCLR (Chen et al., ICML 2020), equation 1: the denominator has the 2B - 1 other views, the positive among them
    (`denominator="all"`).

    Args:
      between: the two features.
      temperature: tau; 0.1 as in MMCL's baseline.
      weight: factor of this term in the objective.
      denominator: see `pairs.contrast`.
      labels: use of class labels, see `label_rule`; "attract" is SupCon. (MMCL's code of SupCon lacks the minus sign,
        so that it pushes samples of one class apart.)
      target: name of the class label; None for the store's first.
      background: see `classes`.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> loss = nt_xent(temperature=0.5)(jnp.eye(4), jnp.eye(4))
      >>> round(float(loss), 4)
      0.5944
    """
    check_term(temperature=temperature, weight=weight)

    def loss(batch: Whole) -> Loss:
        first, second = batch.embeddings
        # Interleaved, not concatenated: both views of a sample stay on the device that holds the sample.
        views = jnp.stack([first, second], axis=1).reshape(-1, first.shape[1])
        rule, per_sample = pairing(batch, labels, target=target, background=background)
        per_view = {name: jnp.repeat(value, 2) for name, value in per_sample.items()}
        metadata = {**per_view, "index": jnp.arange(len(views))}
        losses = contrast(
            views,
            views,
            rule=exclude_self(rule),
            x_metadata=metadata,
            y_metadata=metadata,
            scale=1 / temperature,
            denominator=denominator,
            execution=batch.execution,
        )
        return Loss(value=losses.forward.mean(), metrics={"top1": losses.forward.accuracy()})

    return Term(name="nt_xent", between=between, weight=weight, loss=loss, targets=targets_of(labels, target))
