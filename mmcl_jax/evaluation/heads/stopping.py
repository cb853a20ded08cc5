"""Early stopping: which epoch is kept, and when training ends."""

import numpy as np

from mmcl_jax.tasks.task import Task


class EarlyStopping:
    """Follows the primary validation metric of one training.

    The best epoch is the one to keep, the first of equals. Training ends when `patience` epochs in a row have not
    improved by more than `min_delta` on the last that did (these are the rules of PyTorch Lightning, which MMCL used,
    with 10 and 2e-4), or when the metric is not finite.

    Attributes:
      best: the best metric; NaN before the first epoch, and if training diverged in it.
      epoch: the epoch of the best metric, from 1.
      stopped: whether training has ended.
    """

    def __init__(self, task: Task, *, patience: int, min_delta: float) -> None:
        self.best, self.epoch, self.stopped = float("nan"), 0, False
        self._task, self._patience, self._min_delta = task, patience, min_delta
        self._waited, self._reference = 0, float("nan")

    def update(self, metric: float, *, epoch: int) -> bool:
        """Whether this epoch is the best so far. After the end none is."""
        if self.stopped or not np.isfinite(metric):
            self.stopped = True
            return False
        if np.isnan(self._reference) or self._task.sign * (metric - self._reference) > self._min_delta:
            self._reference, self._waited = metric, 0
        else:
            self._waited += 1
            self.stopped = self._waited >= self._patience
        if not self._task.better(metric, self.best):
            return False
        self.best, self.epoch = metric, epoch
        return True
