"""Worker processes end with the process that started them, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

POOL = """
import sys, time
from mmcl_jax.data.workers import pool
def busy(number):
    total = 0
    while True:
        total += number  # never waits, as a worker that decodes does not
if __name__ == "__main__":
    with pool(3) as processes:
        for number in range(3): processes.submit(busy, number)
        print("ready", flush=True)
        time.sleep(300)
"""
IDLE = POOL.replace("for number in range(3): processes.submit(busy, number)", "processes.submit(abs, 1).result()")
STREAMED = """
import sys, time
from mmcl_jax.data.input import Batches, iterate
import numpy as np
if __name__ == "__main__":
    batches = iterate(Batches({"id": np.arange(1000)}, batch_size=2, epochs=10**6, seed=0), workers=2)
    next(batches)
    print("ready", flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize(("kind", "code"), [("busy", POOL), ("idle", IDLE), ("streamed", STREAMED)])
@pytest.mark.parametrize("wait", [0.0, 4.0])
def test_no_worker_outlives_a_killed_parent(kind: str, code: str, wait: float, tmp_path: Path) -> None:
    """Soon after SIGKILL no worker is alive, whether the workers were busy or still importing."""
    script = tmp_path / "script.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    time.sleep(wait)
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= (2 if kind == "streamed" else 1)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


PUT = """
import jax
import numpy as np
from mmcl_jax.data.input import Batches, iterate
if __name__ == "__main__":
    batches = Batches({"id": np.arange(1024), "x": np.ones((1024, 100))}, batch_size=128, epochs=1, seed=0)
    for steps in (3, len(batches)):
        data = iterate(batches, workers=2)
        for _ in range(steps):
            batch = jax.device_put(next(data))
        data.close()
    print(steps)
"""


def test_workers_that_are_closed_leave_no_shared_memory(tmp_path: Path) -> None:
    """In the middle and at the end, when JAX still holds the last batch, Python reports no leak at exit."""
    script = tmp_path / "script.py"
    script.write_text(PUT)
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "8\n", "")
