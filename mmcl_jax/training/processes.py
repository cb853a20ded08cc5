"""A program of several processes: start them, single out the first, and broadcast its decisions."""

import os
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from mmcl_jax.errors import UserError, check

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def initialize() -> None:
    """Connect this process with the other processes of a program, before any other call of JAX.

    Slurm, Cloud TPUs, Open MPI and Kubernetes job sets are recognised. Any other launcher sets the environment
    variables JAX_COORDINATOR_ADDRESS (host:port of the first process), JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
      UserError: no launcher is recognised, or the variables are incomplete.
    """
    defined = [name for name in _VARIABLES if name in os.environ]
    if len(defined) == len(_VARIABLES):
        address, processes, process = (os.environ[name] for name in _VARIABLES)
        check(
            processes.isdigit() and process.isdigit() and int(process) < int(processes),
            f"JAX_PROCESS_ID is {process!r} and JAX_NUM_PROCESSES is {processes!r}: set both to whole numbers, and the "
            f"first, which counts from 0, below the second.",
        )
        jax.distributed.initialize(address, int(processes), int(process))
        return
    missing = [name for name in _VARIABLES if name not in defined]
    check(len(defined) < 2, f"{' and '.join(defined)} are set, but not {', '.join(missing)}; set all three, or none.")
    try:
        jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed: no cluster was recognised ({error}). Under another launcher, set {', '.join(_VARIABLES)}."
        ) from error


def is_primary() -> bool:
    """Return whether this is the first process, which prints and writes."""
    return jax.process_index() == 0


def broadcast_from_primary(function: Callable[[], bool]) -> bool:
    """Call a function in the first process alone, and return its result in all: their file systems may lag behind.

    Raises:
      UserError: the function raised a `UserError`, which the first process raises itself.
    """
    result, error = False, None
    if is_primary():
        try:
            result = function()
        except UserError as raised:
            error = raised
    result, failed = multihost_utils.broadcast_one_to_all(np.array([result, error is not None]))
    if error is not None:
        raise error
    check(not failed, "The first process has failed; see its message.")
    return bool(result)
