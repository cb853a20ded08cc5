"""The prediction of the class of every pixel."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.metrics import confusion_matrix

from mmcl_jax.errors import UserError
from mmcl_jax.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segmentation(Task):
    """The prediction of a mask: a class per pixel, where 0 is the background; softmax cross-entropy.

    Targets are `[N, H, W]` codes, -1 where a pixel has no label; outputs `[N, H, W, classes]`.

    Attributes:
      classes: number of classes, the background among them.

    Example:
      >>> task, mask = Segmentation(label="lesion", classes=2), np.array([[[0, 1], [1, 1]]])
      >>> task.metrics(np.eye(2)[[[[0, 1], [0, 1]]]], mask)["iou"]
      0.6666666666666666
    """

    name = "segmentation"
    shown = ("dice", "iou")
    dtype = np.int32
    classes: int

    @property
    def outputs(self) -> int:
        """One logit per class and pixel."""
        return self.classes

    @property
    def primary(self) -> str:
        """Return "dice"."""
        return "dice"

    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the summed cross-entropies, and the number, of the labelled pixels of every row."""
        codes = jnp.broadcast_to(targets, outputs.shape[:-1])
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.maximum(codes, 0))
        valid = codes >= 0
        return jnp.where(valid, losses, 0).sum(axis=(-2, -1)), valid.sum(axis=(-2, -1), dtype=jnp.float32)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the Dice coefficient, as in `metrics`."""
        predicted, valid = outputs.argmax(axis=-1), targets >= 0
        dice, occurs = [], []
        for code in range(1, self.classes):
            ours, mask = (predicted == code) & valid, targets == code
            overlap, total = (ours & mask).sum(dtype=jnp.float32), (ours.sum() + mask.sum()).astype(jnp.float32)
            dice.append(2 * overlap / jnp.maximum(total, 1))
            occurs.append(total > 0)
        present = jnp.stack(occurs)
        return jnp.stack(dice).sum() / present.sum(dtype=jnp.float32)

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return `dice` and `iou` over all pixels of the split, averaged over the foreground classes.

        A class that occurs neither in masks nor in predictions is left out; without any class both are NaN. With
        several foreground classes, the values of each are added, such as `dice/2`.
        """
        outputs, targets = np.asarray(outputs), np.asarray(targets)
        measured = {"dice": float("nan"), "iou": float("nan")}
        if not np.isfinite(outputs).all():
            return measured
        valid = targets >= 0
        predicted, true = outputs.argmax(axis=-1)[valid], targets[valid]
        counts = confusion_matrix(true, predicted, labels=np.arange(self.classes)).astype(np.float64)
        overlap, sizes = np.diag(counts)[1:], (counts.sum(axis=0) + counts.sum(axis=1))[1:]
        occurs = sizes > 0
        each = {
            "dice": 2 * overlap / np.where(occurs, sizes, np.nan),
            "iou": overlap / np.where(occurs, sizes - overlap, np.nan),
        }
        for name, values in each.items():
            measured[name] = float(np.nanmean(values)) if occurs.any() else float("nan")
            if self.classes > 2:
                measured |= {f"{name}/{code}": float(value) for code, value in enumerate(values, 1)}
        return measured

    def contributions(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return what every image adds to the Dice coefficient; None without any class."""
        predicted, valid = outputs.argmax(axis=-1), targets >= 0
        by_class = []
        for code in range(1, self.classes):
            ours, mask = (predicted == code) & valid, targets == code
            overlap, sizes = (ours & mask).sum(axis=(1, 2)), ours.sum(axis=(1, 2)) + mask.sum(axis=(1, 2))
            if sizes.any():
                dice = 2 * overlap.sum() / sizes.sum()
                by_class.append(dice + (2 * overlap - dice * sizes) * len(sizes) / sizes.sum())
        return np.mean(by_class, axis=0) if by_class else None

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Raise `UserError`: the neighbours of an image cannot vote on its pixels."""
        raise UserError(
            f"--protocol knn: the label {self.label!r} is a mask, which needs a trained head; use --protocol probe."
        )
