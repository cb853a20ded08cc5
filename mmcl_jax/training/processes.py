"""Several processes, one program: what only the first does, and what all must agree on."""

import os
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from mmcl_jax.errors import UserError, check

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def initialize() -> None:
    """Make this process one of several. Call it before anything else of JAX.

    Slurm, Cloud TPUs, Open MPI and Kubernetes job sets are recognised. Any other launcher sets the environment
    variables JAX_COORDINATOR_ADDRESS (host:port of the first process), JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
      UserError: nothing is recognised, or the variables are incomplete.
    """
    given = [name for name in _VARIABLES if name in os.environ]
    if len(given) == len(_VARIABLES):
        address, processes, process = (os.environ[name] for name in _VARIABLES)
        check(
            processes.isdigit() and process.isdigit() and int(process) < int(processes),
            f"JAX_PROCESS_ID is {process!r} and JAX_NUM_PROCESSES {processes!r}: give whole numbers, counted from 0.",
        )
        jax.distributed.initialize(address, int(processes), int(process))
        return
    check(not given[1:], f"Of {', '.join(_VARIABLES)}, set all or none (found {', '.join(given)}).")
    try:
        jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed: no cluster was recognised ({error}). Under another launcher, set {', '.join(_VARIABLES)}."
        ) from error


def is_primary() -> bool:
    """Return whether this process is the one that prints and writes."""
    return jax.process_index() == 0


def broadcast_from_primary(ask: Callable[[], bool]) -> bool:
    """Return the answer of the first process. The others wait and do not look: their file system may lag behind.

    Raises:
      UserError: the first process could not answer; in it, that error itself.
    """
    answer, error = False, None
    if is_primary():
        try:
            answer = ask()
        except UserError as raised:
            error = raised
    answer, failed = multihost_utils.broadcast_one_to_all(np.array([answer, error is not None]))
    if error is not None:
        raise error
    check(not failed, "The first process could not go on; see its message.")
    return bool(answer)
