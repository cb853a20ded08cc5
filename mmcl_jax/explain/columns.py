"""The columns of an input, the groups that they belong to, and their ranking."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.border import read_json
from mmcl_jax.data.inputs import Inputs, InputSpec
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.text import nearest

OTHER = "other"
# Wong's palette, which colour-blind readers can tell apart. The paper's figures 3 and 4 draw morphometric columns in
# orange and all others in blue, so a first group is orange, and a second, or columns without a group, are blue.
_COLOURS = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_GREY = "#999999"


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names `[F]` of the columns of an input, and the group of each.

    For a text, the columns are the tokens of the vocabulary.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def of(
        cls,
        inputs: Inputs,
        spec: InputSpec,
        name: str,
        store: Store,
        groups: Mapping[str, str] | None = None,
        *,
        noise: int = 0,
    ) -> "Columns":
        """Return the columns of an input of a run, grouped by `groups`, or by the first tag of each column.

        `noise` is the number of columns that the view `vector_noise` adds, which are a group of their own.
        """
        if spec.kind == "table":
            columns = inputs.tables[name].schema.columns
            names = tuple(column.name for column in columns)
            tags = tuple(column.tags[0] if column.tags else OTHER for column in columns)
        else:
            count = spec.widths[0] if spec.kind == "text" else spec.shape[-1]
            names = store.names(spec.of) or tuple(f"{name} {index}" for index in range(count))
            names += tuple(f"noise {index + 1}" for index in range(noise))
            tags = (OTHER,) * count + ("noise",) * noise
        return cls(names, tags if groups is None else tuple(groups.get(column, OTHER) for column in names))

    def with_noise(self, count: int) -> "Columns":
        """Return the columns and, behind them, this many of noise, which a view adds: "noise 1" and so on."""
        names = tuple(f"noise {index}" for index in range(1, count + 1))
        return Columns((*self.names, *names), (*self.groups, *("noise",) * count))

    @property
    def colours(self) -> dict[str, str]:
        """The colour of each group, in the order of the first columns; later groups than the seventh are grey."""
        named = [group for group in dict.fromkeys(self.groups) if group != OTHER]
        colours = {group: _COLOURS[index] if index < len(_COLOURS) else _GREY for index, group in enumerate(named)}
        return colours | ({OTHER: _COLOURS[1] if len(named) < 2 else _GREY} if OTHER in self.groups else {})

    def members(self, group: str) -> np.ndarray:
        """Return the indices of the columns of a group."""
        return np.flatnonzero(np.array(self.groups, dtype=object) == group)

    def ranked(self, importance: np.ndarray, mean: np.ndarray | None = None) -> list[dict[str, Any]]:
        """Return name, group, importance, share and rank of every column, in the order of the input.

        Args:
          importance: `[F]`, not negative.
          mean: `[F]`, means of attributions with a sign.

        Example:
          >>> [column["rank"] for column in Columns(("a", "b"), ("g", "other")).ranked(np.array([1.0, 3.0]))]
          [2, 1]
        """
        rank = np.empty(len(importance), int)
        rank[np.argsort(-importance, kind="stable")] = np.arange(1, len(importance) + 1)
        total = float(importance.sum())
        return [
            {
                "name": name,
                "group": group,
                "importance": float(importance[index]),
                "share": float(importance[index]) / total if total > 0 else 0.0,
                "rank": int(rank[index]),
                **({} if mean is None else {"mean": float(mean[index])}),
            }
            for index, (name, group) in enumerate(zip(self.names, self.groups, strict=True))
        ]

    def summed(self, ranked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return name, colour, number of columns, importance and share of every group, of columns by `ranked`."""
        sums = []
        for group, colour in self.colours.items():
            members = [column for column in ranked if column["group"] == group]
            importance, share = (sum(column[key] for column in members) for key in ("importance", "share"))
            sums.append(
                {"name": group, "colour": colour, "columns": len(members), "importance": importance, "share": share}
            )
        return sums


def noise_columns(config: ConfigDict, input: str) -> int:
    """Return the number of columns of noise that the views of an input put behind its own."""
    return max((view.get("noise", 0) for view in config.views.values() if view.modality == input), default=0)


def read_groups(file: Path) -> dict[str, str]:
    """Return the group of each column that a file names: JSON, `{"GROUP": ["COLUMN", ...], ...}`.

    Raises:
      UserError: the file is missing or is no such JSON, or a column is named twice.
    """
    raw: dict[str, list[Any]] = read_json(file, dict[str, list[Any]], 'write it as JSON, {"GROUP": ["COLUMN", ...]}')
    groups: dict[str, str] = {}
    for group, columns in raw.items():
        for column in columns:
            check(isinstance(column, str), f"--groups {file}: the group {group!r} has {column!r}, which is no name.")
            check(
                column not in groups,
                f"--groups {file}: the column {column!r} is in {groups.get(column)!r} and in {group!r}; name it once.",
            )
            groups[column] = group
    return groups


def check_groups(file: Path, groups: Mapping[str, str], names: Sequence[str]) -> None:
    """Raise `UserError` unless every column of the groups is among the names of the explained columns."""
    for column, group in groups.items():
        if column not in names:
            listed = f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"
            raise UserError(
                f"--groups {file}: the group {group!r} names the column {column!r}{nearest(column, names)}, which no "
                f"explained input has; their columns are {listed}."
            )
