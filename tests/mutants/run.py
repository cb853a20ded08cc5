"""Run mutants, each in a temporary copy of the checkout."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tests.mutants.faults import Mutant

ROOT = Path(__file__).parents[2]
COPIED = ("mmcl_jax", "configs", "tests", "benchmarks", "launch", "docs", "pyproject.toml", "README.md")
CAUGHT, SURVIVED, STALE, BROKEN = "caught", "SURVIVED", "STALE", "BROKEN"
PASSED, FAILED = 0, 1  # of pytest's exit statuses; any other means that the test was not run


class Result(NamedTuple):
    """What became of a mutant, and the seconds of its test."""

    mutant: Mutant
    outcome: str
    seconds: float


def mutated(mutant: Mutant, root: Path = ROOT) -> str | None:
    """Return the text of the mutant's file with the fault in it; None unless its pattern occurs exactly once."""
    path = root / mutant.file
    text = path.read_text() if path.is_file() else ""
    return text.replace(mutant.old, mutant.new) if text.count(mutant.old) == 1 else None


def copy_checkout(to: Path) -> None:
    """Copy what tests need. The compiled programs of earlier runs stay behind."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)


def pytest(root: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests of a copy, which imports the package that lies beside them: pytest's exit status, and its output."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "-rf", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, done.stdout


def run_one(mutant: Mutant, root: Path) -> Result:
    """Plant a fault in a copy, run its test, and take the fault out again."""
    began, text = time.monotonic(), mutated(mutant, root)
    if text is None:
        return Result(mutant, STALE, 0.0)
    path = root / mutant.file
    original = path.read_text()
    path.write_text(text)
    try:
        status, output = pytest(root, [mutant.test])
    finally:
        path.write_text(original)
    # A process that dies before it tests anything has the same status as one whose test fails.
    failed = status == FAILED and f"FAILED {mutant.test.partition('::')[0]}" in output
    outcome = CAUGHT if failed else SURVIVED if status == PASSED else BROKEN
    return Result(mutant, outcome, time.monotonic() - began)


def run(mutants: Sequence[Mutant], *, jobs: int) -> Iterator[Result]:
    """Run the mutants in `jobs` copies side by side, and yield each result in the order of the mutants.

    Raises:
      RuntimeError: a named test fails without any fault.
    """
    with ExitStack() as resources:
        copies: SimpleQueue[Path] = SimpleQueue()
        for _ in range(jobs):
            copy = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="mutants-")))
            copy_checkout(copy)
            copies.put(copy)
        sound = copies.get()
        status, output = pytest(sound, sorted({mutant.test for mutant in mutants}))
        if status != PASSED:
            raise RuntimeError(f"The tests fail without a fault:\n{output}")
        for copy in [copies.get() for _ in range(jobs - 1)]:  # programs that are compiled already
            shutil.copytree(sound / ".jax_cache", copy / ".jax_cache", dirs_exist_ok=True)
            copies.put(copy)
        copies.put(sound)

        def in_a_copy(mutant: Mutant) -> Result:
            copy = copies.get()
            try:
                return run_one(mutant, copy)
            finally:
                copies.put(copy)

        yield from resources.enter_context(ThreadPoolExecutor(jobs)).map(in_a_copy, mutants)
