"""A written explanation: its folder, and how it is read and shown."""

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmcl_jax.border import AtLeast, Open, as_type, read_written, to_json
from mmcl_jax.errors import check
from mmcl_jax.explain.base import Picture, Result, Subject
from mmcl_jax.files import CHECKSUMS, damage, reading, write_checksums
from mmcl_jax.page.wording import clipped, counted, share
from mmcl_jax.text import called
from mmcl_jax.training.runs.run import Run

FORMAT = 1
FOLDER, ABOUT, ATTRIBUTIONS = "explanations", "explanation.json", "attributions.parquet"


_Count = Annotated[int, AtLeast(0)]


class _Column(TypedDict):
    name: str
    group: str
    importance: float | None
    share: float | None
    rank: Annotated[int, AtLeast(1)]
    mean: NotRequired[float | None]


class _Group(TypedDict):
    name: str
    colour: str
    columns: _Count
    importance: float | None
    share: float | None


class _Token(TypedDict):
    name: str
    rows: _Count
    focus: float | None
    region: tuple[int, int] | None
    share: float | None


class _Modality(TypedDict):
    summed: float | None
    mean: float | None


class _Details(TypedDict, total=False):
    additive: bool
    unit: str
    absent: _Count
    modality: Annotated[_Modality, Open]
    tokens: list[Annotated[_Token, Open]]
    grid: list[_Count]


class _Head(TypedDict):
    name: str


class _About(TypedDict):
    """What is shown of `explanation.json`."""

    method: str
    input: str
    kind: str
    of: str
    step: _Count | None
    split: str
    rows: _Count
    head: Annotated[_Head, Open] | None
    columns: list[Annotated[_Column, Open]]
    groups: list[Annotated[_Group, Open]]
    pictures: list[Annotated[Picture, Open]]
    details: Annotated[_Details, Open]
    notes: list[str]


@dataclasses.dataclass(frozen=True, repr=False)
class Explanation:
    """An explanation: its folder, and the content of its `explanation.json`, which `mmcl_jax.explain` describes."""

    directory: Path
    about: Mapping[str, Any]

    @classmethod
    def read(cls, directory: Path | str) -> "Explanation":
        """Read an explanation.

        Raises:
          UserError: the folder holds no explanation, or a file in it has changed since it was written.
        """
        directory = Path(directory)
        check((directory / CHECKSUMS).is_file(), f"{directory} holds no explanation; make one with mmcl explain.")
        fault, remedy = damage(directory), "make it again with mmcl explain"
        check(fault is None, f"{fault}; {remedy}.")
        about: dict[str, Any] = read_written(directory / ABOUT, dict[str, Any], remedy)
        with reading(directory / ABOUT, remedy):
            if (form := about.get("format")) != FORMAT:
                raise ValueError(f"it is of format {form!r}")
            shown: _About = as_type(Annotated[_About, Open], about)
            for picture in shown["pictures"]:
                if Path(picture.file).name != picture.file or not (directory / picture.file).is_file():
                    raise ValueError(f"it names the picture {picture.file!r}, which is not in its folder")
            if shown["method"] == "attention" and not {"tokens", "grid"} <= shown["details"].keys():
                raise ValueError("details has no tokens or no grid")
        return cls(directory, about)

    @property
    def method(self) -> str:
        """The name of the method."""
        return str(self.about["method"])

    @property
    def subject(self) -> str:
        """What is explained by which input, or of an attention what looks at which input, in words."""
        return f"{self.about['of']} {'to' if self.method == 'attention' else 'by'} {self.about['input']}"

    @property
    def columns(self) -> list[Mapping[str, Any]]:
        """The columns, the most important first."""
        return sorted(self.about["columns"], key=lambda column: column["rank"])

    @property
    def groups(self) -> list[Mapping[str, Any]]:
        """The groups of columns, the most important first."""
        return sorted(self.about["groups"], key=lambda group: -(group["importance"] or 0))

    @property
    def pictures(self) -> dict[Path, str]:
        """The paths of the pictures, and their descriptions."""
        return {self.directory / picture["file"]: picture["alternative"] for picture in self.about["pictures"]}

    def attributions(self) -> pl.DataFrame:
        """Return the attributions of every explained row; see `mmcl_jax.explain`.

        Raises:
          UserError: the method writes none.
        """
        path = self.directory / ATTRIBUTIONS
        check(path.is_file(), f"{self.directory}: the method {self.method!r} writes no attributions of rows.")
        return pl.read_parquet(path)

    def to_frame(self) -> pl.DataFrame:
        """Return a row per column of the input, the most important first."""
        return pl.DataFrame(self.columns)

    def __repr__(self) -> str:
        text = io.StringIO()
        self.show(Console(file=text, width=120, color_system=None, force_jupyter=False))
        return text.getvalue().strip()

    def show(self, console: Console, *, top: int = 20) -> None:
        """Print the ranked columns, the groups and the notes."""
        about = self.about
        title = f"{self.method}: {self.subject} ({counted(about['rows'], 'row')} of {about['split']})"
        if self.columns:
            additive = about["details"].get("additive", True)  # of an ablation, shares mean nothing
            table = Table(title=Text(title), title_justify="left")
            unit = about["details"].get("unit", "column")
            grouped = unit == "column"
            for name in ("", unit, *(["group"] if grouped else []), "importance", *(["share"] if additive else [])):
                table.add_column(name, justify="right" if name in ("", "importance", "share") else "left")
            for column in self.columns[:top]:
                names = [Text(clipped(column["name"], 40))]
                names += [Text(clipped(column["group"], 24))] if grouped else []
                part = [share(column["share"] or 0, 1)] if additive else []
                table.add_row(str(column["rank"]), *names, _shown(column["importance"]), *part)
            console.print(table)
            if len(self.columns) > top:
                console.print(f"and {counted(len(self.columns) - top, f'further {unit}')}", highlight=False)
            if len(self.groups) > 1:
                numbers = [
                    share(group["share"] or 0, 1) if additive else _shown(group["importance"]) for group in self.groups
                ]
                sums = (
                    f"{clipped(group['name'], 24)} {text}" for group, text in zip(self.groups, numbers, strict=True)
                )
                console.print(f"groups: {', '.join(sums)}", highlight=False, markup=False)
        else:
            console.print(title, highlight=False, markup=False)
        for note in about["notes"]:
            console.print(note, highlight=False, markup=False, soft_wrap=True)


def write(subject: Subject, method: str, result: Result, folder: Path, made_by: Mapping[str, Any]) -> None:
    """Write `explanation.json` and the checksums into the folder, which has the other files already."""
    source, head = subject.source, subject.head
    about = {
        "format": FORMAT,
        "method": method,
        "input": subject.input,
        "kind": subject.spec.kind,
        "of": result.of,
        "run": called(source.run.directory.absolute()),
        "step": source.run.step() if source.kind == "run" else None,
        "split": subject.options.split,
        "rows": len(subject.rows),
        "store": subject.store.fingerprint,
        "head": None if head is None else {"name": subject.head_name, **head.of},
        "settings": dict(result.settings),
        "columns": list(result.columns),
        "groups": list(result.groups),
        "pictures": [dataclasses.asdict(picture) for picture in result.pictures],
        "details": dict(result.details),
        "notes": list(result.notes),
        "made_by": dict(made_by),
    }
    (folder / ABOUT).write_text(to_json(_finite(about), indent=2) + "\n")
    write_checksums(folder, [path for path in folder.rglob("*") if path.is_file()])


def explanations_of(run: Run, folder: Path | None = None) -> list[Explanation]:
    """Return the explanations of a run, sorted by folder; of those in `folder`, where that is given."""
    folder = run.directory / FOLDER if folder is None else folder
    return [Explanation.read(path.parent) for path in sorted(folder.glob(f"*/{ABOUT}"))]


def _shown(number: float | None) -> str:
    return f"{math.nan if number is None else number:.3g}"


def _finite(value: Any) -> Any:
    """Return a JSON value with null in place of numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
