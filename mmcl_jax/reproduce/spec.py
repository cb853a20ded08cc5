"""The parts of a table: rows, columns, claims, and published numbers."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

from mmcl_jax.evaluation.sources.budgets import Budget

COLUMNS_USED = "columns_used"  # the metric of columns that say which columns a table encoder uses, see `columns_used`
# Protocols without a label, see `analyses`.
ASSOCIATION, ATTRIBUTION, ALIGNMENT = "association", "attribution", "alignment"
ANALYSES = (ASSOCIATION, ATTRIBUTION, ALIGNMENT)
# The metrics of association and of attribution.
REGIONS, PLANTED, FALSE, INFLATION = "regions", "planted_variants", "false_regions", "inflation"
GLOBAL, LOCAL = "planted_auroc", "planted_auroc_in_people"
COUNTS = (REGIONS, PLANTED, FALSE)


@dataclasses.dataclass(frozen=True)
class Published:
    """A number of the paper, in percent or in its own unit, with its standard deviation and its decimal digits.

    In place of a number, there may be a `note` such as "did not converge".
    """

    mean: float | None
    sd: float | None = None
    note: str = ""
    digits: int = 2

    def __str__(self) -> str:
        if self.mean is None:
            return self.note
        return f"{self.mean:.{self.digits}f}" + ("" if self.sd is None else f" ± {self.sd:.{self.digits}f}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableColumn:
    """One way to evaluate: a protocol on an input with a share of the training labels.

    Attributes:
      key: the name in results files.
      heading: the name in the table.
      protocol: of `mmcl evaluate`; a rival is trained by its own in its place.
      input: to predict from.
      share: of the training labels.
      metric: on test; empty for the primary metric of the label's task. `COLUMNS_USED` is of the columns of the table.
      options: further fields of `EvaluationOptions`, such as `{"schedule": "onecycle"}`.
      label: that is predicted, such as "sex+smoking"; empty for the label of the table. If one column of a table has a
        label, all have.
      store: the name in `--downstream` of the store that the column is trained and tested on; empty for the store of
        the pretraining.
      learning_rates: of the protocol, unless the command names others; None for those of the protocol.
      max_epochs: of the protocol, unless the command says otherwise; None for that of the protocol.
      truth: whether the column counts what was planted, so that data without a truth do not have it.
      first: whether a share of the labels is that of the first rows, in place of random ones.
      task: of the label, such as "dice"; empty for that of the table.
    """

    key: str
    heading: str
    protocol: str
    input: str = "image"
    share: float = 1.0
    metric: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    label: str = ""
    store: str = ""
    learning_rates: tuple[float, ...] | None = None
    max_epochs: int | None = None
    truth: bool = False
    first: bool = False
    task: str = ""

    @property
    def short(self) -> str:
        """The heading without its unit, which stands in brackets."""
        return self.heading.partition(" (")[0]

    @property
    def analysis(self) -> bool:
        """Whether the column predicts no label: its protocol analyses the run, see `analyses`."""
        return self.protocol in ANALYSES

    @property
    def hidden(self) -> tuple[str, float]:
        """The strategy and the share of the table that is hidden; `("", 0.0)` for whole rows."""
        by, rates = self.options.get("missing_by", ("",)), self.options.get("missing", (0.0,))
        return by[0], rates[0]

    def budget(self, *, balanced: bool) -> Budget:
        """Return the label budget: the share, or with `balanced` the balanced subset (of a rare binary label) of it."""
        if not balanced:
            return Budget(fraction=self.share, first=self.first)
        return Budget(subset="train_balanced" if self.share == 1 else f"train_balanced_{100 * self.share:g}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableRow:
    """One method of a table.

    Attributes:
      key: the name in `--methods` and of the runs; the same key is the same pretraining in every table.
      label: the name in the table.
      config: the shipped experiment, without its variant; empty for a baseline.
      overrides: texts `key.path=value` on the config.
      baseline: "random", "pixels" or "columns", of `evaluate_runs`; its encoder and seeds are the reference row's, or
        those of a run of its own, which is not trained, if the row has a config.
      rival: the protocol of a model that is trained on the columns alone; its seeds and folds are the reference row's.
      protocols: that evaluate the row; of a rival, those of the columns that it stands in.
      inputs: that the row can be evaluated on.
      reads: what it is evaluated on in place of a column's input; empty for that input.
      published: `{target: {column: number}}`, where a target is "DVM", "CAD" or "MI".
      kind: what the method learns from: "multimodal", "image", "table", "labels" or "nothing".
      run: the name of the runs, in place of the key, if the settings were chosen from several (see `work.tune`).
      needs_weights: whether its encoder begins at weights of a file, without which the row is left out.
    """

    key: str
    label: str
    config: str = ""
    overrides: tuple[str, ...] = ()
    baseline: str = ""
    rival: str = ""
    protocols: tuple[str, ...] = ("probe", "finetune")
    inputs: tuple[str, ...] = ("image",)
    reads: str = ""
    published: Mapping[str, Mapping[str, Published]] = dataclasses.field(default_factory=dict)
    kind: str
    run: str = ""
    needs_weights: bool = False

    @property
    def name(self) -> str:
        """The name of the runs and their evaluations."""
        return self.run or self.key

    def has(self, column: TableColumn) -> bool:
        """Return whether the table has a number for this row in this column."""
        return column.protocol in self.protocols and column.input in self.inputs

    @property
    def lent(self) -> str:
        """The baseline of `evaluate_runs` that the row is; "" for a run. Rivals read the columns themselves."""
        return "columns" if self.rival else self.baseline

    def options(self, column: TableColumn) -> dict[str, Any]:
        """Return the column's options of the evaluation; those of a schedule are not for rivals."""
        chosen = dict(column.options)
        return {name: chosen[name] for name in chosen if not self.rival or name in ("missing", "missing_by")}

    def input(self, column: TableColumn) -> str:
        """Return the input that the row is evaluated on in a column."""
        return self.reads or column.input

    def protocol(self, column: TableColumn) -> str:
        """Return the protocol that evaluates the row in a column."""
        return self.rival or column.protocol


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A weighted sum of cells, which a claim states to be above 0.

    Of metrics whose lower values are better, it is the relative improvement (N - P) / N in percent, where P is the sum
    of the cells with positive weights, and N that of the others, without their sign.

    Attributes:
      label: in words.
      weights: `(row, column, weight)` of every cell.
      published: what the paper reports for it, by target: points of percent, or a relative improvement in percent.
      margin: what is added to the sum, in its unit: with 3 points, a difference above -3 is above 0.
    """

    label: str
    weights: tuple[tuple[str, str, float], ...]
    published: Mapping[str, float] = dataclasses.field(default_factory=dict)
    margin: float = 0.0

    @property
    def rows(self) -> set[str]:
        """The keys of the rows in the sum."""
        return {row for row, _, _ in self.weights}


def difference(
    first: TableRow, second: TableRow, column: TableColumn, published: Mapping[str, float] | None = None
) -> Contrast:
    """Return `first - second` in a column."""
    label = f"{first.label} − {second.label}"
    return Contrast(label, ((first.key, column.key, 1.0), (second.key, column.key, -1.0)), published or {})


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of the paper, or a sentence of `ours`, which holds if every contrast is above 0."""

    text: str
    contrasts: tuple[Contrast, ...]
    ours: bool = False

    def told_apart(self, headings: Mapping[str, str]) -> "Claim":
        """Return the claim; where contrasts have the same label, each has its column's heading, by key, before it."""
        counts = Counter(one.label for one in self.contrasts)
        contrasts = tuple(
            one
            if counts[one.label] == 1
            else dataclasses.replace(one, label=f"{headings[one.weights[0][1]]}: {one.label}")
            for one in self.contrasts
        )
        return dataclasses.replace(self, contrasts=contrasts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A table of a paper.

    Attributes:
      name: such as "mmcl/table1".
      title: of the page, before the name of the store.
      source: where the paper has it.
      rows: the methods.
      columns: the ways to evaluate them.
      claims: to judge.
      reference: key of the row that the other rows are compared with.
      needs_tag: the column tag without which the table makes no sense, such as "morphometric"; empty for none.
      curves: whether the charts are curves over the share of labels or, if columns hide cells, of what is hidden.
      task: of the label, "class" or None for the label's own, which may be a number.
      beside: what stands below the numbers: "metrics" (the other metrics of the task), "ranks" (of the methods), "cost"
        (seconds and parameters), "labels" (every label of columns that predict a few together), "columns" (the use
        of every column, of columns with the metric `COLUMNS_USED`), and of attributions "features" and "person".
      variants: of the configs, of which the first is the usual one; () for those of all data sets with a table.
      target: of the published numbers, in `published.TARGETS`; empty to choose one by the variant and the label.
      theirs: a sentence on what the published numbers are means over.
      notes: sentences on how the columns were evaluated, in place of those on the protocols; empty for the latter.
      figure: what the page draws of analyses: "models", "person" (see `analyses.figures`) or nothing.
    """

    name: str
    title: str
    source: str
    rows: tuple[TableRow, ...]
    columns: tuple[TableColumn, ...]
    claims: tuple[Claim, ...]
    reference: str = "mmcl"
    needs_tag: str = ""
    curves: bool = False
    task: str | None = "class"
    beside: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    target: str = ""
    theirs: str = "Theirs: over five fine-tuning seeds of one pretrained model."
    notes: str = ""
    figure: str = ""

    def __post_init__(self) -> None:
        headings = {column.key: column.short for column in self.columns}
        object.__setattr__(self, "claims", tuple(claim.told_apart(headings) for claim in self.claims))

    @property
    def own_labels(self) -> bool:
        """Whether the columns say what is predicted, so that no `--label` does."""
        return all(column.label or column.analysis for column in self.columns)

    @property
    def analyses(self) -> bool:
        """Whether all columns are analyses, so that no label is predicted at all."""
        return all(column.analysis for column in self.columns)

    @property
    def downstream(self) -> tuple[str, ...]:
        """The names of the stores of columns that are not tested on the store of the pretraining."""
        return tuple(dict.fromkeys(column.store for column in self.columns if column.store))

    def row(self, key: str) -> TableRow:
        """Return the row with this key."""
        return next(row for row in self.rows if row.key == key)
