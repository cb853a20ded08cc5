"""The pipeline of Apache Beam that calls a function on every item. Its workers import this module."""

import contextlib
import os
import platform
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from mmcl_jax.border import parse, to_json, typed
from mmcl_jax.data.engines.beam import FAILED, ITEMS
from mmcl_jax.data.engines.engine import Begin


def run(flags: list[str], begin: Begin, folder: Path) -> None:
    """Run the pipeline; `folder` has the items and gets the results.

    If the pipeline fails, the reason is in the file `FAILED`, and the process ends with status 1.
    """
    options, jobs = PipelineOptions(flags), list[Any]()

    def stop(number: int, frame: object) -> None:
        for job in jobs:  # the direct runner has none before all is done
            job.cancel()
        os._exit(1)

    signal.signal(signal.SIGTERM, stop)
    # The direct runner would choose among several local runners, some of which ignore the number of workers.
    local = options.view_as(StandardOptions).runner in (None, "DirectRunner", "direct")
    pipeline = beam.Pipeline(FnApiRunner() if local else None, options=options)
    (
        pipeline
        | beam.io.ReadFromText(str(folder / ITEMS), min_bundle_size=1)
        | beam.Reshuffle()  # or one worker would do what it has read
        | beam.ParDo(Call(begin, str(folder), (platform.node(), os.getpid())))
    )
    try:
        jobs.append(pipeline.run())
        jobs[0].wait_until_finish()
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = next((line for line in reversed(lines) if line.strip()), type(error).__name__)
        (folder / FAILED).write_text(reason.partition(" [while running")[0].strip())
        raise SystemExit(1) from error


class Call(beam.DoFn):
    """Calls a function on every item, and writes the results as lines of a file."""

    def __init__(self, begin: Begin, folder: str, driver: tuple[str, int]) -> None:
        """Store what opens the function, the folder for the results, and host and number of the pipeline's process."""
        self._begin, self._folder, self._driver = begin, folder, driver

    def setup(self) -> None:
        """Open the function and the file."""
        self._resources, name = contextlib.ExitStack(), uuid.uuid4().hex
        node, driver = self._driver
        if node == platform.node() and os.getpid() != driver:
            worker = Path(self._folder, f"{name}.worker")
            worker.write_text(f"{node} {os.getpid()}")
            self._resources.callback(worker.unlink, missing_ok=True)
            threading.Thread(target=_leave_with, args=(driver,), daemon=True).start()
        self._function = self._resources.enter_context(self._begin())
        self._file = open(Path(self._folder, f"{name}.results"), "w")  # noqa: SIM115
        self._resources.enter_context(self._file)

    def process(self, element: str) -> None:
        """Call the function on an item."""
        index, item = typed(tuple[int, Any], parse(element), ITEMS)
        self._file.write(to_json([index, self._function(item)]) + "\n")
        self._file.flush()

    def teardown(self) -> None:
        """Close the function and the file."""
        self._resources.close()


def _leave_with(driver: int) -> None:
    """End this process when the process of the pipeline has ended."""
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.kill(driver, 0)
            time.sleep(1)
    os._exit(1)
