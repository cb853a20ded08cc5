"""`mj.runs`: the runs below a folder."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmcl_jax.api.given import AnyPath, path_of, several
from mmcl_jax.api.run_folders import MOST_FOLDERS, STATES, read_run, run_folders
from mmcl_jax.api.runs import SORTS, Runs
from mmcl_jax.bucket.address import is_address
from mmcl_jax.bucket.border import listing
from mmcl_jax.errors import check, check_name


def runs(
    directory: AnyPath = Path("runs"),
    *,
    sort: str = "run",
    state: str | Iterable[str] = (),
    most_folders: int = MOST_FOLDERS,
) -> Runs:
    """List the runs in and below a folder: state, progress and headline metrics, also of runs that are trained now.

    The same from the command line: `mmcl runs DIRECTORY`, with the same options. JAX is not loaded. Links to folders
    are not followed, except the folder itself. Checkpoints are
    compared with their records by size, so a file whose content alone changed is not noticed; `mmcl evaluate` compares
    contents.

    Args:
      directory: the folder.
      sort: the order: "run" (by name), "state", "experiment", "seed", "data", "progress", "loss", "validation" (lowest
        first), "monitor", "score" (best first) or "updated" (newest first).
      state: only runs in this state, or in one of several: "running", "stopped", "finished", "failed", "damaged" or
        "unknown".
      most_folders: the number of folders that are searched, the upper levels first; a sentence tells if there are more.

    Returns:
      The runs; they print as a table, and `Runs.to_frame()` is a polars data frame with a row per run.

    Raises:
      UserError: the folder does not exist or cannot be read, or a name is unknown.

    Example:
      >>> runs(".", state="running").to_frame().height
      0
    """
    folder = listing(directory) if is_address(directory) else path_of(directory, "directory")
    check(folder.is_dir(), f"{folder} is no folder; give a folder with runs, such as runs.")
    check(os.access(folder, os.R_OK | os.X_OK), f"{folder} cannot be read; change its permissions.")
    states: tuple[Any, ...] = several(state)
    check_name(sort, SORTS.keys(), "--sort: there is no order")
    for name in states:
        check_name(name, STATES, "--state: there is no state")
    check(most_folders > 0, f"--most-folders: {most_folders} is not positive.")
    found = run_folders(folder, most_folders)
    rows = tuple(row for row in map(read_run, found.paths) if not states or row.state in states)
    return Runs(folder, rows, found.remarks).sorted(sort)
