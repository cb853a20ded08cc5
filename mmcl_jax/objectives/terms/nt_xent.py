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
      weight: of this term in the objective.
      denominator: see `pairs.contrast`.
      labels: see `label_rule`; "attract" is SupCon. (MMCL's code for it lacks the minus sign: it pushes classes apart.)
      target: the class label that `labels` is about; None for the store's first.
      background: see `classes`.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> loss = nt_xent(temperature=0.5)(jnp.eye(4), jnp.eye(4))
      >>> round(float(loss), 4)
      0.5944
    """
    check_term(temperature=temperature, weight=weight)

    def loss(given: Whole) -> Loss:
        first, second = given.embeddings
        # Interleaved, not concatenated: view 1 and 2 of a sample stay on the device that holds the sample.
        views = jnp.stack([first, second], axis=1).reshape(-1, first.shape[1])
        rule, single = pairing(given, labels, target=target, background=background)
        twice = {name: jnp.repeat(value, 2) for name, value in single.items()}
        metadata = {**twice, "index": jnp.arange(len(views))}
        losses = contrast(
            views,
            views,
            rule=exclude_self(rule),
            x_metadata=metadata,
            y_metadata=metadata,
            scale=1 / temperature,
            denominator=denominator,
            execution=given.execution,
        )
        return Loss(value=losses.forward.mean(), metrics={"top1": losses.forward.accuracy()})

    return Term(name="nt_xent", between=between, weight=weight, loss=loss, targets=targets_of(labels, target))
