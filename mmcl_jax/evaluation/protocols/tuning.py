"""How heads on images are trained by `finetune`, `augmented_probe` and `unet`: what `mmcl evaluate` has options for."""

import dataclasses
from typing import Any, Literal

from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.heads.cycle import NEVER
from mmcl_jax.tasks.detection.anchors import ANCHORS, Anchors

SELECT = ("metric", "loss")
NORMALISATION = ("frozen", "adapts")
AUGMENT = ("run", "flip", "none")
HEADS = ("linear_segmentation", "unet", "yolo")
BATCH_SIZE, DENSE_BATCH_SIZE = 512, 16
PATIENCE = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuning:
    """The settings of a training; the defaults are those of Hager et al. (CVPR 2023).

    Those of ContIG (Taleb et al., CVPR 2022) are `Tuning(batch_size=64, accumulate=4, weight_decay=1e-5, patience=0,
    select="loss", augment="flip")` with one learning rate of 1e-3 and 50 epochs; for masks `Tuning(batch_size=64,
    accumulate=16, weight_decay=1e-5, patience=0, select="loss", frozen_epochs=10)` with a rate of 1e-4.

    Attributes:
      head: of a dense task, one of `HEADS`; None for "yolo" of boxes, and of masks for "linear_segmentation" in
        `probe`, and "unet" where the encoder is trained with the head.
      anchors: of "yolo": "released", or "corrected" (see `tasks.detection.anchors`).
      batch_size: most rows per step; None for 512, or 16 for masks.
      accumulate: number of slices of a batch, whose gradients are added, so that a slice is all that memory must hold;
        batch normalisation, and the soft Dice loss, see a slice.
      weight_decay: L2, whose gradient is added to that of the loss, as in PyTorch's `Adam(weight_decay=...)`.
      patience: number of epochs without improvement after which a training ends; 0 for never.
      select: whether the epoch and the learning rate are chosen by the primary "metric" or by the "loss" on validation.
      augment: of training images: "run", as the run augments them, with crops of at least 0.6 of the area; "flip", at
        most mirrored; "none". Images with masks are never augmented.
      frozen_epochs: number of first epochs in which the encoder of a run is not trained.
      frozen_steps: number of first batches in which it is not trained, as LoVT warms heads up; leave one of both out.
      frozen_rate: the learning rate of these epochs or batches.
      normalisation: of encoders while a head alone is trained: "frozen", by their running statistics, as Fedorov et al.
        describe it; or "adapts", by the batch, with running statistics that keep adapting and that validation and test
        use, as their released code does.

    Raises:
      UserError: a number is out of range, or a name is unknown.
    """

    head: str | None = None
    anchors: Anchors = "released"
    batch_size: int | None = None
    accumulate: int = 1
    weight_decay: float = 0.0
    patience: int = PATIENCE
    select: Literal["metric", "loss"] = "metric"
    augment: Literal["run", "flip", "none"] = "run"
    frozen_epochs: int = 0
    frozen_steps: int = 0
    frozen_rate: float = 1e-3
    normalisation: Literal["frozen", "adapts"] = "frozen"

    def __post_init__(self) -> None:
        size = self.batch_size
        if self.head is not None:
            check_name(self.head, HEADS, "--head: there is no head")
        check_name(self.anchors, ANCHORS, "--anchors: there is no set")
        check(size is None or size > 0, f"--batch-size: must be positive, not {size}.")
        check(self.accumulate > 0, f"--accumulate: must be positive, not {self.accumulate}.")
        check(
            size is None or size % self.accumulate == 0,
            f"--accumulate: a batch of {size} does not divide into {self.accumulate} slices.",
        )
        check(0 <= self.weight_decay < float("inf"), f"--weight-decay: must be 0 or above, not {self.weight_decay}.")
        check(self.patience >= 0, f"--patience: must be 0 (never end) or above, not {self.patience}.")
        check_name(self.select, SELECT, "--select: heads cannot be selected by")
        check_name(self.augment, AUGMENT, "--augment: there is no augmentation")
        check_name(self.normalisation, NORMALISATION, "--normalisation: there is no")
        check(self.frozen_epochs >= 0, f"--frozen-epochs: must be 0 or above, not {self.frozen_epochs}.")
        check(0 < self.frozen_rate < float("inf"), f"--frozen-rate: must be above 0, not {self.frozen_rate}.")
        check(self.frozen_steps >= 0, f"--frozen-steps: must be 0 or above, not {self.frozen_steps}.")
        check(
            not (self.frozen_epochs and self.frozen_steps),
            "--frozen-steps: the encoder is frozen for batches or for epochs; leave --frozen-epochs or it out.",
        )
        frozen = self.frozen_epochs + self.frozen_steps > 0 or self.frozen_rate == type(self).frozen_rate
        check(frozen, "--frozen-rate: no epoch is frozen; add --frozen-epochs or --frozen-steps, or leave it out.")

    @property
    def changed(self) -> dict[str, Any]:
        """The settings that are not the defaults, for the identity of scores."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    def settings(self, *, dense: bool, scratch: bool) -> dict[str, Any]:
        """Return the settings as `FinetuneSettings` takes them.

        Args:
          dense: whether masks are predicted.
          scratch: whether the encoder is untrained, so that no epoch is frozen.
        """
        return {
            **dataclasses.asdict(self),
            "batch_size": self.batch_size or (DENSE_BATCH_SIZE if dense else BATCH_SIZE),
            "patience": self.patience or NEVER,
            "frozen_epochs": 0 if scratch else self.frozen_epochs,
            "frozen_steps": 0 if scratch else self.frozen_steps,
        }
