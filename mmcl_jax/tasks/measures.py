"""The loss and the primary metric of heads on the device, for training that is stopped and chosen by validation."""

import jax
import jax.numpy as jnp
import optax


def per_example_loss(outputs: jax.Array, targets: jax.Array, primary: str) -> jax.Array:
    """Cross-entropy of logits `[..., classes]` and codes `[...]`; or squared error of `[..., 1]` and numbers `[...]`.

    Args:
      outputs: of heads.
      targets: which broadcast along axes of size 1.
      primary: the task's primary metric ("mse" is regression).
    """
    if primary == "mse":
        return jnp.square(outputs[..., 0] - targets)
    return optax.softmax_cross_entropy_with_integer_labels(
        outputs, jnp.broadcast_to(targets, outputs.shape[:-1]).astype(jnp.int32)
    )


def primary(outputs: jax.Array, targets: jax.Array, name: str) -> jax.Array:
    """The primary metric of a task, as `Task.metrics` has it, but higher is better: minus the mean squared error.

    NaN outputs, of a head that diverged, give a NaN or the worst value.

    Args:
      outputs: `[N, outputs]`.
      targets: `[N]`.
      name: "top1", "auroc" (of two classes), "log_loss" or "mse".
    """
    if name in ("mse", "log_loss"):
        return -per_example_loss(outputs, targets, name).mean()
    if name == "auroc":
        return binary_auroc(outputs[:, 1] - outputs[:, 0], targets)
    return (outputs.argmax(axis=1).astype(targets.dtype) == targets).mean(dtype=jnp.float32)


def binary_auroc(scores: jax.Array, targets: jax.Array) -> jax.Array:
    """Area under the ROC curve of scores `[N]` for class 1 of codes `[N]`: the Mann-Whitney statistic, ties half."""
    order = jnp.sort(scores)
    below = jnp.searchsorted(order, scores, side="left", method="sort").astype(jnp.float32)
    upto = jnp.searchsorted(order, scores, side="right", method="sort").astype(jnp.float32)
    positive = (targets == 1).astype(jnp.float32)
    count = positive.sum()
    rank = (below + upto + 1) / 2
    mean_rank = (positive * rank).sum() / count
    return (mean_rank - (count + 1) / 2) / (len(scores) - count)
