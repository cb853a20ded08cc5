"""The repair of a run: half lines, damaged checkpoints, leftovers, and files that its store determines."""

import contextlib
import shutil
from pathlib import Path

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.files import CHECKSUMS, atomic, damage, leads_out, read_records
from mmcl_jax.integrity.repair import Repair
from mmcl_jax.integrity.run import CHECKPOINTS, INFORMING, LOCK, LOGS, half_line, informing_fault, left_over
from mmcl_jax.lock import locked
from mmcl_jax.training.build import fit_inputs
from mmcl_jax.training.runs.checkpoint import move_aside, set_aside
from mmcl_jax.training.runs.config_file import read_config
from mmcl_jax.training.runs.logged import FILE, read_log, steps_of
from mmcl_jax.training.runs.run import Run

_SCRATCH = ".check.partial"
_GIVEN = ("config.json", "weights.json")  # that no other file determines


def repair_run(directory: Path) -> Repair:
    """Repair a run as far as its other files and its store determine it.

    Raises:
      UserError: the run is being trained.
    """
    repair, stale = Repair(), directory / LOCK in left_over(directory)
    with locked(directory / LOCK, what=f"trains in {directory}"):
        repair.remove([path for path in left_over(directory) if path.name != LOCK])
        _logs(directory, repair)
        with repair.trying(str(directory / FILE)):
            _lines(directory, repair)
        _informing(directory, repair)
        _checkpoints(directory, repair)
        _description(directory, repair)
    return repair.without_lock(directory / LOCK) if stale else repair


def _logs(directory: Path, repair: Repair) -> None:
    for path in (directory / name for name in LOGS):
        if path.is_file() and not leads_out(path, directory) and (half := half_line(path)):
            with atomic(path) as partial:
                partial.write_bytes(path.read_bytes()[: -len(half)])
            repair.repairs.append(f"The half line at the end of {path}, of {len(half)} bytes, was cut.")


def _lines(directory: Path, repair: Repair) -> None:
    """Put the lines that the newest checkpoint has in place of those of a log that was damaged."""
    path = directory / FILE
    lines, fault = read_log(directory)
    if lines and fault and not path.is_dir() and not leads_out(path, directory):
        with atomic(path) as partial:
            partial.write_bytes(b"".join(line + b"\n" for line in lines))
        repair.repairs.append(f"{path} was made again from the copy in the newest checkpoint.")


def _informing(directory: Path, repair: Repair) -> None:
    """Move a damaged status and damaged times away: the run is whole without them, and a training writes them."""
    for path in (directory / name for name in INFORMING):
        if (path.exists() or path.is_symlink()) and informing_fault(path):
            aside = move_aside(path, directory)
            repair.repairs.append(f"The damaged {path}, without which the run is whole, was moved to {aside}.")


def _checkpoints(directory: Path, repair: Repair) -> None:
    folder = directory / CHECKPOINTS
    if leads_out(folder, directory):
        return
    steps = steps_of(folder)
    damaged = [step for step in steps if damage(folder / str(step), root=directory) is not None]
    if damaged and len(damaged) == len(steps):
        repair.left.append(f"No checkpoint in {folder} is intact, so none is moved; put a copy of the folder back.")
        return
    for step in damaged:
        repair.repairs.append(f"The damaged checkpoint of step {step} was moved to {set_aside(folder, step)}.")


def _description(directory: Path, repair: Repair) -> None:
    """Fit what leads from rows to batches again on the training rows, as a new run of this config would."""
    with contextlib.suppress(UserError):
        recorded = read_records(directory / CHECKSUMS, "")
        faulty = {n: one for n, one in recorded.items() if one.fault(directory / n, root=directory) is not None}
        scratch = directory / _SCRATCH
        if not faulty.keys() - set(_GIVEN) or "config.json" in faulty:
            return
        with repair.trying(" and ".join(str(directory / name) for name in faulty)):
            config = read_config(directory)
            store = Store.open(config.data)
            try:
                scratch.mkdir()
                Run.write_description(scratch, config, store, fit_inputs(config, store))
                for name, one in faulty.items():
                    if name not in _GIVEN:
                        source = f"the training rows of {store.directory}"
                        repair.offer(scratch / name, directory / name, one, source)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
