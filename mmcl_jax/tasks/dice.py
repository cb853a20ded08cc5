"""The prediction of masks by the Dice loss alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.tasks.masks import Masks, pixel_sums
from mmcl_jax.tasks.task import Details

LEAST = 1e-7  # the smallest denominator of the loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dice(Masks):
    """The prediction of K masks of an image by the Dice loss, as LoVT (Mueller et al., ECCV 2022) trains all masks.

    The loss is `1 - 2 sum p t / sum (p + t)`, with p the sigmoid of a logit and the sums over all masks and pixels of
    the batch: the binary Dice loss of the package `segmentation_models_pytorch`, which LoVT takes. A batch without a
    pixel of any mask has the loss 0, and no gradient. The metric is `dice`, of masks cut at p > 0.5, over all pixels of
    the split (of one mask the micro-averaged F1), and of several masks their mean. Targets and outputs are `[N, H, W,
    K]`, as of `Masks`.

    Attributes:
      names: of the K masks.

    Example:
      >>> task = Dice(label="opacity", names=("opacity",))
      >>> targets = np.array([[[[1], [0]], [[1], [1]]]])
      >>> logits = np.zeros((1, 2, 2, 1))
      >>> round(float(task.mean_loss(jnp.asarray(logits), jnp.asarray(targets))), 4)  # 1 - 2 * 1.5 / (2 + 3)
      0.4
      >>> task.metrics(np.where(targets > 0, 9.0, -9.0), targets)["dice"]
      1.0
    """

    name = "dice"
    shown = ("dice", "iou")
    details = Details("further metrics", ("soft_dice",), each="dice")

    @property
    def primary(self) -> str:
        """Return "dice"."""
        return "dice"

    def mean_loss(self, outputs: jax.Array, targets: jax.Array, weights: jax.Array | None = None) -> jax.Array:
        """Return `[...]` the Dice loss over all labelled pixels of the batch; 0 for a batch without foreground."""
        overlap, total = pixel_sums(outputs, targets)
        foreground = (jnp.broadcast_to(targets, outputs.shape) > 0).any(axis=(-3, -2, -1))
        if weights is not None:
            overlap, total, foreground = overlap * weights, total * weights, foreground & (weights > 0)
        dice = 2 * overlap.sum(axis=-1) / jnp.maximum(total.sum(axis=-1), LEAST)
        return jnp.where(foreground.any(axis=-1), 1 - dice, 0)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the mean over masks of their Dice coefficients, as in `metrics`."""
        ours, mask = (outputs > 0) & (targets >= 0), targets == 1
        axes = tuple(range(outputs.ndim - 1))
        shared = (ours & mask).sum(axis=axes, dtype=jnp.float32)
        sizes = (ours.sum(axis=axes) + mask.sum(axis=axes)).astype(jnp.float32)
        occurs = (sizes > 0).sum(dtype=jnp.float32)
        return (2 * shared / jnp.maximum(sizes, 1)).sum() / occurs

    def contributions(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return what every image adds to the mean Dice coefficient; None without any mask."""
        ours, masks = (outputs > 0) & (targets >= 0), targets == 1
        shared, sizes = (ours & masks).sum(axis=(1, 2)), ours.sum(axis=(1, 2)) + masks.sum(axis=(1, 2))
        total = sizes.sum(axis=0)
        occurs = total > 0
        if not occurs.any():
            return None
        dice = 2 * shared.sum(axis=0)[occurs] / total[occurs]
        influence = (2 * shared[:, occurs] - dice * sizes[:, occurs]) * len(sizes) / total[occurs]
        return (dice + influence).mean(axis=1)
