"""The findings of `prepare`: the content of `findings.json`, of the terminal summary and of the data card."""

import dataclasses
import io
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from rich.console import Console

from mmcl_jax.border import Real, read_json, to_json, typed
from mmcl_jax.data.format.checked import ANEW
from mmcl_jax.data.store import Store
from mmcl_jax.page.html import Html, element, fragment


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnFinding:
    """One column of the raw table.

    Attributes:
      name: the name of the column.
      role: "feature", "label", "identifier", "image", "group", "split" or "ignore".
      kind: the kind of a feature or label; "" for other roles.
      unit: the declared unit of the values, if any.
      tags: declared groups of columns that it belongs to, such as "morphometric".
      why: the reason why the column was left out, or why it has this kind or role, if that is not obvious.
      missing: number of rows of the store without a value.
      missing_words: how often each word for "no value" occurred, such as {"NA": 12}.
      distinct: number of different values.
      numbers: "min", "max", "mean", "sd" and "median" of a continuous or date column, over the rows of the store.
      histogram: "edges" [n + 1] and "counts" [n] of a continuous or date column.
      axis: "linear" if the bins of the histogram are equally wide. Where these would leave the histogram nearly empty,
        "log" if bins are equally wide in logarithms, or "middle" if bins are equally wide between the 5th and the 95th
        percentile, with one more bin on either side.
      middle: the share of the range that holds the middle nine tenths of the values.
      scaling: the scale in which the column is standardised.
      top: the most frequent categories of a coded column, as (text, count).
      unseen: by split, rows outside train with a category that train does not have.
      outside: by split, rows outside train with a number beyond train's range.
    """

    name: str
    role: str
    kind: str = ""
    unit: str = ""
    tags: list[str] = dataclasses.field(default_factory=list)
    why: str = ""
    missing: int = 0
    missing_words: dict[str, int] = dataclasses.field(default_factory=dict)
    distinct: int = 0
    numbers: dict[str, Real] = dataclasses.field(default_factory=dict)
    histogram: dict[str, list[int | Real]] = dataclasses.field(default_factory=dict)
    axis: str = "linear"
    middle: float = 1.0
    scaling: str = "standard"
    top: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    unseen: dict[str, int] = dataclasses.field(default_factory=dict)
    outside: dict[str, int] = dataclasses.field(default_factory=dict)


class _Entry(TypedDict):
    """The findings on an entry (see `Findings`)."""

    name: str
    kind: str
    role: str
    stored: str
    dtype: str
    rows: int
    missing: int
    source: NotRequired[str]
    splits: NotRequired[dict[str, int]]
    of: NotRequired[str]
    names: NotRequired[list[str]]
    named: NotRequired[int]
    bad: NotRequired[dict[str, int]]
    values: NotRequired[dict[str, Any]]
    classes: NotRequired[list[Any] | dict[str, Any]]
    columns: NotRequired[list[dict[str, Any]]]
    genotypes: NotRequired[dict[str, Any]]
    text: NotRequired[dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Findings:
    """The findings on a table, its images and further entries, and on the store made of them.

    Attributes:
      source: name of the table file or data set.
      rows: number of rows in the raw table.
      kept: number of rows in the store.
      lost: number of rows in quarantine by cause, such as {"broken image": 2}.
      steps: the steps of the recipe of a named data set, as {"what", "before", "after"}.
      columns: the columns of the main raw table, in its order.
      entries: the entries of the store, each with its "name", "kind", "role", "stored" shape, "dtype" and "source"; the
        number of "rows" that have it, by "splits", too; the number of rows in which it is "missing", and "bad", by
        cause; and, depending on its kind, "values", "classes", "columns" or "text".
      splits: number of rows per split.
      subsets: number of rows per subset.
      labels: for each class label, number of rows per split and class: {"model": {"train": {"M1": 40, ...}, ...}}.
      images: facts about the image files, such as {"files": 100, "stored": "64 x 64 x 3", "fit": "...",
        "sizes": [["300 x 300", 95], ["299 x 300", 5]]}.
      warnings: sentences a user should read, worst first: leaky columns, groups in two splits, near duplicates.
      near_duplicates: pairs of near-duplicate images in different splits, as {"first", "second" (keys), "splits",
        "difference"}.
      alike: if each group of near-duplicate images was put into one split: the number of "groups", their "rows", and
        the rows of the "largest" group.
      forest: the scores of a random forest on the table alone, by label: {"model": {"metric": "top-1", "value": 0.98,
        "chance": 0.03, "train_rows": 1000, "test_rows": 200, "importance": [["Length", 0.3], ...]}}.
    """

    source: str
    rows: int
    kept: int
    lost: dict[str, int] = dataclasses.field(default_factory=dict)
    steps: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    columns: list[ColumnFinding] = dataclasses.field(default_factory=list)
    entries: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    splits: dict[str, int] = dataclasses.field(default_factory=dict)
    subsets: dict[str, int] = dataclasses.field(default_factory=dict)
    labels: dict[str, dict[str, dict[str, int]]] = dataclasses.field(default_factory=dict)
    images: dict[str, Any] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    near_duplicates: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    alike: dict[str, int] = dataclasses.field(default_factory=dict)
    forest: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        from mmcl_jax.prepare.card.summary import show  # which imports this file

        text = io.StringIO()
        show(self, Console(file=text, width=120, color_system=None))
        return text.getvalue().rstrip()

    def _repr_html_(self) -> str:
        return element("pre", *(fragment(line, Html("\n")) for line in repr(self).splitlines()))

    def to_dict(self) -> dict[str, Any]:
        """Return the findings by name."""
        return {**vars(self), "columns": [dict(vars(column)) for column in self.columns]}

    def to_json(self) -> str:
        """Return the findings as JSON, with a line for each column, entry and warning."""
        fields = [f"{to_json(name)}: {_lines(value)}" for name, value in self.to_dict().items()]
        return f"{{{_JOINT.join(fields)}}}\n"

    @classmethod
    def read(cls, path: Path) -> "Findings":
        """Read `findings.json`.

        Raises:
          UserError: the file is missing or damaged; the sentence names the field.
        """
        raw = read_json(path, dict[str, Any], ANEW, constants=True)  # earlier versions wrote a bare NaN
        if "twins" in raw:  # their name in older stores
            raw["near_duplicates"] = raw.pop("twins")
        typed(list[_Entry], raw.get("entries", []), f"{path}: entries", ANEW)
        return typed(cls, raw, str(path), ANEW)

    @classmethod
    def of(cls, store: Store) -> "Findings":
        """Read the findings beside a store, made with it. Raises `UserError` as `read` does."""
        return store.layout.files.read("findings.json", cls.read)


_JOINT = ",\n "


def _lines(value: Any) -> str:
    """Return a value as JSON; the items of a list are on lines of their own."""
    if not isinstance(value, list):
        return to_json(value)
    return f"[{(_JOINT + ' ').join(map(to_json, value))}]"
