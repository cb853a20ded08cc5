"""The start of a job of several processes: how this process learns its part, meets the others, and is watched."""

import atexit
import functools
import hashlib
import os
import platform
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

import jax
import jaxlib.version
from jax._src.clusters import ClusterEnv

import mmcl_jax
from mmcl_jax.errors import UserError, check
from mmcl_jax.signals import delay_abort
from mmcl_jax.training.processes.meeting import meet
from mmcl_jax.training.processes.variables import OWN, check_alone, check_variables
from mmcl_jax.training.processes.watch import Watch

START_SECONDS, LOST_SECONDS = "MMCL_START_SECONDS", "MMCL_LOST_SECONDS"
_VERDICT = 3.0  # seconds in which the loss of another process shows
_STARTED: list[Watch] = []


def begin(*, distributed: bool, saves_when_asked: bool = False) -> None:
    """Begin a command of one process, or of one process of several, before any other call of JAX.

    Slurm, Cloud TPUs, Open MPI and Kubernetes job sets are recognised. Any other launcher sets the environment
    variables JAX_COORDINATOR_ADDRESS (host:port of the first process), JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Args:
      distributed: whether this process is one of several.
      saves_when_asked: whether SIGTERM to one process lets all agree on a step, save, and leave.

    Raises:
      UserError: no launcher is recognised; variables are incomplete, or belong to another job; or processes have
        different versions of the software.
    """
    if not distributed:
        if not jax.distributed.is_initialized():
            check_alone(os.environ)
        return
    check(
        not jax.distributed.is_initialized() or bool(_STARTED),
        "--distributed: jax.distributed.initialize() was called already; leave that to this function.",
    )
    if _STARTED:
        return
    check_variables(os.environ)
    start, lost = _seconds(START_SECONDS, 300), _seconds(LOST_SECONDS, 40)
    address, processes, process, devices = _part(start)
    peers = meet(address, processes, process, _versions(), limit=start)
    if not saves_when_asked:  # JAX's handler of SIGTERM would leave the signal without effect
        jax.config.update("jax_enable_preemption_service", False)
    watch = Watch(process, peers, limit=lost)
    _STARTED.append(watch)
    delay_abort()  # JAX aborts when it loses the first process, with no sentence of ours
    try:
        jax.distributed.initialize(
            address,
            processes,
            process,
            devices,
            initialization_timeout=int(start) + 1,
            heartbeat_timeout_seconds=int(max(100, 3 * lost)),  # `watch` notices earlier, and names the process
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--distributed: process {process} cannot connect at {address} ({reason}).") from error
    atexit.register(lambda: watch.leave(1 if hasattr(sys, "last_value") else 0))  # before JAX's own


def others() -> Watch | None:
    """Return the watch over the other processes; None if `begin` has found no others."""
    return _STARTED[0] if _STARTED else None


def leave(status: int, error: BaseException | None = None) -> None:
    """Tell the other processes that this one ends, and with an error end it now: JAX would wait for the others.

    An `error` is printed with its traceback, unless it is due to the loss of another process, which is noticed first.
    """
    if _STARTED:
        if status not in (0, 2, os.EX_TEMPFAIL):
            time.sleep(_VERDICT)
        _STARTED[0].leave(status)
        if status not in (0, os.EX_TEMPFAIL):
            if error is not None:
                traceback.print_exception(error)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _part(seconds: float) -> tuple[str, int, int, list[int] | None]:
    """Return the coordinator's address, the number of processes, this process's number, and its devices if not all."""
    if all(name in os.environ for name in OWN):
        own = [os.environ[name] for name in OWN]
        local = os.environ.get("JAX_LOCAL_DEVICE_IDS")
        return own[0], int(own[1]), int(own[2]), [int(one) for one in local.split(",")] if local else None
    try:
        part = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, int(seconds))
    except (ValueError, RuntimeError) as error:
        raise UserError(f"--distributed: the cluster is not as JAX expects it ({error}).") from error
    address, processes, process, devices = part
    if address is None or processes is None or process is None:
        raise UserError(f"--distributed: no cluster was recognised. Under another launcher, set {', '.join(OWN)}.")
    return address, processes, process, None if devices is None else list(devices)


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = 0
    check(0 < seconds < 1e6, f"{name} is {text!r}, which is no number of seconds.")
    return seconds


def _versions() -> Mapping[str, str]:
    """Return the versions that all processes must share."""
    return {
        "The version of mmcl_jax": mmcl_jax.__version__,
        "The code of mmcl_jax (a hash)": _code(),
        "The version of jax": jax.__version__,
        "The version of jaxlib": jaxlib.version.__version__,
        "The version of Python": ".".join(platform.python_version_tuple()[:2]),
    }


@functools.cache
def _code() -> str:
    """Return a hash of the package's files, since two versions that are being worked on may have one number."""
    folder, code = Path(mmcl_jax.__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        code.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return code.hexdigest()[:12]
