"""Results on disk and on the screen."""

import contextlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from mmcl_jax.versions import versions as versions_of_package

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Return the machine, the package versions and the command of a benchmark."""
    versions = {**versions_of_package(), "optax": importlib.metadata.version("optax")}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        versions["torch"] = importlib.metadata.version("torch")
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
    }


def processor() -> str:
    """Return the processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


def save(name: str, rows: list[dict[str, Any]], folder: Path) -> Path:
    """Write `{"machine": ..., "rows": ...}` and return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    return path


def update(name: str, row: dict[str, Any], folder: Path, *, key_of: Callable[[dict[str, Any]], Any]) -> Path:
    """Write a row into a file of `save`, in place of the row with the same key."""
    path = folder / f"{name}.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    keys = [key_of(one) for one in rows]
    if key_of(row) in keys:
        rows[keys.index(key_of(row))] = row
    else:
        rows.append(row)
    return save(name, rows, folder)


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table, with the keys of the first row as columns."""
    table = Table(title=title, title_justify="left")
    for key in rows[0]:
        table.add_column(key, justify="left" if isinstance(rows[0][key], str) else "right")
    for row in rows:
        table.add_row(*(_text(row.get(key)) for key in rows[0]))
    Console(width=max(150, Console().width)).print(table)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return "" if value is None else str(value)
