"""What the table says: which columns are used, how rows are divided, and what the training split looks like."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mmcl_jax.data.schema import Column, Schema, class_codes
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import UserError
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare import audit
from mmcl_jax.prepare.card.findings import ColumnFinding
from mmcl_jax.prepare.forest import forest_score
from mmcl_jax.prepare.leaks import leaky_columns, same_order
from mmcl_jax.prepare.like import Like
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.splits import draw as splits
from mmcl_jax.prepare.splits import subsets
from mmcl_jax.prepare.splits.folds import draw_folds
from mmcl_jax.prepare.table.parse import Parsed
from mmcl_jax.prepare.table.rows import Rows, matrix


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspected:
    """The `K` rows that are kept, ready to be written.

    Attributes:
      rows: `[K]`, their places among the rows read.
      schema: of the store.
      table: `[K, F]` raw values, NaN for missing.
      labels: `[K, L]`, the same way.
      splits: places among the kept rows, by split.
      subsets: the same, by subset.
      folds: the same, for each fold; () unless asked for.
      statistics: of the training rows.
      left_out: features that are not used after all, each with the reason.
      balance: rows per class and split, of every label that is a class.
      warnings: sentences on columns, labels and groups.
    """

    rows: np.ndarray
    schema: Schema
    table: np.ndarray
    labels: np.ndarray
    splits: splits.Splits
    subsets: Mapping[str, np.ndarray]
    folds: Sequence[np.ndarray]
    statistics: Statistics
    left_out: dict[str, str]
    balance: dict[str, dict]
    warnings: list[str]

    def columns(self, rows: Rows) -> list[ColumnFinding]:
        """Return the findings on every column."""
        parsed = [dataclasses.replace(one, values=one.values.gather(self.rows)) for one in rows.columns]
        found = audit.describe_columns(parsed, self.schema, self.table, self.statistics, self.splits, self.left_out)
        said = rows.declaration
        for place, column in enumerate(found):
            declared = said.columns.get(column.name)
            more: dict = {"unit": declared.unit, "tags": list(declared.tags)} if declared else {}
            if column.role == "ignore" and not column.why:
                more["why"] = "it is declared so" if declared else "it is not among the columns that were declared"
            found[place] = dataclasses.replace(column, **more)
        return found

    def forests(self, seed: int) -> dict[str, dict]:
        """Return the scores of a random forest on the table, by label."""
        if not self.schema.columns:
            return {}
        names = [column.name for column in self.schema.columns]
        train, test = self.splits["train"], self.splits["test"]
        scores = {
            label.name: forest_score(self.table, self.labels[:, place], label, names, train=train, test=test, seed=seed)
            for place, label in enumerate(self.schema.labels)
        }
        return {name: score for name, score in scores.items() if score is not None}


def inspect(
    rows: Rows,
    kept: np.ndarray,
    request: Request,
    recipe: Recipe | None,
    ids: Mapping[str, list[str]] | None,
    alike: np.ndarray | None = None,
    like: Like | None = None,
    targets: Sequence[Parsed] = (),
    table: bool = True,
) -> Inspected:
    """Divide the rows `kept` and decide which columns are used.

    `targets` are labels of other tables, with the values of all rows; `table` says whether there is to be a table.
    `alike` `[K]` are numbers of the sets of rows with nearly equal images, which the splits shall not divide.

    A column from which a label can be read off is left out, unless its kind was declared. `ids` are those of
    `given_ids`. With `like`, columns, categories and classes are those of an earlier store or run.

    Raises:
      UserError: the rows cannot be divided as asked.
    """
    features, labels = rows.named("feature"), [*rows.named("label"), *targets]
    if like is None:
        label_columns, columns = (tuple(one.column(kept) for one in parsed) for parsed in (labels, features))
    else:
        label_columns, columns = like.labels(labels), like.columns
        features, labels = like.ordered(features, columns), like.ordered(labels, label_columns)
    label_values, _ = matrix(labels, label_columns, kept)
    codes = class_codes(label_values, label_columns)
    classes = [place for place, one in enumerate(label_columns) if one.coded]
    every = np.nan_to_num(label_values[:, classes], nan=-1).astype(np.int64)
    divided, warnings = divide(rows, kept, every, request, ids, alike)
    values, _ = matrix(features, columns, kept)

    left_out: dict[str, str] = {}
    used_all_the_same: list[str] = []
    if like is None:
        left_out, used_all_the_same = leaky(
            features, values, label_values, label_columns, divided["train"], request.seed
        )
    else:
        warnings += like.warn(features, columns, values, kept) + like.warn(labels, label_columns, label_values, kept)
    used = [place for place, one in enumerate(features) if one.name not in left_out]
    schema = Schema(columns=tuple(columns[place] for place in used), labels=label_columns)
    values = values[:, used]
    _check_logarithms(values, schema, rows, kept)
    warnings += audit.warn_of_skew(values, schema.columns)
    if not used and table:
        warnings.append("No column is left to use as the table; only images can be used.")
    warnings += [f"Column {one.name!r}: {one.remark}." for one in rows.columns if one.remark]
    for name, reason in left_out.items():
        warnings.append(f"Column {name!r} is left out: {reason}.")
    warnings += used_all_the_same
    balance = audit.balance(label_values, label_columns, divided)
    warnings += audit.warn_of_shares(balance)
    warnings += audit.warn_of_labels(balance, _remedy(rows, request, recipe, ids), declarable=recipe is None)
    missing = {one.name: int(np.isnan(label_values[:, place]).sum()) for place, one in enumerate(labels)}
    for one in labels:
        if count := missing[one.name]:
            warnings.append(f"{count} rows have no value of the label {one.name!r}{_by_words(one)}.")
    return Inspected(
        rows=kept,
        schema=schema,
        table=values,
        labels=label_values,
        splits=divided,
        subsets=_subsets(rows, kept, divided, codes, label_columns, request, recipe),
        folds=draw_folds(len(kept), request.folds, seed=request.seed, label=codes, group=members(rows, kept, alike)[0]),
        statistics=Statistics.fit(values[divided["train"]], schema),
        left_out=left_out,
        balance=balance,
        warnings=warnings,
    )


def _by_words(label: Parsed) -> str:
    """Return how to keep a word that may name a class, if some such words were taken for missing."""
    words = [word for word in label.missing_words if label.coded and word.isalpha() and word.lower() != "nan"]
    if not words:
        return ""
    said = json.dumps({"present": words}, ensure_ascii=False)
    return f": {label.missing_words[words[0]]} of them say {words[0]!r}; if that is a class, declare {said} in --schema"


def _check_logarithms(table: np.ndarray, schema: Schema, rows: Rows, kept: np.ndarray) -> None:
    for place, column in enumerate(schema.columns):
        low = np.flatnonzero(table[:, place] <= 0)
        if column.scaling == "log" and len(low):
            value = f"{table[low[0], place]:g}"
            raise UserError(
                f"Column {column.name!r} has {counted(len(low), 'value')} without a logarithm, the first, {value}, in "
                f'row {rows.numbers[kept[low[0]]]}; declare "scaling": "quantile", or, if it stands for no value, '
                f'"missing": ["{value}"], in --schema.'
            )


def given_ids(request: Request, recipe: Recipe | None) -> Mapping[str, list[str]] | None:
    """Return the identifiers of every split, if files or the recipe give them."""
    if request.split_ids:
        return splits.read_ids(request.split_ids)
    return recipe.splits if recipe else None


def divide(
    rows: Rows,
    kept: np.ndarray,
    codes: np.ndarray,
    request: Request,
    ids: Mapping[str, list[str]] | None,
    alike: np.ndarray | None = None,
) -> tuple[splits.Splits, list[str]]:
    """Return the splits, as indices into the rows `kept`, and warnings; `codes` `[K, L]` are of all class labels."""
    groups = rows.named("group")
    group = groups[0].values.gather(kept).cast(pl.String) if groups else None
    warnings: list[str] = []
    column = rows.named("split")
    if ids is not None:
        divided, absent = splits.splits_from_ids([rows.keys[row] for row in kept], ids)
        for split, count in absent.items():
            if count:
                warnings.append(f"Identifiers given for {split} that no row in the store has: {count:,}.")
    elif column:
        divided = splits.splits_from_column(column[0].values.gather(kept).cast(pl.String).to_list(), column[0].name)
    else:
        together, what = members(rows, kept, alike)
        divided = splits.random_splits(len(kept), request.split, seed=request.seed, label=codes, group=together)
        why = "every class of three rows is in every split"
        if together is not None:
            largest = np.bincount(together).max()
            why = f"{what} are not divided (the largest group has {counted(int(largest), 'row')})"
        warnings += audit.warn_of_sizes(divided, request.split, why)
    if group is not None:
        warnings += audit.warn_of_groups(group, divided, groups[0].name)
    return divided, warnings


def members(rows: Rows, kept: np.ndarray, alike: np.ndarray | None) -> tuple[np.ndarray | None, str]:
    """Return the set `[K]` of rows that each row is kept together with, None for no sets; and its name in words."""
    groups = rows.named("group")
    if not groups:
        return alike, "" if alike is None else "near-duplicate pictures"
    together = group_codes(groups[0].values.gather(kept).cast(pl.String))
    what = f"groups of {groups[0].name!r}"
    if alike is None:
        return together, what
    return joined(together, alike), f"{what} and near-duplicate pictures"


def _remedy(rows: Rows, request: Request, recipe: Recipe | None, ids: Mapping[str, list[str]] | None) -> str:
    """Return the remedy that gives every class a row in every split."""
    if recipe is not None and ids is recipe.splits and ids is not None:
        return f"so the data set {recipe.name} divides its rows"
    column = rows.named("split")
    if ids is not None or column:
        given = "--split-ids" if ids is not None else f"the split column {column[0].name!r}"
        return f"give the split such rows, have the splits drawn (without {given})"
    group = rows.named("group")
    return f"it takes three {f'groups of {group[0].name!r}' if group else 'rows'} of a class to have it in every split"


def leaky(
    features: Sequence[Parsed],
    table: np.ndarray,
    labels: np.ndarray,
    label_columns: tuple[Column, ...],
    train: np.ndarray,
    seed: int,
) -> tuple[dict[str, str], list[str]]:
    """Return the columns that give a label away, with the reason; and warnings of such columns that are declared."""
    found: dict[str, str] = {}
    used: dict[str, str] = {}
    for place, label in enumerate(label_columns):
        if label.coded:
            codes = np.nan_to_num(labels[:, place], nan=-1).astype(int)
            leaky = leaky_columns(table, codes, train=train, seed=seed)
        else:
            leaky = same_order(table, labels[:, place], train=train)
        for column, (measure, score) in leaky.items():
            name, declared = features[column].name, features[column].declared
            told = f"the label {label.name!r} can be read off it ({measure} {score:.3f})"
            if declared.kind or declared.role:
                used.setdefault(name, f"Column {name!r} is used as declared, though {told}.")
            else:
                found.setdefault(name, f"{told}; to use it, declare its kind in --schema")
    return found, list(used.values())


def _subsets(
    rows: Rows,
    kept: np.ndarray,
    divided: splits.Splits,
    codes: np.ndarray | None,
    labels: tuple[Column, ...],
    request: Request,
    recipe: Recipe | None,
) -> dict[str, np.ndarray]:
    if recipe is not None and recipe.subsets:  # published ones; rows that were lost are lost there, too
        places = {rows.keys[row]: place for place, row in enumerate(kept)}
        return {
            name: np.array(sorted(places[key] for key in keys if key in places), int)
            for name, keys in recipe.subsets.items()
        }
    label = next((one for one in labels if one.coded), None)
    classes = len(label.categories) if label else 0
    return subsets.standard_subsets(divided, codes, classes, request.subsets, seed=request.seed)


def joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the smallest groups `[K]` that divide neither those of `one` nor of `other`, `[K]` numbers from 0."""
    shape = (one.max() + 1, other.max() + 1)
    shared = sparse.coo_matrix((np.ones(len(one)), (one, other)), shape)
    graph = sparse.bmat([[None, shared], [shared.T, None]])
    return connected_components(graph, directed=False)[1][one]


def group_numbers(rows: Rows, kept: np.ndarray) -> np.ndarray | None:
    """Return a number `[K]` for each group of the rows `kept`; None where rows have no groups."""
    groups = rows.named("group")
    return group_codes(groups[0].values.gather(kept).cast(pl.String)) if groups else None


def group_codes(groups: pl.Series) -> np.ndarray:
    """Return integer codes `[K]`; every row without a group is a group of its own."""
    codes = groups.rank("dense").cast(pl.Int64).fill_null(-1).to_numpy().copy()
    alone = np.flatnonzero(codes < 0)
    codes[alone] = codes.max(initial=0) + 1 + np.arange(len(alone))
    return codes
