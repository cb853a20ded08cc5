"""Many cases of a kind, in a process that is watched.

A batch is the cases that hypothesis draws from one seed, the number of the batch, so that a campaign can go on where it
was stopped. The process notes each case before it tries it: a case that hangs or ends the process is known.
"""

import dataclasses
import json
import logging
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.case import Finding, Kind, tried

BATCH = 1000
HANG = 20.0  # seconds
_MEMORY = 4 * 2**30  # bytes that a process may take beyond those it starts with


def explore(kind: Kind, folder: Path, *, number: int, count: int, found: Callable[[Any, Finding], None]) -> int:
    """Try the `count` cases of the batch `number`, and return how many were tried."""
    total = 0

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.cases)
    def each(case: Any) -> None:
        nonlocal total
        total += 1
        (folder / "case.txt").write_text(repr(case), "utf-8", "backslashreplace")
        finding = tried(kind, case, folder)
        if finding is not None:
            found(case, finding)

    folder.mkdir(parents=True, exist_ok=True)
    each()
    return total


class Campaign:
    """A campaign in a folder: `summary.json`, and each finding once, with its case and the files that reproduce it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "summary.json"
        (folder / "findings").mkdir(parents=True, exist_ok=True)
        self.summary: dict[str, Any] = {"inputs": {}, "batches": {}, "seconds": {}, "findings": {}}
        if self._path.is_file():
            self.summary = json.loads(self._path.read_text())

    def run(self, kinds: Mapping[str, Kind], inputs: int, log: Callable[[str], None]) -> None:
        """Try cases until each kind has its share of `inputs`, counting those of earlier calls."""
        share = -(-inputs // len(kinds))
        while left := [name for name in kinds if self.summary["inputs"].get(name, 0) < share]:
            for name in left:
                self._batch(name, min(BATCH, share - self.summary["inputs"].get(name, 0)))
                self._path.write_text(json.dumps(self.summary, indent=1) + "\n")
                log(f"{name}: {self.summary['inputs'][name]:,} inputs, {self.describe(name)}")

    def describe(self, name: str | None = None) -> str:
        """Return the number of distinct findings, of one kind or of all."""
        found = [key for key in self.summary["findings"] if name is None or key.startswith(f"{name}: ")]
        return f"{len(found)} finding{'s' * (len(found) != 1)}"

    def _batch(self, name: str, count: int) -> None:
        number = self.summary["batches"].get(name, 0)
        folder = Path(tempfile.mkdtemp(prefix="mmcl_jax_fuzz_"))
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_explore, args=(name, folder, number, count), daemon=True)
        began = time.monotonic()
        process.start()
        hung = _watched(process, folder / "case.txt")
        lines = [json.loads(line) for line in _lines(folder / "found.jsonl")]
        if hung or process.exitcode:
            end = f"hangs for {HANG:.0f} s" if hung else f"ends the process with status {process.exitcode}"
            case = (folder / "case.txt").read_text() if (folder / "case.txt").is_file() else "before the first case"
            log = folder / "error.txt"
            lines.append({"key": f"{name}: {end}", "text": log.read_text() if log.is_file() else end, "case": case})
        for line in lines:
            self._note(**line)
        tried = folder / "tried.txt"
        for key, value in (
            ("batches", 1),
            ("seconds", round(time.monotonic() - began)),
            ("inputs", int(tried.read_text() or 1) if tried.is_file() else count),
        ):
            self.summary[key][name] = self.summary[key].get(name, 0) + value
        shutil.rmtree(folder, ignore_errors=True)

    def _note(self, key: str, text: str, case: str) -> None:
        """Count a finding; write the first of its key."""
        findings = self.summary["findings"]
        if key not in findings:
            path = self._folder / "findings" / f"{len(findings):03}.txt"
            path.write_text(f"{key}\n{case}\n\n{text}\n", "utf-8", "backslashreplace")
            findings[key] = {"file": path.name, "count": 0}
        findings[key]["count"] += 1


def _explore(name: str, folder: Path, number: int, count: int) -> None:
    """Try a batch; what is found goes to `found.jsonl`, line by line."""
    from tests.fuzz.folders import forget
    from tests.fuzz.kinds import KINDS

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY,) * 2)
    parent, total = os.getppid(), 0
    logging.disable()  # pydicom and nibabel tell of every damage
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", DeprecationWarning)

    def found(case: Any, finding: Finding) -> None:
        with (folder / "found.jsonl").open("a") as file:
            file.write(json.dumps({"key": finding.key, "text": finding.text, "case": repr(case)}) + "\n")

    kind = KINDS[name]

    def act(case: Any, inputs: Path, out: Path) -> None:
        nonlocal total
        if os.getppid() != parent:
            os._exit(1)  # the campaign was killed
        total += 1
        (folder / "tried.txt").write_text(str(total))
        kind.act(case, inputs, out)

    try:
        explore(dataclasses.replace(kind, act=act), folder, number=number, count=count, found=found)
    except BaseException as error:
        (folder / "error.txt").write_text(repr(error))
        raise
    finally:
        if name in ("stores", "runs"):
            forget()


def _watched(process: BaseProcess, path: Path) -> bool:
    """Wait for a process; kill it and return True if it works longer than `HANG` at one case."""
    while process.is_alive():
        process.join(1)
        if path.is_file() and time.time() - path.stat().st_mtime > HANG and process.is_alive():
            process.kill()
            process.join()
            return True
    return False


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
