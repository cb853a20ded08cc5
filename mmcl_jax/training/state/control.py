"""The state that validation passes update: the best checkpoint, early stopping, and the plateau of the rate."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Control = dict[str, dict[str, Array]]
_NONE_YET = jnp.finfo(jnp.float32).max  # worse than any loss, and finite, as all numbers of a checkpoint must be


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plateau:
    """A rule that multiplies the learning rate by `factor` after more than `patience` passes in a row without progress.

    A loss is progress if it is below the best loss by more than `threshold` times the best's absolute value. The rate
    does not fall below `lowest`, a share of the initial rate. This is `torch.optim.lr_scheduler.ReduceLROnPlateau`,
    except that a negative loss must fall too.
    """

    factor: float
    patience: int
    threshold: float
    lowest: float

    def first(self) -> dict[str, Array]:
        """Return the state before the first pass."""
        return {"best": jnp.float32(_NONE_YET), "waited": jnp.int32(0), "factor": jnp.float32(1)}

    def after(self, state: Mapping[str, Array], loss: Float[Array, "*R"]) -> dict[str, Array]:
        """Return the state after a pass with this loss, or with the losses of several rates that have a state each."""
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

    `best` has the lowest loss and its step. `stop` has the loss that the next pass must undercut, and the number of
    passes in a row that did not. `plateau`, if the schedule has one, has the state of `Plateau` and the `factor` of
    the rate.
    """
    control = {
        "best": {"loss": jnp.float32(_NONE_YET), "step": jnp.int32(-1)},
        "stop": {"best": jnp.float32(_NONE_YET), "waited": jnp.int32(0)},
    }
    return {**control, "plateau": plateau.first()} if plateau else control


def best_step(control: Control) -> int:
    """Return the step of the lowest validation loss, -1 without a pass."""
    return int(jax.device_get(control["best"]["step"])) if control else -1


def exhausted(control: Control, patience: int | None) -> bool:
    """Return whether the last `patience` passes in a row did not improve the loss enough."""
    return bool(control) and patience is not None and int(jax.device_get(control["stop"]["waited"])) >= patience


def after_pass(
    control: Control, loss: Float[Array, ""], step: Int[Array, ""], *, plateau: Plateau | None, min_delta: float
) -> Control:
    """Return the state after a validation pass at `step` with this loss. A NaN is no improvement.

    Args:
      control: the state before the pass.
      loss: of the validation rows.
      step: of the training.
      plateau: the rule of the schedule.
      min_delta: least improvement over the best loss that resets the patience (`config.stop`).
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
