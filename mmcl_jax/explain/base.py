"""What a method of explanation is, what it is given, and what it returns."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmcl_jax.data.inputs import InputSpec
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check_name
from mmcl_jax.evaluation.heads.encoded import IDS
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain.columns import Columns
from mmcl_jax.explain.pictures.regions import Atlas

BASELINES = ("zero", "mean")
REPLACEMENTS = ("mean", "zero", "permuted")
INTERPOLATIONS = ("bilinear", "nearest")
ATTENTIONS = ("mean", "last")
LOSSES = ("released", "training")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """The options of `mmcl explain`, which `api.commands.explain` describes."""

    methods: tuple[str, ...] = ("integrated_gradients",)
    inputs: tuple[str, ...] = ()
    split: str = "test"
    rows: int = 1000
    output: str | None = None
    baseline: str = "zero"
    steps: int | None = None
    max_steps: int = 512
    tolerance: float = 0.01
    replacement: str = "mean"
    reference: int = 1000
    reference_split: str = "val"
    term: str | None = None
    loss: str = "released"
    temperature: float | None = None
    balance: float | None = None
    noise_samples: int = 0
    noise_std: float = 1.0
    individuals: tuple[str, ...] = ()
    top: int = 20
    layer: int | None = None
    interpolation: str = "bilinear"
    attention: str = "mean"
    dimensions: tuple[int, ...] = ()
    partner: str | None = None
    text: str | None = None
    show_text: bool = False
    directions: int = 1
    atlas: Path | None = None
    atlas_names: Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """What a method explains.

    Attributes:
      source: the run with its trained model; of a head, the source that the head was trained on.
      store: with the rows.
      input: name of the explained input of the run.
      spec: description of that input.
      head: the kept head whose outputs are explained; None for the embedding.
      head_name: the name of the folder of the head; "" without a head.
      rows: sorted indices `[N]` of the explained rows in the split.
      keys: of these rows.
      present: which of them have an attribution `[N]`: all, except those that lack an input of every term of a loss.
      columns: names and groups of the columns; None for images and volumes.
      options: of the command.
      atlas: in the grid of the explained volumes; None without `--atlas`.
    """

    source: Source
    store: Store
    input: str
    spec: InputSpec
    head: KeptHead | None
    head_name: str
    rows: np.ndarray
    keys: Sequence[str]
    present: np.ndarray
    columns: Columns | None
    options: ExplainOptions
    atlas: Atlas | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        """The modalities whose features are explained: those of the head, or the input itself."""
        return self.head.trained.reads if self.head else (self.input,)

    def having(self) -> "Subject":
        """Return the subject with the rows that have an attribution alone."""
        if self.present.all():
            return self
        keys = [key for key, has in zip(self.keys, self.present, strict=True) if has]
        present = np.ones(len(keys), bool)
        return dataclasses.replace(self, rows=self.rows[self.present], keys=keys, present=present)

    def inputs(self, name: str, split: str | None = None) -> Any:
        """Return all rows of a split (by default the explained one) in the form that the encoder of an input reads."""
        return self.source.inputs(self.store, split or self.options.split, name)

    def taken(self, names: Sequence[str], indices: np.ndarray, split: str | None = None) -> dict[str, np.ndarray]:
        """Return rows of these inputs, by name, and the `id` of each row, of a split (by default the explained one)."""
        rows = {name: np.asarray(self.inputs(name, split)[indices]) for name in names}
        return {**rows, IDS: self.source.ids(self.store, split or self.options.split)[indices]}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of an explanation: the name of its file in the folder, and its description in a sentence."""

    file: str
    alternative: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a method found; `explanation.json` has it under these names.

    Attributes:
      of: what was explained, in words.
      settings: the options of the method, and what it chose.
      columns: per column: name, group, importance, share and rank; see `Columns.ranked`.
      groups: per group: name, colour, columns, importance and share.
      pictures: that the method wrote into the folder.
      details: what only this method reports.
      notes: sentences for the user, such as the error that is left.
    """

    of: str
    settings: Mapping[str, Any]
    columns: Sequence[Mapping[str, Any]] = ()
    groups: Sequence[Mapping[str, Any]] = ()
    pictures: Sequence[Picture] = ()
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()


Explain = Callable[[Subject, Path], Result]
Reads = Callable[[Source, str, KeptHead | None, ExplainOptions], Sequence[str]]
Head = Literal["optional", "needed", "refused"]
# Of every row of the split: whether it is explained by any input, and whether by this input.
Has = Callable[[Source, Store, str, ExplainOptions], tuple[np.ndarray, np.ndarray]]


def inputs_behind(source: Source, input: str, head: KeptHead | None, options: ExplainOptions) -> tuple[str, ...]:
    """Return the inputs that a row must have: those that the head reads, or the explained input."""
    del options
    return source.inputs_of(head.trained.reads if head else (input,))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A method: a function that writes files into a folder and returns its result.

    Attributes:
      explain: the function.
      takes: the kinds of inputs that it explains.
      head: whether it can explain a head ("optional"), explains nothing else ("needed"), or no head ("refused").
      reads: returns the inputs that are read.
      has: returns which rows are explained; None for the rows that have all inputs that are read.
      first: the kinds that are explained where no input is named and the run has some; () for all of `takes`.
      regions: whether it writes a table of the regions of an atlas, of volumes.
      individuals: whether `--individuals` are among its rows; they are where it has `has`, too.
    """

    explain: Explain
    takes: tuple[str, ...]
    head: Head = "optional"
    reads: Reads = inputs_behind
    has: Has | None = None
    first: tuple[str, ...] = ()
    regions: bool = False
    individuals: bool = False


class Methods(dict[str, Method]):
    """The registered methods by name."""

    def register(
        self,
        name: str,
        *,
        takes: tuple[str, ...],
        head: Head = "optional",
        reads: Reads = inputs_behind,
        has: Has | None = None,
        first: tuple[str, ...] = (),
        regions: bool = False,
        individuals: bool = False,
    ) -> Callable[[Explain], Explain]:
        """Register the decorated function under a name; `Method` describes the arguments."""

        def add(explain: Explain) -> Explain:
            if name in self:
                raise ValueError(f"the method {name!r} is registered twice")
            self[name] = Method(
                explain=explain,
                takes=takes,
                head=head,
                reads=reads,
                has=has,
                first=first,
                regions=regions,
                individuals=individuals,
            )
            return explain

        return add

    def named(self, name: str) -> Method:
        """Return the method of a name; raise `UserError` if there is none."""
        check_name(name, sorted(self), "--method: there is no method")
        return self[name]


METHODS = Methods()
COLUMN_KINDS = ("table", "vector", "text")
IMAGE_KINDS = ("image", "volume")
