"""A real process that is stopped; two real processes that continue its work."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl

import mmcl_jax as mj
from tests.export.embeddings.conftest import Drawn

LAUNCHER = Path(__file__).parents[3] / "launch" / "local.py"
MMCL = [sys.executable, "-P", "-m", "mmcl_jax.cli.main"]


def test_two_processes_continue_what_one_began_and_write_the_same_bytes(drawn: Drawn, tmp_path: Path) -> None:
    table = tmp_path / "rows.parquet"
    pl.concat([pl.read_csv(drawn.table)] * 1_250).write_parquet(table)  # four chunks
    whole = mj.embed(drawn.run, table, input="table", out=tmp_path / "whole.parquet")
    out = tmp_path / "killed.parquet"
    options = ["embed", "--run", str(drawn.run.directory), "--table", str(table), "--input", "table", "--out", str(out)]
    first = tmp_path / ".killed.parquet.embedding" / "00000000.json"
    process = subprocess.Popen([*MMCL, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while process.poll() is None and not first.is_file() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)  # it leaves at once, without a word to any block of the program
    assert process.wait(timeout=60) == os.EX_TEMPFAIL
    assert not out.exists()
    both = subprocess.run(
        [sys.executable, str(LAUNCHER), "--processes", "2", "--devices", "1", "--", *MMCL, *options],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert both.returncode == 0, both.stdout + both.stderr
    assert out.read_bytes() == whole.path.read_bytes()
    lines = [line for line in both.stdout.splitlines() if "50,000 rows" in line]
    assert len(lines) == 1, "only the first process speaks"
