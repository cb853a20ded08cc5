"""What `prepare` found out: the content of `findings.json`, the terminal summary and the data card."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from mmcl_jax.data.store import Store
from mmcl_jax.page.html import Html, element, fragment


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnFinding:
    """One column of the raw table.

    Attributes:
      name: of the column.
      role: "feature", "label", "identifier", "image", "group", "split" or "ignore".
      kind: of a feature or label; "" for the others.
      unit: of its values, if it was declared.
      tags: groups it was declared to belong to, such as "morphometric".
      why: the reason, where a column was left out, or its kind or role was not plain.
      missing: rows without a value, among the rows that were kept.
      missing_words: how often each word for "no value" was met, such as {"NA": 12}.
      distinct: number of different values.
      numbers: "min", "max", "mean", "sd" and "median" of a continuous or date column, over kept rows.
      histogram: "edges" [n + 1] and "counts" [n], of a continuous or date column.
      axis: "log" if the bins of the histogram are even in logarithms, "middle" if all but the outer two are even
        between the 5th and the 95th percentile, where even bins would leave the histogram nearly empty; else "linear".
      middle: what share of its range the middle nine tenths of the values take up.
      scaling: in what scale it is standardised.
      top: the most frequent categories, as (text, count), of a coded column.
      unseen: rows outside train whose category train does not have, by split.
      outside: rows outside train with a number beyond train's range, by split.
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
    numbers: dict[str, float] = dataclasses.field(default_factory=dict)
    histogram: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    axis: str = "linear"
    middle: float = 1.0
    scaling: str = "standard"
    top: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    unseen: dict[str, int] = dataclasses.field(default_factory=dict)
    outside: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Findings:
    """Everything found.

    Attributes:
      source: name of the table file or data set.
      rows: rows of the raw table.
      kept: rows in the store.
      lost: number of rows in quarantine by cause, such as {"broken image": 2}.
      steps: of the recipe of a named data set: {"what", "before", "after"}.
      columns: one per raw column of the main table, in its order.
      entries: of the store, each with its "name", "kind", "role", "stored" shape, "dtype", "source", "rows" that have
        it and rows in which it is "missing", the former by "splits", and, by kind, "values", "classes" or "columns";
        and how many are "bad", by cause.
      splits: rows per split.
      subsets: rows per subset.
      labels: for each class label, rows per class and split: {"model": {"train": {"M1": 40, ...}, ...}}.
      images: facts about the image files, such as {"files": 100, "stored": "64 x 64 x 3", "fit": "...",
        "sizes": [["300 x 300", 95], ["299 x 300", 5]]}.
      warnings: sentences a user should read, worst first: leaking columns, groups in two splits, near-duplicates.
      near_duplicates: near-duplicate images in different splits: {"first", "second" (keys), "splits", "difference"}.
      alike: where nearly equal images were kept in one split: "groups" of them, their "rows", and the rows of the
        "largest".
      forest: what a random forest gets from the table alone, by label: {"model": {"metric": "top-1", "value": 0.98,
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

    def to_json(self) -> str:
        """Return the findings as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Findings":
        """Read `findings.json`."""
        raw = json.loads(path.read_text())
        columns = [ColumnFinding(**column) for column in raw.pop("columns")]
        return cls(columns=columns, **raw)

    @classmethod
    def of(cls, store: Store) -> "Findings":
        """Read what was found out when the store was made."""
        return cls.read(store.directory / "findings.json")
