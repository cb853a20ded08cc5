"""`mj.upgrade`: a store or run of an earlier version becomes one of today's."""

from typing import TYPE_CHECKING

from mmcl_jax.api.given import AnyPath, path_of
from mmcl_jax.data.format.upgrade import upgrade_store
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.targets import check_folder
from mmcl_jax.text import visible

if TYPE_CHECKING:
    from mmcl_jax.training.runs.run import Run


def upgrade(path: AnyPath, *, out: AnyPath | None = None) -> "Store | Run":
    """Bring a store or run of an earlier version into today's format, in its folder or, of a store, in a copy.

    The same from the command line: `mmcl upgrade PATH [--out OUT]`.

    Args:
      path: the folder of the store or run.
      out: of a store: where the copy is made; the old one stays as it is.

    Returns:
      The store or run, opened.

    Raises:
      UserError: the folder is neither, or it is damaged.
    """
    folder, copy = path_of(path, "path"), None if out is None else path_of(out, "--out")
    if copy is not None:
        check_folder(copy, "--out")
    is_run = (folder / "config.json").is_file()
    check(
        is_run or (folder / "store.json").is_file(),
        f"{folder} is neither a store (it has no store.json) nor a run (it has no config.json).",
    )
    if is_run:
        check(copy is None, "--out: a run is upgraded in its folder; leave --out away, or copy the run first.")
        from mmcl_jax.training.runs.run import Run  # loads JAX, which a store does not need
        from mmcl_jax.training.runs.upgrade import upgrade_run

        done = upgrade_run(folder)
        print(f"{visible(folder)} is {'now' if done else 'already'} a run of today's version.")
        return Run.open(folder)
    done = upgrade_store(folder, copy)
    made = copy if done and copy else folder
    print(f"{visible(made)} is {'now' if done else 'already'} of today's format.")
    if done:
        print(Store.open(made).describe())
    return Store.open(made)
