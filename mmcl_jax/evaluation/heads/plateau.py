"""Learning rates that are halved while validation does not improve."""

import dataclasses
from typing import Literal

import jax.numpy as jnp
import numpy as np

from mmcl_jax.training.state import control

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
        self._by = plateau.by
        self._rule = control.Plateau(
            factor=plateau.factor, patience=plateau.patience, threshold=plateau.threshold, lowest=0.0
        )
        self._state = {name: jnp.full(shape, first) for name, first in self._rule.first().items()}

    @property
    def now(self) -> np.ndarray:
        """The shares `[G, L]`."""
        return np.asarray(self._state["factor"])

    def follow(self, *, loss: np.ndarray | None = None, metric: np.ndarray | None = None) -> np.ndarray:
        """Return the shares `[G, L]` after an epoch.

        Args:
          loss: on validation; read where the loss is watched.
          metric: on validation, higher is better; read where the metric is watched.
        """
        values = loss if self._by == "loss" else None if metric is None else -metric
        assert values is not None
        self._state = self._rule.after(self._state, jnp.asarray(values, jnp.float32))
        return self.now
