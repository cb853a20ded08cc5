"""What the table says: which columns are used, how rows are divided, and what the training split looks like."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import polars as pl

from mmcl_jax.data import audit, splits, subsets
from mmcl_jax.data.findings import ColumnFinding
from mmcl_jax.data.forest import forest_score
from mmcl_jax.data.leaks import same_order, telling_columns
from mmcl_jax.data.like import Like
from mmcl_jax.data.parse import Parsed
from mmcl_jax.data.recipes.base import Recipe
from mmcl_jax.data.request import Request
from mmcl_jax.data.rows import Rows, matrix
from mmcl_jax.data.schema import Column, ImageSpec, Schema, class_codes
from mmcl_jax.data.statistics import Statistics


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
    statistics: Statistics
    left_out: dict[str, str]
    balance: dict[str, dict]
    warnings: list[str]

    def columns(self, rows: Rows) -> list[ColumnFinding]:
        """What there is to say about every column."""
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
        """What a random forest gets from the table, by label."""
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
    image: ImageSpec,
    request: Request,
    recipe: Recipe | None,
    ids: Mapping[str, list[str]] | None,
    like: Like | None = None,
) -> Inspected:
    """Divides the rows `kept` and decides which columns are used.

    A column from which a label can be read off is left out, unless its kind was declared. `ids` are those of
    `given_ids`. With `like`, columns, categories and classes are those of an earlier store or run.

    Raises:
      UserError: the rows cannot be divided as asked.
    """
    features, labels = rows.named("feature"), rows.named("label")
    if like is None:
        label_columns, columns = (tuple(one.column(kept) for one in parsed) for parsed in (labels, features))
    else:
        label_columns, columns = like.labels(labels), like.schema.columns
        features, labels = like.ordered(features, columns), like.ordered(labels, label_columns)
    label_values, _ = matrix(labels, label_columns, kept)
    codes = class_codes(label_values, label_columns)
    divided, warnings = divide(rows, kept, codes, request, ids)
    table, _ = matrix(features, columns, kept)

    if like is not None:
        warnings += like.warn(features, columns, table, kept) + like.warn(labels, label_columns, label_values, kept)
    left_out = {} if like else _telling(features, table, label_values, label_columns, divided["train"], request.seed)
    used = [place for place, one in enumerate(features) if one.name not in left_out]
    schema = Schema(columns=tuple(columns[place] for place in used), image=image, labels=label_columns)
    table = table[:, used]
    if not used:
        warnings.append("No column is left to use as the table; only images can be used.")
    for name, reason in left_out.items():
        warnings.append(f"Column {name!r} is left out: {reason}.")
    balance = audit.balance(label_values, label_columns, divided)
    warnings += audit.warn_of_labels(balance)
    missing = {name: int(np.isnan(label_values[:, place]).sum()) for place, name in enumerate(o.name for o in labels)}
    warnings += [f"{count} rows have no value of the label {name!r}." for name, count in missing.items() if count]
    return Inspected(
        rows=kept,
        schema=schema,
        table=table,
        labels=label_values,
        splits=divided,
        subsets=_subsets(rows, kept, divided, codes, label_columns, request, recipe),
        statistics=Statistics.fit(table[divided["train"]], schema),
        left_out=left_out,
        balance=balance,
        warnings=warnings,
    )


def given_ids(request: Request, recipe: Recipe | None) -> Mapping[str, list[str]] | None:
    """The identifiers of every split, where files or the recipe give them."""
    if request.split_ids:
        return splits.read_ids(request.split_ids)
    return recipe.splits if recipe else None


def divide(
    rows: Rows, kept: np.ndarray, codes: np.ndarray | None, request: Request, ids: Mapping[str, list[str]] | None
) -> tuple[splits.Splits, list[str]]:
    """The splits, as places among the rows `kept`, and what to warn of."""
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
        members = None if group is None else _group_codes(group)
        divided = splits.random_splits(len(kept), request.split, seed=request.seed, label=codes, group=members)
    if group is not None:
        warnings += audit.warn_of_groups(group, divided, groups[0].name)
    return divided, warnings


def _telling(
    features: list[Parsed],
    table: np.ndarray,
    labels: np.ndarray,
    label_columns: tuple[Column, ...],
    train: np.ndarray,
    seed: int,
) -> dict[str, str]:
    """The columns that give a label away, with the reason; not those whose kind or role was declared."""
    found: dict[str, str] = {}
    for place, label in enumerate(label_columns):
        if label.coded:
            codes = np.nan_to_num(labels[:, place], nan=-1).astype(int)
            telling, measure = telling_columns(table, codes, train=train, seed=seed), "balanced accuracy"
        else:
            telling, measure = same_order(table, labels[:, place], train=train), "rank correlation"
        for column, score in telling.items():
            declared = features[column].declared
            if not (declared.kind or declared.role):
                found.setdefault(
                    features[column].name,
                    f"the label {label.name!r} can be read off it ({measure} {score:.3f}); "
                    f"to use it, declare its kind in --schema",
                )
    return found


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


def _group_codes(groups: pl.Series) -> np.ndarray:
    """Integer codes; every row without a group is a group of its own."""
    codes = groups.rank("dense").cast(pl.Int64).fill_null(-1).to_numpy().copy()
    alone = np.flatnonzero(codes < 0)
    codes[alone] = codes.max(initial=0) + 1 + np.arange(len(alone))
    return codes
