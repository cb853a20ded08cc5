"""The NT-Xent term of SimCLR: two views of the same sample attract, all other 2B - 2 views repel."""

import jax
import jax.numpy as jnp

from mmcl_jax.objectives.base import TERMS, Term, check_term
from mmcl_jax.objectives.pairs import Denominator, contrast, exclude_self
from mmcl_jax.objectives.stages import Loss, Whole
from mmcl_jax.objectives.terms.labels import Labels, pairing, targets_of
from mmcl_jax.objectives.unit import unit


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
    queue: int = 0,
) -> Term:
    r"""Return the normalised temperature-scaled cross-entropy over the 2B views of a batch; each is an anchor once.

    SimCLR (Chen et al., ICML 2020), equation 1: the denominator has the 2B - 1 other views, the positive among them
    (`denominator="all"`).

    With a `queue`, the negatives are the first view's embeddings $q_k$ of earlier steps in place of the batch's, and
    the second view $y_i$ is the only anchor, as in MoCo (He et al., CVPR 2020, equation 1) without its slow encoder:

    $$\ell_i = -\cos(y_i, x_i) / \tau + \log \Big(e^{\cos(y_i, x_i) / \tau} + \sum_k e^{\cos(y_i, q_k) / \tau}\Big).$$

    That is what lightly's loss with a memory bank computes, with which ContIG's SimCLR baseline was trained.

    Args:
      between: the two features.
      temperature: tau; 0.1 as in MMCL's baseline.
      weight: factor of this term in the objective.
      denominator: see `pairs.contrast`.
      labels: use of class labels, see `label_rule`; "attract" is SupCon. (MMCL's code of SupCon lacks the minus sign,
        so that it pushes samples of one class apart.)
      target: name of the class label; None for the store's first.
      background: see `classes`.
      queue: number of embeddings in the queue, 65,536 in ContIG's baseline; 0 contrasts the batch.

    Raises:
      ValueError: a number is out of range, or labels are to be used with a queue, which has none.

    Example:
      >>> loss = nt_xent(temperature=0.5)(jnp.eye(4), jnp.eye(4))
      >>> round(float(loss), 4)
      0.5944
      >>> loss = nt_xent(temperature=0.5, queue=8)(jnp.eye(4), jnp.eye(4), queue=-jnp.eye(4))
      >>> round(float(loss), 4)
      0.3537
    """
    check_term(temperature=temperature, weight=weight)
    if queue < 0:
        raise ValueError(f"queue must not be negative, as {queue} is")
    if queue and labels != "ignore":
        raise ValueError(f"a queue has no labels; leave labels at 'ignore', not {labels!r}, or set queue to 0")

    def contrast_queue(batch: Whole) -> Loss:
        positives, anchors = (unit(embedding, dtype=jnp.float32) for embedding in batch.embeddings)
        if batch.queue is None:
            raise ValueError("nt_xent needs its queue; give embeddings of earlier steps as queue=")
        positive = jnp.sum(anchors * positives, axis=1) / temperature
        negative = anchors @ batch.queue.T / temperature
        hardest = negative.max(axis=1)
        repulsion = jax.nn.logsumexp(negative, axis=1)
        if denominator == "all":
            repulsion = jnp.logaddexp(repulsion, positive)
        hits = (positive >= hardest).astype(jnp.float32)
        return Loss(value=batch.mean(repulsion - positive), metrics={"top1": batch.mean(hits)})

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

    return Term(
        name="nt_xent",
        between=between,
        weight=weight,
        loss=contrast_queue if queue else loss,
        targets=targets_of(labels, target),
        queue=queue,
    )
