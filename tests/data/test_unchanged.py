"""A store that changes while it is read."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmcl_jax.data.format.unchanged import Unchanged
from mmcl_jax.errors import UserError

pytestmark = pytest.mark.core


def rewritten(path: Path) -> None:
    """Other bits of the same size, at the same time by the clock."""
    status = path.stat()
    path.with_name("new").write_bytes(bytes(status.st_size))
    os.utime(path.with_name("new"), ns=(status.st_atime_ns, status.st_mtime_ns))
    path.with_name("new").replace(path)


@pytest.mark.parametrize(
    "change",
    [lambda path: path.write_bytes(b"x"), Path.unlink, rewritten, lambda path: shutil.rmtree(path.parent)],
    ids=["written", "removed", "replaced", "its folder removed"],
)
def test_a_store_that_changes_is_noticed(change: Callable[[Path], object], tmp_path: Path) -> None:
    image = tmp_path / "flat" / "image.npy"
    image.parent.mkdir()
    image.write_bytes(b"pixels")
    (tmp_path / "flat.lock").touch()
    (tmp_path / "flat.partial").mkdir()
    (tmp_path / "flat.partial" / "other.npy").touch()
    unchanged = Unchanged(tmp_path)
    shutil.rmtree(tmp_path / "flat.partial")
    (tmp_path / "flat.lock").unlink()  # another process has restored an array that this one does not read
    (tmp_path / "flat" / "other.npy").touch()
    unchanged.check("it ends")
    change(image)
    with pytest.raises(UserError, match=f"^{image} has changed while it was read, so it ends.$"):
        unchanged.check("it ends")
