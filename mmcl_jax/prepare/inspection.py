"""Inspecting the table: which columns are used, how rows are divided, and the statistics of the training split."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mmcl_jax.border import to_json
from mmcl_jax.data.schema import Column, Schema, class_codes
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import UserError, check
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare import audit
from mmcl_jax.prepare.card.findings import ColumnFinding
from mmcl_jax.prepare.entries.columns import schema_columns
from mmcl_jax.prepare.forest import forest_score
from mmcl_jax.prepare.join.people import people_of, relatives
from mmcl_jax.prepare.leaks import leaky_columns, same_order
from mmcl_jax.prepare.like import Like
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.splits import draw as splits
from mmcl_jax.prepare.splits import subsets
from mmcl_jax.prepare.splits.folds import draw_folds
from mmcl_jax.prepare.table.parse import Parsed
from mmcl_jax.prepare.table.rows import Rows, matrix

if TYPE_CHECKING:
    from mmcl_jax.prepare.gather import GatheredEntries


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspected:
    """The `K` rows of the store, ready to be written.

    Attributes:
      rows: `[K]`, their indices among the rows that were read.
      schema: of the store.
      table: `[K, F]` raw values, NaN for missing.
      labels: `[K, L]` raw values, NaN for missing.
      splits: indices into the `K` rows, by split.
      subsets: indices into the `K` rows, by subset.
      folds: indices into the `K` rows, for each fold; () without folds.
      statistics: of the training rows.
      left_out: features that are not used, each with the reason.
      balance: number of rows per class and split, for every class label.
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
        parsed = [dataclasses.replace(column, values=column.values.gather(self.rows)) for column in rows.columns]
        findings = audit.describe_columns(parsed, self.schema, self.table, self.statistics, self.splits, self.left_out)
        for index, column in enumerate(findings):
            declared = rows.declaration.columns.get(column.name)
            more: dict = {"unit": declared.unit, "tags": list(declared.tags)} if declared else {}
            if column.role == "ignore" and not column.why:
                more["why"] = "it is declared so" if declared else "it is not among the columns that were declared"
            findings[index] = dataclasses.replace(column, **more)
        return findings

    def forests(self, seed: int) -> dict[str, dict]:
        """Return the scores of a random forest on the table, by label."""
        if not self.schema.columns:
            return {}
        names = [column.name for column in self.schema.columns]
        train, test = self.splits["train"], self.splits["test"]
        scores = {
            label.name: forest_score(self.table, self.labels[:, index], label, names, train=train, test=test, seed=seed)
            for index, label in enumerate(self.schema.labels)
        }
        return {name: score for name, score in scores.items() if score is not None}


def inspect(
    gathered: "GatheredEntries",
    kept: np.ndarray,
    request: Request,
    recipe: Recipe | None,
    *,
    alike: np.ndarray | None = None,
    like: Like | None = None,
) -> Inspected:
    """Divide the rows `kept` into splits and decide which columns are used.

    A column from which a label can be read off is left out, unless its role or kind was declared.

    Args:
      gathered: all rows, the targets of further tables, and the identifiers of the splits.
      kept: `[K]`, indices of the rows of the store.
      request: declares how rows are divided.
      recipe: the named data set, or None.
      alike: `[K]`, the group of rows with nearly equal images that each row is in, which no split divides; or None.
      like: the earlier store or run whose columns, categories and classes hold; or None.

    Raises:
      UserError: the rows cannot be divided as requested.
    """
    rows, ids = gathered.rows, gathered.ids
    features, labels = rows.named("feature"), [*rows.named("label"), *gathered.targets]
    if like is None:
        label_columns, columns = (schema_columns(parsed, kept, request.limits) for parsed in (labels, features))
    else:
        label_columns, columns = like.labels(labels), like.columns
        features, labels = like.ordered(features, columns), like.ordered(labels, label_columns)
    label_values, _ = matrix(labels, label_columns, kept)
    codes = class_codes(label_values, label_columns)
    classes = [index for index, label in enumerate(label_columns) if label.coded]
    all_codes = np.nan_to_num(label_values[:, classes], nan=-1).astype(np.int64)
    alike, related = _with_relatives(rows, kept, request, alike)
    divided, warnings = divide(rows, kept, all_codes, request, ids, alike)
    warnings += _warn_of_relatives(related, divided, request)
    # A category that the other store or run does not have is unknown, not missing.
    values, _ = matrix(features, columns, kept, unknown=math.nan if like is None else -1.0)

    left_out: dict[str, str] = {}
    leaky_warnings: list[str] = []
    if like is None:
        left_out, leaky_warnings = find_leaky(
            features, values, label_values, label_columns, divided["train"], request.seed
        )
    else:
        warnings += like.warn(features, columns, values, kept) + like.warn(labels, label_columns, label_values, kept)
    used = [index for index, feature in enumerate(features) if feature.name not in left_out]
    schema = Schema(columns=tuple(columns[index] for index in used), labels=label_columns)
    values = values[:, used]
    _check_logarithms(values, schema, rows, kept)
    warnings += audit.warn_of_skew(values, schema.columns)
    if not used and gathered.main.table:
        warnings.append("No column is left for the table, so that the store has none.")
    warnings += [f"Column {column.name!r}: {column.remark}." for column in rows.columns if column.remark]
    for name, reason in left_out.items():
        warnings.append(f"Column {name!r} is left out: {reason}.")
    warnings += leaky_warnings
    balance = audit.balance(label_values, label_columns, divided)
    warnings += audit.warn_of_shares(balance)
    warnings += audit.warn_of_labels(balance, _remedy(rows, request, recipe, ids), declarable=recipe is None)
    for index, label in enumerate(labels):
        if count := int(np.isnan(label_values[:, index]).sum()):
            warnings.append(f"{count} rows have no value of the label {label.name!r}{_by_words(label)}.")
    return Inspected(
        rows=kept,
        schema=schema,
        table=values,
        labels=label_values,
        splits=divided,
        subsets=_subsets(rows, kept, divided, codes, label_columns, request, recipe),
        folds=_folds(rows, kept, codes, request, recipe, ids, alike),
        statistics=Statistics.fit(values[divided["train"]], schema),
        left_out=left_out,
        balance=balance,
        warnings=warnings,
    )


def _with_relatives(
    rows: Rows, kept: np.ndarray, request: Request, alike: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return `alike` merged with the families of the request's table of relatives, and the families `[K]`, or None."""
    if request.relatives is None:
        return alike, None
    people = people_of(rows)
    families, _ = relatives(request.relatives, request.kinship, [people[row] for row in kept])
    families = np.unique(families, return_inverse=True)[1]
    return families if alike is None else merge_groups(families, alike), families


def _warn_of_relatives(families: np.ndarray | None, divided: splits.Splits, request: Request) -> list[str]:
    """Return a sentence if splits that were not drawn divide families."""
    if families is None:
        return []
    held = [set(families[members].tolist()) for members in divided.values()]
    several = [sum(family in split for split in held) > 1 for family in set().union(*held)]
    if not any(several):
        return []
    count = counted(sum(several), "family is", "families are")
    return [f"{count} in more than one split, though {request.relatives} names them, since the splits were given."]


def _by_words(label: Parsed) -> str:
    """Return how to keep a word that was taken for a missing value, if it may be the name of a class."""
    words = [word for word in label.missing_words if label.coded and word.isalpha() and word.lower() != "nan"]
    if not words:
        return ""
    present = to_json({"present": words}, ascii=False)
    return f": {label.missing_words[words[0]]} hold {words[0]!r}; if that is a class, declare {present} in --schema"


def _check_logarithms(table: np.ndarray, schema: Schema, rows: Rows, kept: np.ndarray) -> None:
    """Raise `UserError` for a column of logarithmic scaling with a value that is not positive."""
    for index, column in enumerate(schema.columns):
        low = np.flatnonzero(table[:, index] <= 0)
        if column.scaling == "log" and len(low):
            value = f"{table[low[0], index]:g}"
            raise UserError(
                f"Column {column.name!r} has {counted(len(low), 'value')} without a logarithm, the first, {value}, in "
                f'row {rows.numbers[kept[low[0]]]}; declare "scaling": "quantile", or, if it stands for "no value", '
                f'"missing": ["{value}"], in --schema.'
            )


def listed_ids(request: Request, recipe: Recipe | None) -> Mapping[str, list[str]] | None:
    """Return the identifiers of every split, if files or the recipe list them."""
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
                warnings.append(f"Identifiers listed for {split} that no row in the store has: {count:,}.")
    elif column:
        divided = splits.splits_from_column(column[0].values.gather(kept).cast(pl.String).to_list(), column[0].name)
    else:
        together, phrase = _undivided(rows, kept, alike)
        divided = splits.random_splits(len(kept), request.split, seed=request.seed, label=codes, group=together)
        why = "every class of three rows is in every split"
        if together is not None:
            largest = np.bincount(together).max()
            why = f"{phrase} are not divided (the largest group has {counted(int(largest), 'row')})"
        warnings += audit.warn_of_sizes(divided, request.split, why)
    if group is not None:
        warnings += audit.warn_of_groups(group, divided, groups[0].name)
    return divided, warnings


def _undivided(rows: Rows, kept: np.ndarray, alike: np.ndarray | None) -> tuple[np.ndarray | None, str]:
    """Return the group `[K]` of every row that no split may divide, or None without groups; and a phrase for them."""
    groups = rows.named("group")
    if not groups:
        return alike, "" if alike is None else "near-duplicate images or relatives"
    together = group_codes(groups[0].values.gather(kept).cast(pl.String))
    phrase = f"groups of {groups[0].name!r}"
    if alike is None:
        return together, phrase
    return merge_groups(together, alike), f"{phrase} and near-duplicate images or relatives"


def _remedy(rows: Rows, request: Request, recipe: Recipe | None, ids: Mapping[str, list[str]] | None) -> str:
    """Return a phrase that says how every class gets a row in every split."""
    if recipe is not None and recipe.splits is not None and not request.split_ids:
        return f"the data set {recipe.name} divides its rows in this way"
    column = rows.named("split")
    if ids is not None or column:
        option = "--split-ids" if ids is not None else f"the split column {column[0].name!r}"
        return f"move such rows into the split, have the splits drawn (without {option})"
    group = rows.named("group")
    return f"a class needs three {f'groups of {group[0].name!r}' if group else 'rows'} to be in every split"


def find_leaky(
    features: Sequence[Parsed],
    table: np.ndarray,
    labels: np.ndarray,
    label_columns: tuple[Column, ...],
    train: np.ndarray,
    seed: int,
) -> tuple[dict[str, str], list[str]]:
    """Return the columns to leave out, since they give a label away, with the reason; and warnings of declared ones."""
    left_out: dict[str, str] = {}
    used: dict[str, str] = {}
    for index, label in enumerate(label_columns):
        if label.coded:
            codes = np.nan_to_num(labels[:, index], nan=-1).astype(int)
            leaky = leaky_columns(table, codes, train=train, seed=seed)
        else:
            leaky = same_order(table, labels[:, index], train=train)
        for column, (measure, score) in leaky.items():
            name, declared = features[column].name, features[column].declared
            reason = f"the label {label.name!r} can be read off it ({measure} {score:.3f})"
            if declared.kind or declared.role:
                used.setdefault(name, f"Column {name!r} is used as declared, though {reason}.")
            else:
                left_out.setdefault(name, f"{reason}; to use it, declare its kind in --schema")
    return left_out, list(used.values())


def _folds(
    rows: Rows,
    kept: np.ndarray,
    codes: np.ndarray | None,
    request: Request,
    recipe: Recipe | None,
    ids: Mapping[str, list[str]] | None,
    alike: np.ndarray | None,
) -> Sequence[np.ndarray]:
    """Return the recipe's folds, without the rows that are left out, or else folds that are drawn.

    Raises:
      UserError: both were asked for, or rows or groups are too few.
    """
    if recipe is None or not recipe.folds or request.split_ids:
        group = _undivided(rows, kept, alike)[0]
        return draw_folds(len(kept), request.folds, seed=request.seed, label=codes, group=group)
    count = len(recipe.folds)
    check(not request.folds, f"--folds: the data set {recipe.name} has {count} folds of its own; leave it out.")
    index_of = {rows.keys[row]: index for index, row in enumerate(kept)}
    folds = [
        np.array(sorted(index_of[key] for key in rows.keys_of(keys) if key in index_of), int) for keys in recipe.folds
    ]
    for number, members in enumerate(folds):
        check(len(members) > 0, f"The data set {recipe.name} has no usable validation row in fold {number}.")
    return folds


def _subsets(
    rows: Rows,
    kept: np.ndarray,
    divided: splits.Splits,
    codes: np.ndarray | None,
    labels: tuple[Column, ...],
    request: Request,
    recipe: Recipe | None,
) -> dict[str, np.ndarray]:
    """Return the recipe's published subsets, without the rows that are left out, or else the standard subsets."""
    if recipe is not None and recipe.subsets:
        index_of = {rows.keys[row]: index for index, row in enumerate(kept)}
        return {
            name: np.array(sorted(index_of[key] for key in keys if key in index_of), int)
            for name, keys in recipe.subsets.items()
        }
    label = next((column for column in labels if column.coded), None)
    classes = len(label.categories) if label else 0
    return subsets.standard_subsets(divided, codes, classes, request.subsets, seed=request.seed)


def merge_groups(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the smallest groups `[K]` that divide no group of `first` or `second`, which are `[K]` numbers from 0."""
    shape = (first.max() + 1, second.max() + 1)
    shared = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape)
    graph = sparse.bmat([[None, shared], [shared.T, None]])
    return connected_components(graph, directed=False)[1][first]


def group_numbers(rows: Rows, kept: np.ndarray) -> np.ndarray | None:
    """Return the number of the group of each row of `kept`, `[K]`; None if rows have no groups."""
    groups = rows.named("group")
    return group_codes(groups[0].values.gather(kept).cast(pl.String)) if groups else None


def group_codes(groups: pl.Series) -> np.ndarray:
    """Return integer codes `[K]`; every row without a group is a group of its own."""
    codes = groups.rank("dense").cast(pl.Int64).fill_null(-1).to_numpy().copy()
    alone = np.flatnonzero(codes < 0)
    codes[alone] = codes.max(initial=0) + 1 + np.arange(len(alone))
    return codes
