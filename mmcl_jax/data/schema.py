"""What a store holds: the columns of its table, its label, and the shape of its images."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

Kind = Literal["continuous", "categorical"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One table column. `categories` are the texts a categorical column takes, in code order."""

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Values after one-hot coding: 1 for a continuous column, else the number of categories."""
        return len(self.categories) if self.kind == "categorical" else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """The images of a store: `[height, width, channels]` uint8, and how they were made to fit."""

    height: int
    width: int
    channels: int
    resize: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return self.height, self.width, self.channels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """Columns in table order, the image shape, and the label column (a categorical one) if there is one."""

    columns: tuple[Column, ...]
    image: ImageSpec
    label: Column | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """One-hot width of every column, in order."""
        return tuple(column.width for column in self.columns)

    def to_json(self) -> str:
        """The schema as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """The inverse of `to_json`."""
        raw = json.loads(text)
        return cls(
            columns=tuple(_column(c) for c in raw["columns"]),
            image=ImageSpec(**raw["image"]),
            label=_column(raw["label"]) if raw["label"] else None,
        )

    @classmethod
    def read(cls, path: Path) -> "Schema":
        """Reads `schema.json`."""
        return cls.from_json(path.read_text())


def _column(raw: dict[str, Any]) -> Column:
    return Column(name=raw["name"], kind=raw["kind"], categories=tuple(raw["categories"]))
