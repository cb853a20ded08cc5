"""One try: a command is killed some times, is run to its end, and everything is compared with an unbroken run."""

import contextlib
import dataclasses
import fnmatch
import json
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.soak import processes
from tests.soak.cases import CASES, make_legacy, make_raw
from tests.soak.compare import differences, digest, unreadable

LONGEST = 600.0  # seconds of a command
LEAVE = 5.0  # seconds in which children end behind their parent
STOPPED = os.EX_TEMPFAIL
FORKED = 0.75  # of the processes; the others begin a fresh interpreter


@dataclasses.dataclass(frozen=True)
class Unbroken:
    """What a command does without a kill: the hash of each file, the bits of each step, and how long it takes."""

    files: Mapping[str, str]
    steps: Mapping[str, str]
    seconds: float
    changes: int


class Soak:
    """The folder of a soak: `given`, the inputs; `work`, where the command runs; `cache`, the compiled programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.given, self.work, self.log = (self.folder / name for name in ("given", "work", "log.txt"))

    def prepare(self, needs: tuple[str, ...]) -> None:
        """Make the inputs that are not there."""
        makers = {"raw": make_raw, "legacy": make_legacy}
        for need in needs:
            if not (self.given / need).exists():
                if need in makers:  # by a process of its own: polars has threads, with which nothing is forked
                    make, to = makers[need], self.given / need
                    processes.wait(processes.forked(lambda make=make, to=to: make(to) or 0), LONGEST)
                else:
                    self._command({"store": "prepare", "run": "pretrain"}[need])
                    (self.work / need).rename(self.given / need)

    def _command(self, name: str) -> None:
        self.begin(name)
        self.finish(self.start(name, cold=False, fork=True))

    def begin(self, name: str) -> None:
        """Empty `work`, and put there what the command changes."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.folder / "cold", ignore_errors=True)
        self.work.mkdir(parents=True)
        self.log.write_text("")
        CASES[name].before(self.given, self.work)

    def start(self, name: str, *, cold: bool, fork: bool, instead: tuple[str, ...] = ()) -> list[int]:
        """Start the processes of the command; `cold` without compiled programs, `instead` of options with these."""
        replaced = {option.partition("=")[0] for option in instead}
        case = CASES[name]
        environment = {"XDG_CACHE_HOME": str(self.folder / ("cold" if cold else "cache"))}
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        pids = []
        for number, words in enumerate(case.words):
            part = {} if len(case.words) == 1 else {
                "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(len(case.words)),
                "JAX_PROCESS_ID": str(number), "MMCL_LOST_SECONDS": "20", "MMCL_START_SECONDS": "120",
            }  # fmt: skip
            kept = [word for word in words if word.partition("=")[0] not in replaced]
            pids.append(processes.run([*kept, *instead], self.work, self.log, environment | part, fork=fork))
        return pids

    def finish(self, pids: list[int]) -> None:
        """Wait until the command has ended; raise `RuntimeError` with its output unless it succeeds."""
        statuses = [processes.wait(pid, LONGEST) for pid in pids]
        if any(statuses):
            raise RuntimeError(f"ended with {statuses}: {self.log.read_text()[-3000:]}")

    def unbroken(self, name: str) -> Unbroken:
        """Run a command twice without a kill; the second time, with compiled programs, counts.

        The first time, a training keeps all checkpoints, which tell the bits of every step that it saves.
        """
        case = CASES[name]
        self.prepare(case.needs)
        self.begin(name)
        every = ("--config.keep_checkpoints=100",) if case.words[0][0] == "pretrain" else ()
        self.finish(self.start(name, cold=False, fork=True, instead=every))
        first = self._digest()["files"]
        steps = {path: bits for path, bits in first.items() if every and "/checkpoints/" in path}
        self.begin(name)
        began, watch = time.monotonic(), Watch(self.work)
        pids = self.start(name, cold=False, fork=True)
        running = list(pids)
        while running:
            running = [pid for pid in running if not self._succeeded(pid)]
            watch.look()
            time.sleep(0.005)
        seconds = time.monotonic() - began
        files = self._digest()["files"]
        same = steps.keys() & files.keys() if every else first.keys() | files.keys()
        if other := [path for path in same if first.get(path) != files.get(path)]:
            raise RuntimeError(f"{name} writes other bits without a kill: {other}")
        return Unbroken(files, steps, seconds, watch.changes)

    def _succeeded(self, pid: int) -> bool:
        status = processes.ended(pid)
        if status:
            raise RuntimeError(f"ended with {status}: {self.log.read_text()[-3000:]}")
        return status == 0

    def kill(self, name: str, unbroken: Unbroken, chance: random.Random) -> dict[str, Any]:
        """Start the command, kill it at a random moment, and return what happened."""
        fork, cold = chance.random() < FORKED, chance.random() < 0.3
        number = signal.SIGTERM if chance.random() < 0.25 else signal.SIGKILL
        by_files = chance.random() < 0.5
        # Beyond the unbroken command's time, since one that is cold, or fresh, takes longer.
        until = chance.random() * unbroken.seconds * (1.0 if fork and not cold else 2.0)
        change = chance.randint(1, max(1, unbroken.changes))
        began, watch = time.monotonic(), Watch(self.work)
        pids = self.start(name, cold=cold, fork=fork)
        statuses: dict[int, int | None] = dict.fromkeys(pids)
        while all(status is None for status in statuses.values()):
            if by_files:
                watch.look()
            if (watch.changes >= change) if by_files else (time.monotonic() - began >= until):
                break
            time.sleep(0.001)
            statuses = {pid: processes.ended(pid) if status is None else status for pid, status in statuses.items()}
        moment = time.monotonic() - began
        struck = chance.choice(pids)
        if statuses[struck] is None:
            os.kill(struck, number)
        faults = []
        for pid in pids:
            if statuses[pid] is None:
                statuses[pid] = processes.wait(pid, LONGEST)
            gone = time.monotonic() + LEAVE
            while (survivors := processes.left(pid)) and time.monotonic() < gone:
                time.sleep(0.05)
            faults += [f"process {one} outlived its parent" for one in survivors]
        faults += self._accepted(name, unbroken)
        right = {signal.SIGKILL: (-signal.SIGKILL, 0, 69, STOPPED), signal.SIGTERM: (STOPPED, 0, -signal.SIGTERM)}
        faults += [f"status {status}" for status in statuses.values() if status not in right[number]]
        if fork and number == signal.SIGTERM and -signal.SIGTERM in statuses.values():
            faults.append("SIGTERM ended it before its handler")
        return {
            "command": name,
            "moment": f"file change {watch.changes} of {unbroken.changes}" if by_files else f"{moment:.2f} s",
            "seconds": round(moment, 3),
            "process": "forked" if fork else "fresh",
            "programs": "none" if cold else "kept",
            "signal": number.name,
            "killed": any(status != 0 for status in statuses.values()),
            "statuses": list(statuses.values()),
            "faults": faults,
            **({"output": self.log.read_text()[-3000:]} if faults else {}),
        }

    def complete(self, name: str, unbroken: Unbroken) -> dict[str, Any]:
        """Run the command to its end, and return the differences from the unbroken one."""
        try:
            self.finish(self.start(name, cold=False, fork=True))
        except RuntimeError as error:
            if not CASES[name].finished or CASES[name].finished not in str(error):
                return {"command": name, "differences": [str(error)]}
        return {"command": name, "differences": differences(unbroken.files, self._digest()["files"])}

    def _accepted(self, name: str, unbroken: Unbroken) -> list[str]:
        """Return what lies in `work` under its final name and is not what the unbroken command writes there."""
        found = self._digest(newest=True)
        faults = list(found["unreadable"])
        for path, bits in found["files"].items():
            hidden = any(part.startswith(".") for part in path.split("/"))
            if hidden or ".orbax-checkpoint-tmp" in path or path.endswith(("lock.json", ".lock")):
                continue
            if "/checkpoints/" in path and path in unbroken.steps:
                same = bits == unbroken.steps[path]
            else:
                grows = any(fnmatch.fnmatch(path, pattern) for pattern in CASES[name].grows)
                same = grows or bits == unbroken.files.get(path)
            faults += [] if same else [f"{path} is partial"]
        return faults

    def _digest(self, *, newest: bool = False) -> dict[str, Any]:
        """Return the hashes of the files in `work`, and what cannot be opened; by a process that may use JAX."""
        to = self.folder / "digest.json"

        def work() -> int:
            found = {"files": digest(self.work, newest=newest), "unreadable": unreadable(self.work)}
            to.write_text(json.dumps(found))
            return 0

        to.unlink(missing_ok=True)
        os.environ["XDG_CACHE_HOME"] = str(self.folder / "cache")
        if processes.wait(processes.forked(work), LONGEST):
            raise RuntimeError("what was written cannot be read; see the traceback above")
        return json.loads(to.read_text())


class Watch:
    """Counts the changes of a folder: names and sizes of files that a look finds otherwise than the look before."""

    def __init__(self, folder: Path) -> None:
        self.changes, self._folder = 0, folder
        self._seen = self._look()

    def look(self) -> None:
        """Count a change, if there is one."""
        now = self._look()
        self.changes, self._seen = self.changes + (now != self._seen), now

    def _look(self) -> set[tuple[str, int]]:
        seen, folders = set(), [str(self._folder)]
        while folders:
            with contextlib.suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        seen.add((entry.path, -1))
                    else:
                        seen.add((entry.path, entry.stat().st_size))
        return seen
