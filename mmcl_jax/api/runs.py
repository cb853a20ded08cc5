"""What `mj.runs` returns: the runs below a folder, which print as the table of the command line."""

import dataclasses
import datetime
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from mmcl_jax.api.run_folders import RunRow
from mmcl_jax.page.html import Html, element, fragment, table
from mmcl_jax.page.wording import LOWER_IS_BETTER, counted, number
from mmcl_jax.text import called, visible

if TYPE_CHECKING:
    import polars as pl

_HEAD = (
    "run",
    "state",
    "progress",
    "samples/s",
    "loss",
    "validation",
    "monitor",
    "test score",
    "experiment",
    "seed",
    "data",
)
_NUMERIC = frozenset({3, 4, 5, 6, 7, 9})
# What `sort` compares; the best, the newest or the furthest run comes first, and a run without a value last.
SORTS: dict[str, Callable[[RunRow], Any]] = {
    "run": lambda row: str(row.path),
    "state": lambda row: row.state,
    "experiment": lambda row: row.experiment,
    "seed": lambda row: row.seed,
    "data": lambda row: row.data,
    "progress": lambda row: None if row.step is None else -row.step / (row.steps or math.inf),
    "loss": lambda row: row.loss,
    "validation": lambda row: row.validation_loss,
    "monitor": lambda row: None if row.monitor is None else -row.monitor,
    "score": lambda row: None if row.score is None else row.score * (1 if row.score_metric in LOWER_IS_BETTER else -1),
    "updated": lambda row: None if row.updated is None else -row.updated,
}


@dataclasses.dataclass(frozen=True, repr=False)
class Runs(Sequence[RunRow]):
    """A sequence of the runs below a folder; in a notebook, a table.

    Attributes:
      directory: the folder.
      rows: a row per run.
      remarks: sentences on where no run was looked for.
    """

    directory: Path
    rows: tuple[RunRow, ...]
    remarks: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> RunRow: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | slice) -> "RunRow | Runs":
        """Return a run, or some of them."""
        return dataclasses.replace(self, rows=self.rows[index]) if isinstance(index, slice) else self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[RunRow]:
        return iter(self.rows)

    def sorted(self, by: str) -> "Runs":
        """Return the runs in the order of a key of `SORTS`; runs without a value come last."""
        key = SORTS[by]

        def order(row: RunRow) -> tuple[bool, Any, str]:
            value = key(row)
            missing = value is None or value != value  # NaN
            return missing, 0 if missing else value, str(row.path)

        return dataclasses.replace(self, rows=tuple(sorted(self.rows, key=order)))

    def to_frame(self) -> "pl.DataFrame":
        """Return a row per run with the fields of `RunRow`; `updated` is a time in UTC."""
        import polars as pl

        types = {"str": pl.String, "int": pl.Int64, "float": pl.Float64, "Path": pl.String}
        fields = dataclasses.fields(RunRow)
        schema = {field.name: types[getattr(field.type, "__name__", str(field.type)).split(" ")[0]] for field in fields}
        rows = [{**dataclasses.asdict(row), "path": called(row.path)} for row in self.rows]
        return pl.DataFrame(rows, schema=schema).with_columns(
            pl.from_epoch((pl.col("updated") * 1000).cast(pl.Int64), "ms").dt.replace_time_zone("UTC")
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the folder, a dict per run, and the remarks."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        return {"directory": self.directory, "runs": rows, "remarks": list(self.remarks)}

    def cells(self) -> list[list[str]]:
        """Return the texts of the table, row by row."""
        return [_cells(row, self.directory) for row in self.rows]

    def notes(self) -> list[str]:
        """Return a sentence per failed or damaged run, and what the numbers of the table are."""
        faults = [f"{_name(row, self.directory)} {_VERBS[row.state]}: {row.reason}" for row in self.rows if row.reason]
        monitors = dict.fromkeys(row.monitor_name for row in self.rows if row.monitor_name)
        scores = dict.fromkeys(row.score_name for row in self.rows if row.score_name)
        notes = [f"{_name(row, self.directory)}: {text}" for row in self.rows if (text := _speed(row))]
        notes += [f"monitor: {', '.join(monitors)}"] if monitors else []
        notes += [f"test score: the best of a run; {'; '.join(scores)}"] if scores else []
        return [visible(line) for line in [*faults, *notes, *self.remarks]]

    def __repr__(self) -> str:
        if not self.rows:
            return "\n".join([f"No run lies in {visible(self.directory)}.", *self.notes()])
        cells = [list(_HEAD), *self.cells()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                text.rjust(width) if index in _NUMERIC else text.ljust(width)
                for index, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        states = dict.fromkeys(row.state for row in self.rows)
        count = ", ".join(f"{sum(row.state == state for row in self.rows)} {state}" for state in states)
        return "\n".join([*lines, "", f"{counted(len(self.rows), 'run')}: {count}.", *self.notes()])

    def _repr_html_(self) -> Html:
        if not self.rows:
            return element("p", repr(self))
        caption = f"Runs in {visible(self.directory)}"
        notes = element("ul", [element("li", note) for note in self.notes()]) if self.notes() else None
        return fragment(table(caption, _HEAD, self.cells(), numeric=_NUMERIC, captioned=True), notes)


_MUCH = 0.05  # the share of waiting for input that is worth a note
_VERBS = {"failed": "failed", "damaged": "is damaged"}


def _name(row: RunRow, directory: Path) -> str:
    relative = row.path.relative_to(directory)
    return str(relative) if relative.parts else called(row.path)


def _cells(row: RunRow, directory: Path) -> list[str]:
    texts = [
        _name(row, directory),
        row.state,
        progress(row),
        "" if row.samples_per_second is None else f"{row.samples_per_second:,.0f}",
        _number(row.loss),
        _number(row.validation_loss),
        _number(row.monitor),
        _number(row.score),
        row.experiment or "",
        "" if row.seed is None else str(row.seed),
        row.data or "",
    ]
    return [visible(text) for text in texts]


def _speed(row: RunRow) -> str:
    """Return what is unusual about the speed of a run, and how much of its devices it uses where that is known."""
    words = [] if row.mfu is None else [f"MFU {100 * row.mfu:.0f} %"]
    if row.input_wait is not None and row.input_wait >= _MUCH:
        words.append(f"{100 * row.input_wait:.0f} % of the time waiting for input")
    if row.lost:
        words.append(f"{row.lost:,.0f} s lost to restarts")
    return ", ".join(words)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 100 else number(value)


def progress(row: RunRow) -> str:
    """Return the progress of a run in words.

    Example:
      >>> progress(RunRow(path=Path("a"), state="running", step=500, steps=2000, epochs_done=2.5, epochs=10,
      ...                 seconds_left=3700.0))
      '25 %, epoch 2.5 of 10, 1:01:40 left'
    """
    if row.step is None:
        return ""
    parts = [f"{100 * row.step // row.steps} %" if row.steps else f"step {row.step:,}"]
    if row.epochs_done is not None:
        parts.append(f"epoch {row.epochs_done:.3g} of {row.epochs}")
    if row.seconds_left is not None:
        parts.append(f"{datetime.timedelta(seconds=round(row.seconds_left))} left")
    return ", ".join(parts)
