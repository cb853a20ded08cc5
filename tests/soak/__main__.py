"""Kill every command at random moments, run it again to its end, and compare all bits with those of an unbroken run.

    python -m tests.soak --kills 200 --out soak

A try is one to three kills of a command and one run to its end. The main process of the command gets SIGKILL or, in a
quarter of the tries, SIGTERM: at a random time, or at a random change of its files, so that short writes are met, too.
Behind each kill, no child may live longer than five seconds, and whatever has its final name must be whole. Behind the
run to the end, every file must have the bits of the unbroken run, and no other file may be left. Of times, and of what
TensorBoard reads, only the names are compared, or nothing (tests/soak/compare.py).

Most processes are forked behind the imports; a quarter is fresh. The same command continues: `soak.json` records each
kill. The exit status is 1 if there is a fault.
"""

import argparse
import collections
import dataclasses
import json
import os
import random
import sys
import tempfile
from pathlib import Path

# Before JAX is imported, which no process of the soak's own uses: what it forks does.
os.environ |= {
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
}
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)

from mmcl_jax.files import write_text
from tests.soak import processes
from tests.soak.cases import CASES
from tests.soak.tries import Soak, Unbroken

PROGRAMS = {"workers": "prepare", "processes": "pretrain", "upgrade-run": "upgrade"}
MOST = 3  # kills of one try


def main() -> int:
    """Kill until the record has so many kills; print what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="kills in all, with those of the record (default: 200)")
    parser.add_argument("--commands", default=",".join(CASES), help="commands to kill (default: all)")
    parser.add_argument("--out", type=Path, help="folder of the record and the work (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options = parser.parse_args()
    names = options.commands.split(",")
    if unknown := sorted(set(names) - CASES.keys()):
        parser.error(f"--commands: there is no {', '.join(unknown)}; choose from {', '.join(CASES)}")
    processes.load([PROGRAMS.get(name, name) for name in names])
    folder = options.out or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "soak.json"
    noted = json.loads(record.read_text()) if record.is_file() else {"unbroken": {}, "kills": [], "ends": []}
    soak, pid = Soak(folder), os.getpid()
    while len(noted["kills"]) < options.kills:
        number = len(noted["ends"])
        chance = random.Random(f"{options.seed} {number}")
        name = names[number % len(names)]
        if name not in noted["unbroken"]:
            noted["unbroken"][name] = dataclasses.asdict(soak.unbroken(name))
        unbroken = Unbroken(**noted["unbroken"][name])
        soak.begin(name)
        for _ in range(chance.randint(1, MOST)):
            killed = soak.kill(name, unbroken, chance)
            if killed["killed"] or killed["faults"]:
                noted["kills"].append(killed | {"try": number})
                print(_line(killed, len(noted["kills"]), options.kills), flush=True)
            if not killed["killed"]:
                break
        end = soak.complete(name, unbroken)
        noted["ends"].append(end)
        if end["differences"]:
            print(f"{name}: {'; '.join(end['differences'])}", flush=True)
        assert os.getpid() == pid
        write_text(record, json.dumps(noted, indent=1) + "\n")
    return _summary(noted)


def _line(killed: dict, number: int, total: int) -> str:
    faults = "; ".join(killed["faults"]) or "no fault"
    return f"{number}/{total} {killed['command']}, {killed['signal']} at {killed['moment']}: {faults}"


def _summary(noted: dict) -> int:
    """Print the figures of a record; return 1 if it has a fault."""
    by_command = collections.Counter(killed["command"] for killed in noted["kills"])
    faults = [fault for killed in noted["kills"] for fault in killed["faults"]]
    different = [end for end in noted["ends"] if end["differences"]]
    terms = sum(killed["signal"] == "SIGTERM" for killed in noted["kills"])
    print(
        f"{len(noted['kills'])} kills ({terms} by SIGTERM), {len(noted['ends'])} runs to the end: "
        f"{len(different)} with differing files, {len(faults)} faults"
    )
    print(", ".join(f"{name} {number}" for name, number in by_command.items()))
    return int(bool(faults or different))


if __name__ == "__main__":
    sys.exit(main())
