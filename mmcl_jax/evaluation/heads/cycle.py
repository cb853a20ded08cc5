"""The one-cycle policy in the training of heads."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from mmcl_jax.training.optim.schedules import one_cycle

SCHEDULES = ("constant", "one_cycle", "plateau", "metric_plateau")
PEAK = 1e-2  # the maximum of MT-CMTM (Roy et al., 2025)
EPOCHS = 100
NEVER = np.iinfo(np.int32).max  # the patience of a training whose length is fixed


@dataclasses.dataclass(frozen=True)
class OneCycle:
    """A learning rate that rises to its maximum and falls again within one training (Smith and Topin, 2018).

    The defaults are those of `torch.optim.lr_scheduler.OneCycleLR`. The length of the training is fixed, and validation
    selects an epoch in it, but does not end it.

    Attributes:
      momentum: whether Adam's decay of the first moment moves inversely, between 0.95 and 0.85; else it is 0.9.

    Example:
      >>> paces = OneCycle().paces(5)
      >>> [round(float(share), 4) for share in paces["share"]]
      [0.04, 0.9505, 0.6113, 0.1883, 0.0]
      >>> [round(float(decay), 3) for decay in paces["b1"]]
      [0.95, 0.855, 0.889, 0.931, 0.95]
    """

    momentum: bool = True

    def paces(self, steps: int) -> dict[str, np.ndarray]:
        """Return by step the `share` of the maximal rate `[steps]` and, if it moves, `b1` `[steps]`, float32."""
        momentum = {} if self.momentum else {"b1": None}
        schedule = one_cycle(epochs=1, steps_per_epoch=steps, learning_rate=1.0, **momentum)
        found = schedule.at(jnp.arange(steps))
        return {{"learning_rate": "share"}.get(name, name): np.asarray(values) for name, values in found.items()}
