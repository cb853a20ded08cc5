"""Checks of output paths, before anything is computed."""

import tempfile
from pathlib import Path

from mmcl_jax.errors import UserError, check


def check_file(path: Path, option: str) -> None:
    """Raise `UserError` unless a file can be written at `path`; its folder need not exist yet."""
    check(not path.is_dir(), f"{option}: {path} is a folder; name a file in it, such as {path / 'results.json'}.")
    _check_folder(path.parent, option, path)


def check_folder(path: Path, option: str) -> None:
    """Raise `UserError` unless files can be written in the folder `path`; it need not exist yet."""
    _check_folder(path, option, path)


def _check_folder(folder: Path, option: str, path: Path) -> None:
    try:
        while not folder.exists():
            folder = folder.parent
        check(folder.is_dir(), f"{option}: {path} cannot be made, since {folder} is a file; name another path.")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{option}: {path} cannot be made, since {folder} cannot be written ({error.strerror}); name another path."
        ) from error
