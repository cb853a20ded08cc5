"""Comparing a run with its checksums, and reading the files that grow."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mmcl_jax.border import written
from mmcl_jax.border.checksum import Sums
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.kept import ABOUT, FOLDER
from mmcl_jax.evaluation.results.file import read_entries
from mmcl_jax.files import CHECKSUMS, damage, leads_out
from mmcl_jax.integrity.files import fault_group, leftovers, recorded_group, records_of
from mmcl_jax.integrity.result import Fault, Group
from mmcl_jax.training.faults import FILE as FAULTS
from mmcl_jax.training.faults import read_faults
from mmcl_jax.training.runs.logged import FILE as METRICS
from mmcl_jax.training.runs.logged import read_lines, read_log, steps_of
from mmcl_jax.training.runs.skips import SKIPPED_STEPS, read_skipped
from mmcl_jax.training.runs.status import FILE as STATUS
from mmcl_jax.training.runs.status import read_status
from mmcl_jax.training.speed.times import FILE as TIMES
from mmcl_jax.training.speed.times import read_times

CHECKPOINTS, DESCRIPTION = "checkpoints", "description"
LOCK = "lock.json"
_READ: dict[str, Callable[[Path], Iterable[object]]] = {
    METRICS: lambda directory: read_lines(directory, read_log(directory).lines),
    SKIPPED_STEPS: read_skipped,
    FAULTS: read_faults,
}
LOGS = tuple(_READ)
INFORMING: dict[str, Callable[[Path], object]] = {STATUS: read_status, TIMES: read_times}  # the run is whole without
RESULTS = "evaluation.json"
_LEFTOVERS = ("**/.*.partial", "checkpoints/*.orbax-checkpoint-tmp*", "checkpoints/*.tmp*")


def groups_of(directory: Path) -> tuple[Group, ...]:
    """Compare all files of a run that have checksums, and read the logs and results; nothing is written."""
    return (
        _description(directory),
        _checkpoints(directory),
        _logs(directory),
        *([_heads(directory)] if (directory / FOLDER).is_dir() else []),
        *([_results(directory)] if (directory / RESULTS).exists() else []),
    )


def left_over(directory: Path) -> tuple[Path, ...]:
    """Return what killed processes left in a run."""
    return leftovers(directory, _LEFTOVERS, [LOCK])


def half_line(path: Path) -> bytes:
    """Return the last line of a log if its end is missing, because a process was killed as it wrote it; else b""."""
    return path.read_bytes().rpartition(b"\n")[2]


def _description(directory: Path) -> Group:
    path = directory / CHECKSUMS
    if not path.exists() and not path.is_symlink():
        return Group(
            name=DESCRIPTION, others=sum(1 for file in directory.iterdir() if file.suffix in (".json", ".npz"))
        )
    records, broken = records_of(path)
    return broken if records is None else recorded_group(DESCRIPTION, directory, records)


def _checkpoints(directory: Path) -> Group:
    folder, faults, compared, others = directory / CHECKPOINTS, [], 0, 0
    if leads_out(folder, directory):
        return fault_group(folder, f"{folder} is a link that leads out of {directory}")
    for step in steps_of(folder):
        if reason := damage(folder / str(step), root=directory):
            faults.append(Fault(f"{CHECKPOINTS}/{step}", reason))
        files = sum(1 for file in (folder / str(step)).rglob("*") if file.is_file())
        if (folder / str(step) / CHECKSUMS).is_file():
            compared += files - 1
        else:
            others += files
    return Group(name=CHECKPOINTS, compared=compared, others=others, faults=tuple(faults))


def _logs(directory: Path) -> Group:
    faults, paths = [], [directory / name for name in LOGS if (directory / name).exists()]
    for path in paths:
        faults += [Fault(path.name, reason) for reason in _log_faults(path, directory)]
    if directory / METRICS not in paths and (fault := read_log(directory).fault):
        faults.append(Fault(METRICS, fault.removesuffix(".")))
    for name in INFORMING:
        path = directory / name
        if path.exists() or path.is_symlink():
            paths.append(path)
            faults += [Fault(name, reason)] if (reason := informing_fault(path)) else []
    return Group(name="logs", compared=len(paths), faults=tuple(faults))


def informing_fault(path: Path) -> str:
    """Return what is wrong with the status or the times of a run, or ""."""
    if leads_out(path, path.parent):
        return f"{path} is a link that leads out of {path.parent}"
    try:
        INFORMING[path.name](path.parent)
    except UserError as error:
        return str(error).removesuffix(".")
    return ""


def _log_faults(path: Path, directory: Path) -> Iterator[str]:
    if leads_out(path, directory):
        yield f"{path} is a link that leads out of {directory}"
        return
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except OSError as error:
        yield f"{path} cannot be read ({error.strerror})"
        return
    sums = Sums()
    for number, line in enumerate(lines, start=1):
        try:
            written(dict[str, Any], sums.open(line))
        except ValueError as error:
            yield f"{path}: line {number} is damaged ({error})"
            return
    if path.name == METRICS and (fault := read_log(directory).fault):
        yield fault.removesuffix(".")
    try:
        _ = list(_READ[path.name](directory))
    except UserError as error:
        yield str(error).removesuffix(".")
    if last:
        yield f"{path} ends in the middle of a line"


def _heads(directory: Path) -> Group:
    faults, count = [], 0
    for head in sorted((directory / FOLDER).iterdir()):
        if not (head / CHECKSUMS).exists() and not (head / ABOUT).exists():
            continue
        reason = damage(head, root=directory) if (head / CHECKSUMS).exists() else f"{head / CHECKSUMS} is missing"
        faults += [Fault(f"{FOLDER}/{head.name}", reason)] if reason else []
        count += 2
    return Group(name="heads", compared=count, faults=tuple(faults))


def _results(directory: Path) -> Group:
    path = directory / RESULTS
    try:
        if leads_out(path, directory):
            raise UserError(f"{path} is a link that leads out of {directory}")
        read_entries(path)
    except UserError as error:
        return Group(name="results", faults=(Fault(RESULTS, str(error).removesuffix(".")),))
    return Group(name="results", compared=1)
