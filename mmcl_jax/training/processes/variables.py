"""The environment variables by which a launcher tells a process its part in a job, and those that do not fit."""

from collections.abc import Mapping

from mmcl_jax.errors import check

OWN = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
# An index, which counts from 0, and the number that it stays below.
_INDICES = (
    ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES"),
    ("MEGASCALE_SLICE_ID", "MEGASCALE_NUM_SLICES"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
)
_SLICES = ("MEGASCALE_COORDINATOR_ADDRESS", "MEGASCALE_NUM_SLICES", "MEGASCALE_SLICE_ID")


def check_alone(environment: Mapping[str, str]) -> None:
    """Check that no variable says that a command without `--distributed` is one of several processes.

    Without the check, libtpu waits for the other slices for ever, and processes that do not know of each other train
    the same run.

    Raises:
      UserError: a variable says so.
    """
    for name in ("MEGASCALE_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "MEGASCALE_NUM_SLICES"):
        value = environment.get(name, "")
        check(
            value in ("", "0", "1"),
            f"{name} is {value!r}, which belongs to a job of several processes, but this command runs alone: unset it, "
            "or add --distributed.",
        )


def check_variables(environment: Mapping[str, str]) -> None:
    """Check that the variables of launchers are whole and agree with each other.

    Raises:
      UserError: a variable is missing, is no number, or contradicts another one.
    """
    given = [name for name in OWN if name in environment]
    missing = [name for name in OWN if name not in given]
    both = " and ".join(given)
    check(len(given) in (0, 1, 3), f"{both} are set, but not {', '.join(missing)}; set all three, or none.")
    for index, count in _INDICES:
        if index in environment and count in environment and not (index in OWN and len(given) < 3):
            here, number = environment[index], environment[count]
            check(
                number.isdigit() and here.isdigit() and int(here) < int(number),
                f"{index} is {here!r} and {count} is {number!r}: set both to whole numbers, and the first, which "
                "counts from 0, below the second.",
            )
    if len(given) == len(OWN):
        _check_own(environment)
    _check_slices(environment, int(environment["JAX_NUM_PROCESSES"]) if len(given) == len(OWN) else None)
    workers = environment.get("TPU_PROCESS_ADDRESSES", environment.get("TPU_WORKER_HOSTNAMES", ""))
    worker = environment.get("TPU_WORKER_ID", "")
    hosts = len(workers.split(","))
    check(
        not workers or not worker or (worker.isdigit() and int(worker) < hosts),
        f"TPU_WORKER_ID is {worker!r}, but TPU_WORKER_HOSTNAMES names {hosts} hosts, which are counted from 0; the "
        "variables belong to different jobs.",
    )


def _check_own(environment: Mapping[str, str]) -> None:
    address = environment["JAX_COORDINATOR_ADDRESS"]
    host, _, port = address.rpartition(":")
    check(
        bool(host) and port.isdigit() and 0 < int(port) < 2**16,
        f"JAX_COORDINATOR_ADDRESS is {address!r}: set it to HOST:PORT of the first process, such as 10.0.0.2:8476.",
    )
    tasks, task = environment.get("SLURM_STEP_NUM_TASKS", "1"), environment.get("SLURM_PROCID", "0")
    processes, process = environment["JAX_NUM_PROCESSES"], environment["JAX_PROCESS_ID"]
    check(
        tasks == "1" or (tasks, task) == (processes, process),
        f"JAX_PROCESS_ID is {process!r} of JAX_NUM_PROCESSES {processes!r}, but this is task {task} of the {tasks} of "
        f"a Slurm step: unset {', '.join(OWN)}, which are left from another job.",
    )


def _check_slices(environment: Mapping[str, str], processes: int | None) -> None:
    given = [name for name in _SLICES if environment.get(name)]
    slices = environment.get("MEGASCALE_NUM_SLICES", "")
    if not given or slices == "1":
        return
    missing = [name for name in _SLICES if name not in given]
    check(
        not missing,
        f"{' and '.join(given)} say that the job has several slices, but {' and '.join(missing)} are missing; set all "
        "three, or unset them.",
    )
    check(slices.isdigit() and int(slices) > 0, f"MEGASCALE_NUM_SLICES is {slices!r}, which is no number of slices.")
    check(
        processes is None or processes % int(slices) == 0,
        f"MEGASCALE_NUM_SLICES is {slices}, which does not divide JAX_NUM_PROCESSES, {processes}: unset the variables "
        "that are left from another job.",
    )
