"""The prediction of boxes in an image."""

import dataclasses
import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.errors import UserError
from mmcl_jax.tasks.detection import average_precision as ap
from mmcl_jax.tasks.detection.anchors import Scales
from mmcl_jax.tasks.detection.decoding import decoded
from mmcl_jax.tasks.detection.froc import froc
from mmcl_jax.tasks.detection.losses import detection_loss
from mmcl_jax.tasks.task import Details, Task

_NOWHERE = Scales(frame=(0.0, 0.0, 0.0, 0.0), grids=(), anchors=())
_PER_CELL = 3  # anchors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detection(Task):
    """The prediction of the boxes of an image by YOLOv3; settings are chosen by the `map_released` of LoVT.

    Targets are `[N, M, 5]`: left, top, right, bottom in pixels of the stored image, and the code of the class, padded
    with NaN; images without boxes are background. Outputs are logits `[N, cells, 3 (5 + classes)]` of the cells of all
    grids of a detector. The loss is that of `losses.detection_loss`, the mean over images, and `decoding.decoded` makes
    boxes of outputs.

    Attributes:
      names: of the classes.
      scales: the grids and the anchors of the detector; a detector gives them to the task when it is built.

    Example:
      >>> from mmcl_jax.tasks.detection.anchors import scales_of
      >>> scales = scales_of((0.0, 0.0, 32.0, 32.0), [(1, 1), (2, 2), (4, 4)])
      >>> task = Detection(label="lesions", names=("opacity",), scales=scales)
      >>> task.outputs, task.scales.cells
      (18, 21)
      >>> outputs, boxes = np.full((1, 21, 18), -9.0), np.array([[[4.0, 4, 12, 10, 0]]])
      >>> outputs[0, 1, [0, 1, 2, 3, 4]] = [0, -0.25, 1.24, 0.25, 9]  # the first cell of the second grid, near the box
      >>> [round(x) for x in task.found(outputs)[0][0]]
      [4, 4, 12, 10, 0, 1]
      >>> task.metrics(outputs, boxes)["map_released"]
      1.0
    """

    name = "detection"
    shown = ("map_released", "froc")
    details = Details("further metrics", ("map_coco",), each="map_released")
    on_host = True
    chooses: ClassVar[str] = "map_released"
    names: tuple[str, ...]
    scales: Scales = _NOWHERE

    @property
    def outputs(self) -> int:
        """The logits of a cell: place, size, objectness and classes of three anchors."""
        return _PER_CELL * (5 + len(self.names))

    @property
    def primary(self) -> str:
        """Return the metric of the task's class."""
        return self.chooses

    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the loss of every image `[..., B]`, and 1 for each."""
        lead = outputs.shape[:-2]
        boxes = jnp.broadcast_to(targets, (*lead, *targets.shape[-2:])).reshape(-1, *targets.shape[-2:])
        of_image = functools.partial(detection_loss, scales=self.scales)
        losses = jax.vmap(of_image)(outputs.reshape(-1, *outputs.shape[-2:]), boxes).reshape(lead)
        return losses, jnp.ones_like(losses)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return NaN: detections are paired with boxes on the host (`on_host`), by `score_on_host`."""
        return jnp.full((), jnp.nan)

    def score_on_host(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """Return the primary metric, NaN if an output is not finite."""
        return self._measured(outputs, targets, (self.primary,))[self.primary]

    def found(self, outputs: np.ndarray) -> list[np.ndarray]:
        """Return the boxes of every image, `[n, 6]`: left, top, right, bottom, class, score; see `decoding.decoded`."""
        return decoded(np.asarray(outputs), self.scales)

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return `map_released`, `map_coco` and `froc`.

        `map_released` is the mean average precision over the IoU thresholds .40 to .75 as LoVT computes it, the mean
        over all classes; `map_coco` that over .50 to .95 of COCO, the mean over classes with boxes; `froc` the mean
        sensitivity at 1/8 to 8 false positives per image. With several classes, the values of each are added, such as
        `map_released/nodule`.
        """
        return self._measured(outputs, targets, ("map_released", "map_coco", "froc"))

    def _measured(self, outputs: np.ndarray, targets: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
        measured = dict.fromkeys(names, math.nan)
        if not np.isfinite(outputs).all():
            return measured
        found = self.found(outputs)
        boxes = [one[~np.isnan(one[:, 0])].astype(np.float64) for one in np.asarray(targets)]
        classes = len(self.names)
        for name in names:
            if name == "froc":
                measured[name] = froc(found, boxes)
                continue
            each = (ap.released if name == "map_released" else ap.coco)(found, boxes, classes=classes)
            some = bool(np.isfinite(each).any())
            measured[name] = float(np.nanmean(each)) if some else math.nan
            if classes > 1:
                measured |= {f"{name}/{label}": float(x) for label, x in zip(self.names, each, strict=True)}
        return measured

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Raise `UserError`: the neighbours of an image cannot vote on its boxes."""
        raise UserError(
            f"--protocol knn: the label {self.label!r} is boxes, which need a trained head; use --protocol probe."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CocoDetection(Detection):
    """`Detection` whose settings are chosen by the mean average precision of COCO.

    Example:
      >>> CocoDetection(label="lesions", names=("opacity",)).primary
      'map_coco'
    """

    name = "detection_coco"
    shown = ("map_coco", "map_released")
    details = Details("further metrics", ("froc",), each="map_coco")
    chooses = "map_coco"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrocDetection(Detection):
    """`Detection` whose settings are chosen by the sensitivity at few false positives, as LoVT does on Object-CXR.

    Example:
      >>> FrocDetection(label="objects", names=("foreign object",)).primary
      'froc'
    """

    name = "detection_froc"
    shown = ("froc", "map_released")
    chooses = "froc"
