"""Downstream tasks, a file each: what a head predicts from features, with its loss and its metrics."""

from mmcl_jax.tasks.choice import TASKS, is_dense, task_of
from mmcl_jax.tasks.classes import Class
from mmcl_jax.tasks.detection.detection import CocoDetection, Detection, FrocDetection
from mmcl_jax.tasks.dice import Dice
from mmcl_jax.tasks.masks import Masks
from mmcl_jax.tasks.multi_label import MultiLabel
from mmcl_jax.tasks.number import Number
from mmcl_jax.tasks.numbers import Numbers
from mmcl_jax.tasks.ordinal import Ordinal
from mmcl_jax.tasks.ordinal_logits import OrdinalLogits
from mmcl_jax.tasks.segmentation import Segmentation
from mmcl_jax.tasks.task import Details, Task, Units

__all__ = [
    "TASKS", "Class", "CocoDetection", "Details", "Detection", "Dice", "FrocDetection", "Masks", "MultiLabel",
    "Number", "Numbers", "Ordinal", "OrdinalLogits", "Segmentation", "Task", "Units", "is_dense", "task_of",
]  # fmt: skip
