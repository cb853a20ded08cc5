"""Resume a training from its newest checkpoint that is intact and finite."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from mmcl_jax.errors import UserError
from mmcl_jax.training.processes import is_primary
from mmcl_jax.training.runs.checkpoint import Checkpoints, Progress, UnreadableError, newest_intact, set_aside
from mmcl_jax.training.state.train_state import TrainState
from mmcl_jax.training.step.finite_step import all_finite


def resume(directory: Path, abstract: TrainState, *, log: Callable[[str], None]) -> Progress | None:
    """Restore the newest checkpoint that is intact and finite; return None if the folder has no checkpoint.

    Newer checkpoints are moved to `damaged/`, beside the folder, since their steps are repeated and saved again. No
    checkpoint is moved if none can be used.

    Args:
      directory: the folder of the checkpoints.
      abstract: shapes, dtypes and shardings of the train state.
      log: prints a line.

    Raises:
      UserError: the folder has checkpoints, and none can be used.
    """
    faults: dict[int, str] = {}
    step: int | None = None
    while True:
        step, damaged = _newest(directory, below=step)
        faults |= damaged
        if step is None:
            break
        restored, fault = _restore(directory, step, abstract)
        if restored is not None:
            for number, reason in faults.items() if is_primary() else ():
                path = set_aside(directory, number)
                log(f"The checkpoint of step {number} cannot be used: {reason}; it was moved to {path}.")
            return restored
        faults[step] = fault
    if faults:
        raise UserError(unusable_message(directory.parent, faults))
    return None


def unusable_message(run: Path, faults: dict[int, str]) -> str:
    """Return the message that no checkpoint of a run can be used, with the fault of the newest."""
    newest = max(faults)
    return (
        f"{run} has no usable checkpoint; the checkpoint of step {newest} cannot be used: {faults[newest]}. "
        f"Put a copy of {run / 'checkpoints'} back, or train anew in another --workdir."
    )


def _newest(directory: Path, *, below: int | None) -> tuple[int | None, dict[int, str]]:
    """Return `newest_intact` of the first process; the faults are known to the first process alone."""
    newest, damaged = newest_intact(directory, below=below) if is_primary() else (None, {})
    step = int(multihost_utils.broadcast_one_to_all(np.array(-1 if newest is None else newest, np.int32)))
    return (None if step < 0 else step), damaged


def _restore(directory: Path, step: int, abstract: TrainState) -> tuple[Progress | None, str]:
    """Return the checkpoint if all processes can read it and it is finite, else None and its fault."""
    restored, fault = None, "another process cannot read it"
    with contextlib.closing(Checkpoints(directory)) as checkpoints:
        try:
            restored = checkpoints.restore(step, abstract)
        except UnreadableError as error:
            fault = f"it cannot be read ({error})"
    if not multihost_utils.process_allgather(np.array(restored is not None)).all() or restored is None:
        return None, fault
    if not jax.device_get(jax.jit(all_finite)(restored.state)):
        return None, "it holds numbers that are not finite"
    return restored, ""
