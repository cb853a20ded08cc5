"""What validation passes steer: which checkpoint is the best, when to stop, and when the rate falls."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Control = dict[str, dict[str, Array]]
_NONE_YET = jnp.finfo(jnp.float32).max  # a loss that every other is better than, and finite, as all of a checkpoint is


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plateau:
    """Multiplies the learning rate by `factor` when more than `patience` passes in a row gave no better loss.

    A loss is better if it is below the best by more than `threshold` times its size. The rate does not fall below
    `lowest`, a share of the first rate. This is `torch.optim.lr_scheduler.ReduceLROnPlateau`, except that a negative
    loss has to become lower too.
    """

    factor: float
    patience: int
    threshold: float
    lowest: float

    def first(self) -> dict[str, Array]:
        """Return the state before the first pass."""
        return {"best": jnp.float32(_NONE_YET), "waited": jnp.int32(0), "factor": jnp.float32(1)}

    def after(self, state: Mapping[str, Array], loss: Float[Array, ""]) -> dict[str, Array]:
        """Return the state after a pass that gave this loss."""
        better = loss < state["best"] - self.threshold * jnp.abs(state["best"])
        waited = jnp.where(better, 0, state["waited"] + 1)
        falls = waited > self.patience
        lower = jnp.maximum(state["factor"] * self.factor, self.lowest)
        return {
            "best": jnp.where(better, loss, state["best"]),
            "waited": jnp.where(falls, 0, waited),
            "factor": jnp.where(falls, lower, state["factor"]),
        }


def first_control(plateau: Plateau | None) -> Control:
    """Return the state before the first validation pass.

    `best` has the lowest loss and its step; `stop` has the loss that the next must undercut, and how many passes in a
    row did not; `plateau`, if there is one, has what `Plateau` needs and the `factor` of the rate.
    """
    control = {
        "best": {"loss": jnp.float32(_NONE_YET), "step": jnp.int32(-1)},
        "stop": {"best": jnp.float32(_NONE_YET), "waited": jnp.int32(0)},
    }
    return {**control, "plateau": plateau.first()} if plateau else control


def best_step(control: Control) -> int:
    """Return the step of the lowest validation loss, -1 if there was no pass."""
    return int(jax.device_get(control["best"]["step"])) if control else -1


def exhausted(control: Control, patience: int | None) -> bool:
    """Return whether as many passes in a row as `patience` says gave no loss that is enough better."""
    return bool(control) and patience is not None and int(jax.device_get(control["stop"]["waited"])) >= patience


def after_pass(
    control: Control, loss: Float[Array, ""], step: Int[Array, ""], *, plateau: Plateau | None, min_delta: float
) -> Control:
    """Return the state after a validation pass at `step` that gave this loss. A loss that is NaN is not better.

    Args:
      control: before the pass.
      loss: of the validation rows.
      step: of the training.
      plateau: that of the schedule.
      min_delta: how far below the best a loss must be for the training to go on (`config.stop`).
    """
    best, stop = control["best"], control["stop"]
    lower, enough = loss < best["loss"], loss < stop["best"] - min_delta
    after = {
        "best": {name: jnp.where(lower, new, best[name]) for name, new in (("loss", loss), ("step", step))},
        "stop": {
            "best": jnp.where(enough, loss, stop["best"]),
            "waited": jnp.where(enough, 0, stop["waited"] + 1),
        },
    }
    return {**after, "plateau": plateau.after(control["plateau"], loss)} if plateau else after
