"""The engine of Apache Beam: failures of its workers end in an error, and nothing of them stays."""

import functools
import math
import os
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from mmcl_jax.data.engines.beam import Beam
from mmcl_jax.data.engines.engine import plain

pytestmark = pytest.mark.foreign


@pytest.fixture
def engine(tmp_path: Path) -> Beam:
    pytest.importorskip("apache_beam")
    return Beam(("direct_num_workers=2",), tmp_path)


def remaining() -> list[list[str]]:
    """The command lines of this process's children, but for the one that multiprocessing keeps for itself."""
    commands = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    return [command for command in commands if "resource_tracker" not in " ".join(command)]


def test_a_killed_worker_ends_the_work(engine: Beam, tmp_path: Path) -> None:
    with pytest.raises(BrokenProcessPool, match="a worker of the direct runner died"):
        list(engine.run(functools.partial(plain, os._exit), [9, 9]))
    assert not any(tmp_path.iterdir())
    assert remaining() == []


def test_an_error_of_the_function_is_the_reason(engine: Beam, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"the pipeline failed: ValueError: (math domain error|expected a nonneg)"):
        list(engine.run(functools.partial(plain, math.sqrt), [4, -1]))
    assert not any(tmp_path.iterdir())


def test_closing_early_ends_all_processes(engine: Beam, tmp_path: Path) -> None:
    results = engine.run(functools.partial(plain, time.sleep), [0, *[600] * 9])
    assert next(results) == (0, None)
    results.close()
    assert remaining() == []
    assert not any(tmp_path.iterdir())
