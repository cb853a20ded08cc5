"""The prediction of several masks of an image, which may overlap."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import expit

from mmcl_jax.errors import UserError
from mmcl_jax.tasks.task import Details, Task

SMOOTH = 1.0  # pixels, added to numerator and denominator of the soft Dice coefficient
DICE, CROSS_ENTROPY = 0.8, 0.2  # the weights of the two losses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Masks(Task):
    """The prediction of K masks of an image, such as disc and atrophy: a logit per mask and pixel, each a sigmoid.

    The loss is 0.8 (1 - soft Dice) + 0.2 binary cross-entropy, where the soft Dice coefficient is `(2 sum p t + 1) /
    (sum p + sum t + 1)` over all masks and pixels of the batch (ContIG, Taleb et al., CVPR 2022, for PALM). Targets are
    `[N, H, W, K]` of 0 and 1, -1 where an image lacks a mask or a pixel has no label; outputs are `[N, H, W, K]`.

    Attributes:
      names: of the K masks.

    Example:
      >>> task = Masks(label="disc+atrophy", names=("disc", "atrophy"))
      >>> targets = np.array([[[[1, 0], [1, 1]]]])
      >>> metrics = task.metrics(np.where(targets > 0, 9.0, -9.0), targets)
      >>> round(metrics["soft_dice"], 3), metrics["dice/atrophy"]
      (1.0, 1.0)
    """

    name = "masks"
    shown = ("soft_dice", "dice")
    details = Details("further metrics", ("iou",), each="dice")
    dtype = np.int8
    names: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """One logit per mask and pixel."""
        return len(self.names)

    @property
    def primary(self) -> str:
        """Return "soft_dice"."""
        return "soft_dice"

    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the summed cross-entropies, and the number, of the labelled pixels of every row."""
        valid, wanted = _labelled(outputs, targets)
        losses = jnp.where(valid, optax.sigmoid_binary_cross_entropy(outputs, wanted), 0)
        return losses.sum(axis=(-3, -2, -1)), valid.sum(axis=(-3, -2, -1), dtype=jnp.float32)

    def mean_loss(self, outputs: jax.Array, targets: jax.Array, weights: jax.Array | None = None) -> jax.Array:
        """Return `[...]` the weighted sum of both losses, each over all labelled pixels of the batch."""
        overlap, total = pixel_sums(outputs, targets)
        if weights is not None:
            overlap, total = overlap * weights, total * weights
        dice = (2 * overlap.sum(axis=-1) + SMOOTH) / (total.sum(axis=-1) + SMOOTH)
        return DICE * (1 - dice) + CROSS_ENTROPY * super().mean_loss(outputs, targets, weights)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the soft Dice coefficient, as in `metrics`."""
        overlap, total = pixel_sums(outputs, targets)
        return (2 * overlap.sum() + SMOOTH) / (total.sum() + SMOOTH)

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return `soft_dice` over all masks and pixels of the split, and `dice` and `iou` of masks cut at p > 0.5.

        `soft_dice` reads probabilities, and pools all masks and images into one ratio (the number of ContIG's table for
        PALM). `dice` and `iou` are the means over masks, whose values are added, such as `dice/disc`, each over all
        pixels of the split; a mask that occurs neither in targets nor in predictions is left out.
        """
        outputs, targets = np.asarray(outputs), np.asarray(targets)
        measured = dict.fromkeys(("soft_dice", "dice", "iou"), float("nan"))
        if not np.isfinite(outputs).all():
            return measured
        overlap, total = _sums_of_rows(outputs, targets)
        measured["soft_dice"] = float((2 * overlap.sum() + SMOOTH) / (total.sum() + SMOOTH))
        ours, masks = (outputs > 0) & (targets >= 0), targets == 1
        shared, sizes = (ours & masks).sum(axis=(0, 1, 2)), (ours.sum(axis=(0, 1, 2)) + masks.sum(axis=(0, 1, 2)))
        occurs = sizes > 0
        each = {
            "dice": 2 * shared / np.where(occurs, sizes, np.nan),
            "iou": shared / np.where(occurs, sizes - shared, np.nan),
        }
        for name, values in each.items():
            measured[name] = float(np.nanmean(values)) if occurs.any() else float("nan")
            measured |= {f"{name}/{mask}": float(value) for mask, value in zip(self.names, values, strict=True)}
        return measured

    def contributions(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return what every image adds to the soft Dice coefficient."""
        overlap, total = _sums_of_rows(outputs, targets)
        pixels = total.sum() + SMOOTH
        dice = (2 * overlap.sum() + SMOOTH) / pixels
        influence = (2 * overlap - dice * total) * len(total) / pixels
        return dice + influence - influence.mean()

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Raise `UserError`: the neighbours of an image cannot vote on its pixels."""
        raise UserError(
            f"--protocol knn: the labels {self.label!r} are masks, which need a trained head; use --protocol finetune."
        )


def _labelled(outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return which pixels have a label, and the labels as float32, both of the shape of the outputs."""
    codes = jnp.broadcast_to(targets, outputs.shape)
    return codes >= 0, jnp.maximum(codes, 0).astype(jnp.float32)


def pixel_sums(outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return per image, `[..., B]`, the sum of p t and the sum of p + t over its labelled pixels and masks."""
    valid, wanted = _labelled(outputs, targets)
    probabilities = jnp.where(valid, jax.nn.sigmoid(outputs), 0)
    axes = (-3, -2, -1)
    return (probabilities * wanted).sum(axis=axes), (probabilities + jnp.where(valid, wanted, 0)).sum(axis=axes)


def _sums_of_rows(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `pixel_sums` on the host, float64, an image at a time."""
    overlap, total = np.zeros(len(targets)), np.zeros(len(targets))
    for row, (logits, codes) in enumerate(zip(outputs, targets, strict=True)):
        probabilities = np.where(codes >= 0, expit(logits.astype(np.float64)), 0)
        overlap[row] = probabilities[codes == 1].sum()
        total[row] = probabilities.sum() + (codes == 1).sum()
    return overlap, total
