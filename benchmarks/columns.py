"""Time and memory of `mmcl prepare`, and the size of the data card, by number of columns and of rows of the table.

    python -m benchmarks columns                # up to 5,000 columns, and up to 4,000 rows
    python -m benchmarks columns --size full    # and 20,000 columns, 16,000 rows

Nine of ten columns are numbers, the others texts of three categories; the images have 8 x 8 pixels. Each row of the
result is a process of its own. `cpu_s` is processor time, `seconds` the time that passed; `growth` is `cpu_s` beside
the row before in its series, and `size` the same of the number of columns or rows: linear time has a growth up to size.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

SHAPES = {"small": [(1000, 5000), (500, 1000, 4000)], "full": [(1000, 5000, 20_000), (500, 1000, 4000, 16_000)]}
ROWS, COLUMNS = 500, 1000  # of the series in which the other grows


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield seconds, processor seconds, peak memory and the card's size for every table."""
    columns, rows = SHAPES[size]
    for series, shapes in (("columns", [(c, ROWS) for c in columns]), ("rows", [(COLUMNS, r) for r in rows])):
        before: dict[str, Any] = {}
        for shape in shapes:
            program = [sys.executable, "-m", "benchmarks.columns", *map(str, shape)]
            printed = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout
            row = {"series": series, "columns": shape[0], "rows": shape[1], **json.loads(printed.splitlines()[-1])}
            grown = {"growth": row["cpu_s"] / before["cpu_s"], "size": row[series] / before[series]} if before else {}
            before = row
            yield {**row, **grown}


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the same keys, for a printed table."""
    return [{"series": "", **row, "growth": row.get("growth"), "size": row.get("size")} for row in rows]


def table_of(columns: int, rows: int) -> pl.DataFrame:
    """Return a table of numbers and categories, with the label `kind`."""
    rng = np.random.default_rng(0)
    words = np.array(["red", "blue", "black"])
    cells = {
        f"c{index}": words[rng.integers(0, 3, rows)] if index % 10 == 9 else rng.normal(size=rows)
        for index in range(columns)
    }
    return pl.DataFrame({**cells, "kind": [f"k{row % 4}" for row in range(rows)]})


def _measured(columns: int, rows: int) -> dict[str, Any]:
    """Prepare a table in this process; return times in seconds, the peak of memory in MB, and the card's size in kB."""
    from mmcl_jax.api.images import beside
    from mmcl_jax.prepare.make import prepare
    from mmcl_jax.prepare.request import Request

    images = np.random.default_rng(1).integers(0, 256, (rows, 8, 8, 3), np.uint8)
    table, held, column = beside(table_of(columns, rows), images)
    request = Request(table=table, images=held, image_column=column, label=("kind",))
    with tempfile.TemporaryDirectory() as folder:
        began, used = time.perf_counter(), time.process_time()
        prepare(request, Path(folder) / "store")
        times = {"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - used}
        card = (Path(folder) / "store" / "card.html").stat().st_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**times, "memory_mb": memory / 1024, "card_kb": card / 1000}


if __name__ == "__main__":
    print(json.dumps(_measured(*map(int, sys.argv[1:]))))
