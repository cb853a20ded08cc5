"""The account of a repair."""

import contextlib
import dataclasses
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Self

from mmcl_jax.errors import UserError
from mmcl_jax.files import Recorded, record
from mmcl_jax.integrity.result import Check, Group


@dataclasses.dataclass
class Repair:
    """The repair of one folder: what was repaired, and what was not and why."""

    repairs: list[str] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)

    def offer(self, made: Path, path: Path, recorded: Recorded, source: str) -> None:
        """Put a file that was made again in its place if it is as recorded, and note that."""
        if reason := _offer(made, path, recorded):
            self.left.append(f"{reason}.")
        else:
            self.repairs.append(f"{path} was made again from {source}, as recorded.")

    @contextlib.contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Note the `UserError` of a block as the reason why `what` could not be made again."""
        try:
            yield
        except UserError as error:
            self.left.append(f"{what} cannot be made again: {str(error).partition('; ')[0].removesuffix('.')}.")

    def result(
        self, directory: Path, kind: str, groups: Sequence[Group], leftovers: Sequence[Path], *, repaired: bool
    ) -> Check:
        """Return the account with the groups and leftovers of the folder, after the repair if it was `repaired`."""
        told = "\n".join(self.left)
        paths = [directory / fault.name for group in groups for fault in group.faults]
        given = [f"{path} cannot be made again; put a copy of it back." for path in paths if str(path) not in told]
        return Check(
            directory=directory,
            kind=kind,
            groups=tuple(groups),
            leftovers=tuple(leftovers),
            repairs=tuple(self.repairs),
            left=(*self.left, *given) if repaired else (),
        )

    def remove(self, paths: Collection[Path]) -> None:
        """Remove what killed processes left."""
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            self.repairs.append(f"{path}, which a killed process left, was removed.")

    def without_lock(self, path: Path) -> Self:
        """Return the account with the removal of the lock of a dead process, which the repair itself took and freed."""
        self.repairs.append(f"{path}, the lock of a dead process, was removed.")
        return self


def _offer(made: Path, path: Path, recorded: Recorded) -> str:
    """Put a file that was made again in its place if it has the recorded content; return "" or why it was not."""
    if not made.is_file():
        return f"{path} cannot be made again"
    if record(made).sha256 != recorded.sha256:
        return f"{path} was made again, but is not as recorded (another version may have written it), and is left"
    if path.is_dir() and not path.is_symlink():
        if any(path.iterdir()):
            return f"{path} is a folder with files; move it away"
        path.rmdir()
    made.replace(path)
    return ""
