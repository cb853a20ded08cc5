"""What `mmcl check` found, and what it repaired."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmcl_jax.page.wording import counted
from mmcl_jax.text import visible


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault of one file or folder.

    Attributes:
      name: its path in the store or run.
      reason: the fault, as a clause that names the path.
    """

    name: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Files of one purpose.

    Attributes:
      name: such as "shards".
      compared: number of files that were compared with their checksums, or were read whole.
      others: number of files that were not compared, since no checksum of them was recorded.
      faults: what is wrong.
      note: what else to know.
    """

    name: str
    compared: int = 0
    others: int = 0
    faults: tuple[Fault, ...] = ()
    note: str = ""

    def describe(self) -> str:
        """Return the group as a line, without its name."""
        parts = (
            [f"{counted(self.compared, 'file')} compared"] if self.compared or not (self.others or self.note) else []
        )
        if self.others:
            parts.append(f"{counted(self.others, 'file')} not compared: no checksums were recorded")
        parts += [counted(len(self.faults), "fault")] if self.faults else []
        return "; ".join([*parts, *([self.note] if self.note else [])])


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Check:
    """The result of `mmcl check`.

    Attributes:
      directory: of the store or run.
      kind: "store", "run" or "folder" (of an export, or of a kept head).
      groups: the files, after the repair if there was one.
      leftovers: paths that a killed process left, and that mean nothing.
      repairs: what was repaired, a sentence each.
      left: why faults were not repaired, a sentence each.
    """

    directory: Path
    kind: str
    groups: tuple[Group, ...]
    leftovers: tuple[Path, ...] = ()
    repairs: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults of all groups."""
        return tuple(fault for group in self.groups for fault in group.faults)

    @property
    def exit_status(self) -> int:
        """The exit status of the command: 0 without faults, else 2."""
        return 2 if self.faults else 0

    def __repr__(self) -> str:
        return self.describe()

    def describe(self) -> str:
        """Return a line per group of files, then the repairs, leftovers and faults, each in a line."""
        width = max(len(group.name) for group in self.groups)
        lines = [f"{visible(self.directory)}: a {self.kind}"]
        lines += [f"  {group.name:{width}}  {group.describe()}" for group in self.groups]
        lines += _lines("repaired", self.repairs)
        lines += _lines("left over", map(str, self.leftovers))
        lines += _lines("fault", (fault.reason for fault in self.faults))
        lines += _lines("not repaired", self.left)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the result by name."""
        groups = [{**dataclasses.asdict(group), "faults": len(group.faults)} for group in self.groups]
        return {
            "directory": self.directory,
            "kind": self.kind,
            "groups": groups,
            "leftovers": self.leftovers,
            "faults": [dataclasses.asdict(fault) for fault in self.faults],
            "repairs": self.repairs,
            "not_repaired": self.left,
        }


def _lines(word: str, sentences: Iterable[str]) -> list[str]:
    return [f"{word}: {visible(sentence)}" for sentence in sentences]
