"""`mj.check`: compares the files of a store or run with their checksums, and repairs what can be repaired."""

import os
from pathlib import Path

from mmcl_jax.api.given import AnyPath, path_of
from mmcl_jax.errors import check as require
from mmcl_jax.files import CHECKSUMS
from mmcl_jax.integrity.files import folder_groups
from mmcl_jax.integrity.repair import Repair
from mmcl_jax.integrity.result import Check

# Files that tell a run or a store, of which others may be missing.
_RUN = {"config.json", "checkpoints", "encoding.json", "seen.npz"}
_STORE = {"store.json", "manifest.json", "seal.json"}


def check(path: AnyPath, *, repair: bool = False) -> Check:
    """Compare the files of a store or run with the checksums that were recorded of them.

    The same from the command line: `mmcl check STORE|RUN [--repair]`. The folder of an export or of a kept head is
    compared, too. Nothing is written without `repair`.

    Args:
      path: the folder.
      repair: whether to make damaged files again where other files determine them: the mapped arrays of a store from
        its shards, shards from these arrays, statistics, keys and the data card; of a run, what was fitted on the
        training rows. A file takes its place only if it has the recorded checksum. A half line at the end of a log is
        cut, a damaged checkpoint is moved to `damaged`, and what killed processes left is removed.

    Returns:
      The files by group, the faults that are left, and what was repaired.

    Raises:
      UserError: the folder is neither a store nor a run; or, with `repair`, another process works on it.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from mmcl_jax.data.arrays_store import store_of_arrays
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     rows = np.ones((20, 3), np.float32)
      ...     store = store_of_arrays(Path(folder) / "store", {"scores": ("vector", rows)})
      ...     check(store.directory).faults
      ()
    """
    folder = path_of(path, "path")
    require(folder.is_dir(), f"{folder} is no folder; give the folder of a store or run.")
    require(os.access(folder, os.R_OK | os.X_OK), f"{folder} cannot be read; change its permissions.")
    names = set(os.listdir(folder))
    if names & _RUN:
        return _run(folder, repair)
    if names & _STORE:
        return _store(folder, repair)
    require(
        CHECKSUMS in names,
        f"{folder} is neither a store (it has no store.json) nor a run (it has no config.json), nor has it a "
        f"{CHECKSUMS}.",
    )
    return Repair().result(folder, "folder", folder_groups(folder), (), repaired=repair)


def _store(folder: Path, repair: bool) -> Check:
    from mmcl_jax.integrity import store

    account = Repair()
    if repair:
        from mmcl_jax.integrity.remake import repair_store

        account = repair_store(folder)
    return account.result(folder, "store", store.groups_of(folder), store.left_over(folder), repaired=repair)


def _run(folder: Path, repair: bool) -> Check:
    from mmcl_jax.integrity import run  # loads JAX, which a store does not need

    account = Repair()
    if repair:
        from mmcl_jax.integrity.refit import repair_run

        account = repair_run(folder)
    return account.result(folder, "run", run.groups_of(folder), run.left_over(folder), repaired=repair)
