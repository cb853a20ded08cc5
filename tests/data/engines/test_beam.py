"""The engine of Apache Beam: failures of its workers end in an error, and nothing of them stays."""

import functools
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from mmcl_jax.data.engines.beam import Beam
from mmcl_jax.data.engines.engine import plain

pytestmark = pytest.mark.foreign


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Beam]:
    """An engine; the fixture ends with the check that no process has stayed, and no file."""
    pytest.importorskip("apache_beam")
    before = set(psutil.Process().children(recursive=True))
    yield Beam(("direct_num_workers=2",), tmp_path)
    stayed = [child.cmdline() for child in set(psutil.Process().children(recursive=True)) - before]
    # Multiprocessing keeps a process for itself.
    assert [command for command in stayed if "resource_tracker" not in " ".join(command)] == []
    assert not any(tmp_path.iterdir())


def test_a_killed_worker_ends_the_work(engine: Beam) -> None:
    with pytest.raises(BrokenProcessPool, match="a worker of the direct runner died"):
        list(engine.run(functools.partial(plain, os._exit), [9, 9]))


def test_an_error_of_the_function_is_the_reason(engine: Beam) -> None:
    with pytest.raises(OSError, match=r"the pipeline failed: ValueError: (math domain error|expected a nonneg)"):
        list(engine.run(functools.partial(plain, math.sqrt), [4, -1]))


def test_closing_early_ends_all_processes(engine: Beam) -> None:
    results = engine.run(functools.partial(plain, time.sleep), [0, *[600] * 9])
    assert next(results) == (0, None)
    results.close()
