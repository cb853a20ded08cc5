"""Where a training goes on: the newest checkpoint that is intact and finite."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from mmcl_jax.errors import UserError
from mmcl_jax.training.processes import is_primary
from mmcl_jax.training.runs.checkpoint import Checkpoints, Restored, UnreadableError, newest_intact, set_aside
from mmcl_jax.training.state.train_state import TrainState
from mmcl_jax.training.step.finite_step import all_finite


def resume(directory: Path, abstract: TrainState, *, log: Callable[[str], None]) -> Restored | None:
    """Return the newest checkpoint of a folder that is intact and finite, None if the folder has none.

    Newer ones are moved to `damaged/`, beside the folder: the steps behind the one that is used are done again, and
    saved again. Nothing is moved if no checkpoint can be used.

    Args:
      directory: of the checkpoints.
      abstract: shapes, dtypes and shardings of the train state.
      log: prints a line.

    Raises:
      UserError: there are checkpoints, and none can be used.
    """
    bad: dict[int, str] = {}
    step: int | None = None
    while True:
        step, damaged = _newest(directory, below=step)
        bad |= damaged
        if step is None:
            break
        restored, wrong = _restore(directory, step, abstract)
        if restored is not None:
            for number, reason in bad.items() if is_primary() else ():
                moved = set_aside(directory, number)
                log(f"The checkpoint of step {number} cannot be used: {reason}; it was moved to {moved}.")
            return restored
        bad[step] = wrong
    if bad:
        raise UserError(unusable(directory.parent, bad))
    return None


def unusable(run: Path, bad: dict[int, str]) -> str:
    """Return the sentence on a run none of whose checkpoints can be used; `bad` says why, by step."""
    newest = max(bad)
    return (
        f"{run} has no checkpoint that can be used; that of step {newest} cannot because {bad[newest]}. Put a copy of "
        f"the folder checkpoints back, or train anew in another --workdir."
    )


def _newest(directory: Path, *, below: int | None) -> tuple[int | None, dict[int, str]]:
    """Return `newest_intact`, as the first process finds it."""
    found, damaged = newest_intact(directory, below=below) if is_primary() else (None, {})
    step = int(multihost_utils.broadcast_one_to_all(np.array(-1 if found is None else found, np.int32)))
    return (None if step < 0 else step), damaged


def _restore(directory: Path, step: int, abstract: TrainState) -> tuple[Restored | None, str]:
    """Return the checkpoint if all processes can read it and it is finite, else a description of the fault."""
    restored, wrong = None, "another process cannot read it"
    with contextlib.closing(Checkpoints(directory)) as checkpoints:
        try:
            restored = checkpoints.restore(step, abstract)
        except UnreadableError as error:
            wrong = f"it cannot be read ({error})"
    if not multihost_utils.process_allgather(np.array(restored is not None)).all() or restored is None:
        return None, wrong
    if not jax.device_get(jax.jit(all_finite)(restored.state)):
        return None, "it holds numbers that are not finite"
    return restored, ""
