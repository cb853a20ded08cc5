"""What an embedding of rows gave: the file, and what became of the rows."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from mmcl_jax.page.wording import counted
from mmcl_jax.text import visible

_INSIDE = ("arguments", "summary", "content")  # of the metadata, which the file alone shows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embeddings:
    """A Parquet file of embeddings.

    Attributes:
      path: of the file.
      unembedded: the CSV file of the rows that could not be embedded, with the reasons.
      metadata: of the file: what made it, and the summary of the rows.
    """

    path: Path
    unembedded: Path
    metadata: Mapping[str, Any]

    @property
    def rows(self) -> int:
        """The number of rows of the input."""
        return self.metadata["summary"]["rows"]

    @property
    def lost(self) -> Mapping[str, int]:
        """The number of rows that could not be embedded, by modality."""
        return self.metadata["summary"]["unembedded"]

    @property
    def remarks(self) -> list[str]:
        """Sentences on cells that differ from those of the training rows."""
        summary, policies = self.metadata["summary"], self.metadata["outside"]
        became = {"keep": "kept", "clip": "clipped to it", "missing": "taken for missing values"}
        return [
            *self.metadata["remarks"],
            *(
                f"{_cells(cell, 'cell')} of a category that no training row has, taken for missing values"
                for cell in summary["unseen"]
            ),
            *(
                f"{_cells(cell, 'number')} outside the range of the training rows, {became[policies[cell['input']]]}"
                for cell in summary["outside"]
            ),
        ]

    def to_frame(self) -> pl.DataFrame:
        """Return the rows of the file."""
        return pl.read_parquet(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Return the files, the numbers of rows, and what made the file."""
        arguments = {name: value for name, value in self.metadata.items() if name not in _INSIDE}
        summary = self.metadata["summary"]
        return {"path": self.path, "unembedded_path": self.unembedded, **summary, "remarks": self.remarks, **arguments}

    def describe(self) -> str:
        """Return what became of the rows, a line per remark."""
        width, output = self.metadata["width"], self.metadata["output"]
        lines = [
            f"{visible(self.path)}: {counted(self.rows, 'row')}, {output} of {width} numbers of "
            f"{', '.join(self.metadata['input'])}"
        ]
        for name, count in self.lost.items():
            lines.append(
                f"{counted(count, 'row')} could not be embedded ({name}); {visible(self.unembedded)} has the reasons"
            )
        return "\n".join([*lines, *map(visible, self.remarks)])

    def __repr__(self) -> str:
        return self.describe()


def _cells(cell: Mapping[str, Any], what: str) -> str:
    return f"column {cell['column']!r} of {cell['input']!r}: {counted(cell['cells'], what)}"
