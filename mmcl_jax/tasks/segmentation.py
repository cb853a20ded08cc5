"""The class of every pixel."""

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
    """The prediction of a mask: a class per pixel, 0 being the background; softmax cross-entropy of the pixels.

    Targets are `[N, H, W]` codes, -1 where a pixel has no label; outputs `[N, H, W, classes]`.

    Attributes:
      classes: with the background.

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
        """Return the sums of the cross-entropies over the pixels that have a label, and how many have."""
        codes = jnp.broadcast_to(targets, outputs.shape[:-1])
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.maximum(codes, 0))
        known = codes >= 0
        return jnp.where(known, losses, 0).sum(axis=(-2, -1)), known.sum(axis=(-2, -1), dtype=jnp.float32)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the Dice coefficient, as in `metrics`."""
        found, known = outputs.argmax(axis=-1), targets >= 0
        dice, there = [], []
        for code in range(1, self.classes):
            one, other = (found == code) & known, targets == code
            overlap, total = (one & other).sum(dtype=jnp.float32), (one.sum() + other.sum()).astype(jnp.float32)
            dice.append(2 * overlap / jnp.maximum(total, 1))
            there.append(total > 0)
        present = jnp.stack(there)
        return jnp.stack(dice).sum() / present.sum(dtype=jnp.float32)

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return `dice` and `iou` over all pixels of the split, the mean over the classes but the background.

        A class that is neither in a mask nor predicted is left out; if none is left, they are NaN. With several
        classes, those of each are there too, such as `dice/2`.
        """
        outputs, targets = np.asarray(outputs), np.asarray(targets)
        measured = {"dice": float("nan"), "iou": float("nan")}
        if not np.isfinite(outputs).all():
            return measured
        known = targets >= 0
        found, true = outputs.argmax(axis=-1)[known], targets[known]
        counts = confusion_matrix(true, found, labels=np.arange(self.classes)).astype(np.float64)
        overlap, sizes = np.diag(counts)[1:], (counts.sum(axis=0) + counts.sum(axis=1))[1:]
        there = sizes > 0
        each = {
            "dice": 2 * overlap / np.where(there, sizes, np.nan),
            "iou": overlap / np.where(there, sizes - overlap, np.nan),
        }
        for name, values in each.items():
            measured[name] = float(np.nanmean(values)) if there.any() else float("nan")
            if self.classes > 2:
                measured |= {f"{name}/{code}": float(value) for code, value in enumerate(values, 1)}
        return measured

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Raise `UserError`: neighbours of whole images say nothing about pixels."""
        raise UserError(
            f"--protocol knn: the label {self.label!r} is a mask, which needs a head; use --protocol probe."
        )
