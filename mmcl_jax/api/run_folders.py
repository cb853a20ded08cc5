"""What the folder of a run tells without JAX: its state, progress and headline metrics, also while it is trained."""

import contextlib
import dataclasses
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

from mmcl_jax.border import AtLeast, Open, Real, as_type, written
from mmcl_jax.border.checksum import check_checksum
from mmcl_jax.errors import UserError
from mmcl_jax.files import damage
from mmcl_jax.lock import is_held
from mmcl_jax.page.wording import LOWER_IS_BETTER, count, counted
from mmcl_jax.text import first_few
from mmcl_jax.training.runs.logged import FILE as METRICS
from mmcl_jax.training.runs.logged import check_sums, read_log, steps_of, values_of
from mmcl_jax.training.runs.status import FILE as STATUS
from mmcl_jax.training.runs.status import read_status
from mmcl_jax.training.speed.times import FILE as TIMES
from mmcl_jax.training.speed.times import SPEED, read_times

MOST_FOLDERS = 20_000  # that are searched for runs: about a second
STATES = ("running", "stopped", "finished", "failed", "damaged", "unknown")
_PARTS = ("checkpoints", METRICS, "encoding.json", "seen.npz", STATUS)  # that tell a run from other folders
_RECENT = 20  # logged steps whose rate gives the time left


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run of a listing; None stands for what the folder does not tell.

    Attributes:
      path: the folder.
      state: one of `STATES`: "stopped" can be continued, "failed" ended with an error, and the end of an "unknown" run
        was not recorded, since an earlier version trained it.
      reason: why the run is failed or damaged; "" otherwise.
      experiment, seed, data: as its config says.
      step, steps: done, and of the whole training.
      epochs_done, epochs: done, and of the whole training.
      seconds: trained so far, over all sessions, up to the last logged step.
      seconds_left: of a running training, by the speed of its last logged steps.
      samples_per_second: at the last logged step, of the time of steps and their input.
      mfu: model FLOPs utilisation at the last logged step, where the peak of the devices is known.
      input_wait: the share of the steps' time in which the devices waited for input.
      lost: seconds of steps that were done again, since the training was killed.
      loss: at the last logged step.
      validation_loss: the lowest so far.
      monitor: the last accuracy of nearest neighbours, or of retrieval, that `config.monitor` measured.
      monitor_name: its metric, such as "online/knn_top1/image".
      score: the best test score of the run in its `evaluation.json`, a mean over draws.
      score_name: its metric, protocol, input, label and budget.
      score_metric: its metric, such as "top1".
      updated: when the run last wrote, in seconds since 1970.
    """

    path: Path
    state: str
    reason: str = ""
    experiment: str | None = None
    seed: int | None = None
    data: str | None = None
    step: int | None = None
    steps: int | None = None
    epochs_done: float | None = None
    epochs: int | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    samples_per_second: float | None = None
    mfu: float | None = None
    input_wait: float | None = None
    lost: float | None = None
    loss: float | None = None
    validation_loss: float | None = None
    monitor: float | None = None
    monitor_name: str = ""
    score: float | None = None
    score_name: str = ""
    score_metric: str = ""
    updated: float | None = None


class RunFolders(NamedTuple):
    """The runs that were found, and sentences on where no run was looked for."""

    paths: list[Path]
    remarks: tuple[str, ...]


def run_folders(folder: Path, most: int) -> RunFolders:
    """Return the runs in and below a folder, those of the upper levels first.

    Hidden folders and links to folders are left out, and at most `most` folders are searched.
    """
    paths, links, searched, pending = list[Path](), list[str](), 0, deque([folder])
    while pending and searched < most:
        directory, searched = pending.popleft(), searched + 1
        try:
            with os.scandir(directory) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except PermissionError:
            paths.append(directory)  # so that it is listed with the reason
            continue
        except OSError:  # it was removed meanwhile
            continue
        names = {entry.name for entry in entries}
        if _is_run(names):
            paths.append(directory)
        elif "entries.json" not in names:  # of a store, which holds no run
            below = [entry for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]
            pending += [directory / entry.name for entry in below if not entry.is_symlink()]
            links += [str(directory / entry.name) for entry in below if entry.is_symlink()]
    remarks = []
    if links:
        behind = f"{counted(len(links), 'link')} to folders"
        remarks.append(f"{behind} ({first_few(links, 3)}) were not followed: give such a link as the folder to list.")
    if pending:
        remarks.append(
            f"Only {count(searched)} folders were searched, the upper levels first, and {count(len(pending))} more are "
            f"known: name a folder nearer to the runs, or search more with --most-folders."
        )
    return RunFolders(paths, tuple(remarks))


def _is_run(names: set[str]) -> bool:
    """Return whether a folder with these files is a run, also one that lacks a file."""
    parts = sum(part in names for part in _PARTS)
    return parts >= 2 or ("config.json" in names and parts >= 1)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def read_run(path: Path) -> RunRow:
    """Return what the folder of a run tells; a file that cannot be read makes the run damaged and is named."""
    faults: list[str] = []
    told: dict[str, Any] = {"faults": faults}
    for part in (_config, _status, _metrics, _times, _score, _files):
        try:
            told |= part(path, told)
        except FileNotFoundError as error:
            faults.append(f"{Path(error.filename).name} is missing")
        except OSError as error:
            faults.append(f"{Path(error.filename or path).name} cannot be read ({(error.strerror or '').lower()})")
        except _DamageError as error:
            faults.append(str(error))
    del told["faults"]
    steps, epoch, step = told.get("steps"), told.pop("steps_per_epoch", None), told.get("step")
    rate, state = told.pop("seconds_per_step", None), told.pop("state", "unknown")
    held = is_held(path / "lock.json")
    if held or state == "training":
        state = "running" if held else "stopped"  # a session that was killed could not write how it ended
    if state != "failed":
        told["reason"] = ""
    if state == "finished" and not any((path / "checkpoints").glob("[0-9]*")):
        faults.append("checkpoints is empty")
    if faults:
        state, told["reason"] = "damaged", "; ".join(faults)
    if epoch and step is not None:
        told["epochs_done"] = step / epoch
    if state == "running" and steps and step and rate:
        since = max(0.0, time.time() - told["updated"]) if "updated" in told else 0.0
        told["seconds_left"] = max(0.0, (steps - step) * rate - since)
    return RunRow(path=path, state=state, **told)


class _DamageError(Exception):
    """A file of a run that has not the content it should have; the text names the file."""


@contextlib.contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn errors into clauses that begin with the name of the file, since the folder is named beside them."""
    try:
        yield
    except ValueError as error:
        raise _DamageError(f"{path.name} is damaged ({error})") from error
    except UserError as error:
        raise _DamageError(str(error).removeprefix(f"{path.parent}{os.sep}").removesuffix(".")) from error


class _Config(TypedDict):
    name: str
    seed: int
    data: str
    epochs: Annotated[int, AtLeast(1)]


def _config(path: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    file = path / "config.json"
    content = file.read_bytes()
    with _parsing(file):
        config: _Config = written(Annotated[_Config, Open], content)
    names = {"experiment": config["name"], "seed": config["seed"], "data": config["data"]}
    return {**names, "epochs": config["epochs"]}


def _status(path: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of the last session; of earlier versions, the step of the newest checkpoint alone."""
    steps = steps_of(path / "checkpoints")[:1]
    with _parsing(path / STATUS):
        status = read_status(path)
    if status is None:
        return {"step": steps[0]} if steps else {}
    return {
        "state": status["state"],
        "reason": status.get("error", ""),
        "step": max([status["step"], *steps]),
        "steps": status["steps"],
        "steps_per_epoch": status.get("steps_per_epoch"),
        "updated": status.get("time", (path / STATUS).stat().st_mtime),
    }


def _metrics(path: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    file = path / METRICS
    with _parsing(file):
        lines, fault = read_log(path)
    if fault:
        told["faults"].append(fault.removeprefix(f"{path}{os.sep}").removesuffix("."))
    if not lines:
        return {}
    with _parsing(file):
        check_sums(lines)
        recent = list(map(values_of, lines[-_RECENT:]))
        validated = [values_of(line)["validation/loss"] for line in lines if b'"validation/loss"' in line]
        monitored = next((values_of(line) for line in reversed(lines) if b'"online/' in line), {})
    first, last = recent[0], recent[-1]
    begun = {"step": 0, "seconds": 0.0} if len(recent) == 1 else first
    steps = last["step"] - begun["step"]
    names = sorted((name for name in monitored if name.startswith("online/")), key=_monitor_order)
    return {
        "step": max(int(last["step"]), told.get("step", 0)),
        "seconds": last["seconds"],
        "seconds_per_step": (last["seconds"] - begun["seconds"]) / steps if steps > 0 else None,
        "loss": last.get("loss"),
        **{name: last.get(f"{SPEED}{name}") for name in ("samples_per_second", "mfu", "input_wait")},
        "validation_loss": min(filter(math.isfinite, validated), default=None),
        **({"monitor": monitored[names[0]], "monitor_name": names[0]} if names else {}),
        "updated": max(file.stat().st_mtime if file.exists() else 0.0, told.get("updated", 0.0)),
    }


def _times(path: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    with _parsing(path / TIMES):
        times = read_times(path)
    return {} if times is None else {"lost": times.seconds["lost"]}


def _monitor_order(name: str) -> tuple[bool, bool, str]:
    """Sort nearest neighbours before retrieval, and images before other modalities."""
    return not name.startswith("online/knn"), not name.endswith("/image"), name


class _Score(TypedDict):
    method: str
    protocol: str
    input: str
    label: str
    budget: str
    metrics: dict[str, Real | None]


class _Results(TypedDict):
    scores: list[Annotated[_Score, Open]]


def _score(path: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the best test score of the run: the mean over draws of the metric that chooses settings."""
    file = path / "evaluation.json"
    if not file.exists():
        return {}
    content = file.read_bytes()
    with _parsing(file):
        whole: dict[str, Any] = written(dict[str, Any], content)
        results: _Results = as_type(Annotated[_Results, Open], whole)
        check_checksum(whole)
    draws: dict[tuple[str, ...], list[float]] = {}
    for score in results["scores"]:
        primary = next((name[4:] for name in score["metrics"] if name.startswith("val_")), "")
        value = score["metrics"].get(primary)
        if score["method"] == told.get("experiment") and value is not None and math.isfinite(value):
            names = (score["label"], primary, score["protocol"], score["input"], score["budget"])
            draws.setdefault(names, []).append(value)
    # Scores of different labels or metrics cannot be compared, so the first label and metric count.
    means = {key: math.fsum(v) / len(v) for key, v in draws.items() if key[:2] == next(iter(draws))[:2]}
    if not means:
        return {}
    best = (min if next(iter(means))[1] in LOWER_IS_BETTER else max)(means, key=means.__getitem__)
    label, metric, protocol, input, budget = best
    name = f"{metric} of {label}, {protocol} on {input}, labels: {budget}"
    return {"score": means[best], "score_name": name, "score_metric": metric}


def _files(path: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the sizes of the run's files, and of its newest checkpoint's, with their records."""
    steps = steps_of(path / "checkpoints")[:1]
    # A training writes and removes checkpoints at any moment.
    newest = [path / "checkpoints" / str(steps[0])] if steps and not is_held(path / "lock.json") else []
    for folder in (path, *newest):
        fault = damage(folder, contents=False)
        if fault is not None:
            raise _DamageError(fault.removeprefix(f"{path}{os.sep}"))
    return {}
