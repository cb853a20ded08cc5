"""Learning rates that are halved while validation does not improve."""

import dataclasses
from typing import Literal

import numpy as np

By = Literal["loss", "metric"]
WATCHED: dict[str, By] = {"plateau": "loss", "metric_plateau": "metric"}  # by the names of schedules


@dataclasses.dataclass(frozen=True)
class Plateau:
    """The settings of rates that fall on a plateau of validation, as `torch.optim.ReduceLROnPlateau` lowers them.

    LoVT (Mueller et al., ECCV 2022) halves the rate after more than three epochs in a row without improvement. Its text
    watches the metric, its code the loss.

    Attributes:
      by: what is watched: the "loss" or the "metric".
      factor: of the rate.
      patience: number of epochs without improvement after which one more lowers the rate.
      threshold: the relative change that is an improvement.

    Example:
      >>> rates = Plateau(by="loss").start((1, 1))
      >>> [float(rates.follow(loss=np.full((1, 1), loss))[0, 0]) for loss in (2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5)]
      [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5]
    """

    by: By = "loss"
    factor: float = 0.5
    patience: int = 3
    threshold: float = 1e-4

    def start(self, shape: tuple[int, int]) -> "Shares":
        """Return the shares of the rates `[G, L]` of heads, which are 1 before the first epoch."""
        return Shares(self, shape)


class Shares:
    """The shares that heads take of their rates; every head falls by itself."""

    def __init__(self, plateau: Plateau, shape: tuple[int, int]) -> None:
        self._plateau = plateau
        self._best, self._waited = np.full(shape, -np.inf), np.zeros(shape, int)
        self.now = np.ones(shape, np.float32)

    def follow(self, *, loss: np.ndarray | None = None, metric: np.ndarray | None = None) -> np.ndarray:
        """Return the shares `[G, L]` after an epoch.

        Args:
          loss: on validation; read where the loss is watched.
          metric: on validation, higher is better; read where the metric is watched.
        """
        values = metric if self._plateau.by == "metric" else None if loss is None else -loss
        assert values is not None
        margin = self._plateau.threshold * np.abs(np.where(np.isfinite(self._best), self._best, 0))
        better = values > self._best + margin
        self._best = np.where(better, values, self._best)
        self._waited = np.where(better, 0, self._waited + 1)
        falls = self._waited > self._plateau.patience
        self.now = np.where(falls, self.now * np.float32(self._plateau.factor), self.now).astype(np.float32)
        self._waited = np.where(falls, 0, self._waited)
        return self.now
