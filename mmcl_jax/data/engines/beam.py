"""The engine that runs a function on the workers of Apache Beam, with any of its runners.

    pip install "mmcl_jax[beam]"

The workers must see the same files as this process, under the same paths: the disk of this machine, or one that is
shared. Items go to them, and results come back, as lines of JSON in a folder on that disk.
"""

import contextlib
import dataclasses
import errno
import importlib.util
import io
import logging
import os
import platform
import shutil
import signal
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from mmcl_jax.border import parse, to_json, typed
from mmcl_jax.data.engines.engine import Begin
from mmcl_jax.data.workers import leave_with_parent
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.text import nearest

ITEMS, RESULTS, WORKER, FAILED = "items.jsonl", "*.results", "*.worker", "failed"  # files of the folder
_SECONDS = 0.1  # between two looks for results
_GOODBYE = 20  # seconds that a remote job gets to be cancelled
# Their job servers have options that Beam's Python package does not know.
_WITH_JOB_SERVER = ("FlinkRunner", "KafkaStreamsRunner", "PortableRunner", "PrismRunner", "SparkRunner")


@dataclasses.dataclass(frozen=True)
class Beam:
    """An engine that starts a pipeline for every call of `run`.

    Attributes:
      options: of the pipeline, each as "key=value" or "flag", such as "runner=DirectRunner".
      scratch: a folder that this process and the workers can write to.
      workers: number of processes of the direct runner, unless an option says `direct_num_workers`.

    Raises:
      UserError: Apache Beam is not installed, or an option is unknown or has a wrong value.
    """

    options: Sequence[str]
    scratch: Path
    workers: int = 1

    def __post_init__(self) -> None:
        _check(self.flags())

    def flags(self) -> list[str]:
        """Return the options as flags of Beam; what the direct runner leaves open is as `workers` has it."""
        flags = [f"--{option.strip().removeprefix('--')}" for option in self.options]
        given = {flag.partition("=")[0]: flag.partition("=")[2] for flag in flags}
        if given.get("--runner", "DirectRunner").lower().removesuffix("runner") == "direct":
            flags += [f"--direct_num_workers={self.workers}"] * ("--direct_num_workers" not in given)
            if given.get("--direct_num_workers", str(self.workers)) != "1" and "--direct_running_mode" not in given:
                flags.append("--direct_running_mode=multi_processing")
        return flags

    def run(self, begin: Begin, items: Iterable[Any]) -> Generator[tuple[int, Any], None, None]:
        """Yield the index and result of every item as it is done; see `Engine.run`.

        Raises:
          BrokenProcessPool: a worker of the direct runner died.
          OSError: the pipeline failed.
        """
        folder = self.scratch / uuid.uuid4().hex
        folder.mkdir(parents=True)
        done, count = set[int](), 0
        try:
            with open(folder / ITEMS, "w") as file:
                for count, item in enumerate(items, 1):
                    file.write(to_json((count - 1, item)) + "\n")
            if not count:
                return
            for index, result in _results(self.flags(), begin, folder):
                if index not in done:  # an item that a runner tried again has several results, all equal
                    done.add(index)
                    yield index, result
            if len(done) < count:
                lost = f"{count - len(done)} of {count} results did not come to {folder}"
                raise _failure(f"{lost}; let its workers see the same disk as this process")
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _failure(reason: str) -> OSError:
    return OSError(errno.ECHILD, f"the pipeline failed: {reason.rstrip('.')}", "--beam")


def _check(flags: list[str]) -> None:
    installed = importlib.util.find_spec("apache_beam") is not None
    check(installed, '--beam: the package apache-beam is not installed; run pip install "mmcl_jax[beam]".')
    with _without_warnings():
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
        from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
        from apache_beam.runners.runner import create_runner

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # of argparse
            options = PipelineOptions(flags)
            known, given = options.get_all_options(), options.get_all_options(retain_unknown_options=True)
    except SystemExit as error:
        reason = said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise UserError(f"--beam: {reason}.") from error
    runner = str(known["runner"] or "DirectRunner")
    names = [path.rpartition(".")[2] for path in StandardOptions.ALL_KNOWN_RUNNERS]
    if "." not in runner:  # a runner of another package is named with its module
        short = {name.lower().removesuffix("runner"): name for name in names}
        runner = short.get(runner.lower().removesuffix("runner"), runner)
        check_name(runner, names, "--beam: there is no runner")
    unknown = sorted(given.keys() - known.keys()) if runner not in _WITH_JOB_SERVER else []
    for name in unknown:
        raise UserError(f"--beam: {runner} has no option {name!r}{nearest(name, known)}; correct it, or leave it out.")
    try:
        faults = PipelineOptionsValidator(options, create_runner(runner)).validate()
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"--beam: the runner {runner} cannot be used: {str(error).rstrip('.')}.") from error
    check(not faults, f"--beam: {' '.join(faults[:1])}")


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence the root logger, to which Beam writes at its import which of Google's packages are not installed."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)  # or the first message installs one that prints
    level = root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
        root.removeHandler(handler)


def _results(flags: list[str], begin: Begin, folder: Path) -> Iterator[tuple[int, Any]]:
    """Run the pipeline in a process of its own, and yield the lines of results as they are written."""
    # Its threads and workers could not be ended in this process, and what they print is not for a user.
    process = get_context("spawn").Process(target=_pipeline, args=(flags, begin, folder), name="pipeline", daemon=True)
    process.start()
    read: dict[Path, int] = {}
    try:
        while True:
            process.join(_SECONDS)
            ended = process.exitcode is not None
            for path in sorted(folder.glob(RESULTS)):
                yield from _lines(path, read)
            if ended:
                break
            if any(map(_is_gone, folder.glob(WORKER))):  # the direct runner would wait for it for ever
                raise BrokenProcessPool("a worker of the direct runner died")
        if process.exitcode and not (folder / FAILED).is_file():
            raise BrokenProcessPool("the process of the pipeline died")
        if process.exitcode:
            raise _failure((folder / FAILED).read_text())
    finally:
        if process.exitcode is None:
            process.terminate()
            process.join(_GOODBYE)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid or 0, signal.SIGKILL)  # the workers of the direct runner are in its group
        process.join()


def _pipeline(flags: list[str], begin: Begin, folder: Path) -> None:
    """Run the pipeline in this process, which ends with its parent; what Beam prints goes to a log in the folder."""
    os.setsid()  # Ctrl-C is for the parent, which then ends this process and its workers
    leave_with_parent()
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    from mmcl_jax.data.engines.pipeline import run  # imports Beam, which prints

    run(flags, begin, folder)


def _lines(path: Path, read: dict[Path, int]) -> Iterator[tuple[int, Any]]:
    """Yield the whole lines of a file behind those that were `read`."""
    with open(path, "rb") as file:
        file.seek(read.get(path, 0))
        for line in file:
            if not line.endswith(b"\n"):
                return
            read[path] = read.get(path, 0) + len(line)
            yield typed(tuple[int, Any], parse(line), str(path))


def _is_gone(path: Path) -> bool:
    """Return whether the file names a process of this machine that has ended."""
    try:
        node, _, pid = path.read_text().partition(" ")
    except FileNotFoundError:  # removed by the worker, which is done
        return False
    if node != platform.node() or not pid:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    return False
