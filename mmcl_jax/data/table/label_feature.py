"""Label as a feature: the class appended to the table as one more categorical column (Hager et al., CVPR 2023, 3.3)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmcl_jax.data.schema import LABEL_TAG, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.vocabulary import recoded
from mmcl_jax.errors import UserError, check

_FIRST_ROWS = 1000  # compared first: most columns already differ there
_FEWEST_ROWS = 4  # with another than the commonest value


def append_label(schema: Schema, store: Store, *, key: str = "label_as_feature") -> Schema:
    """Return the schema with the store's first class label as the last column.

    It is like any other column: one-hot, and corrupted by a table view as often. A row without a label has a missing
    value. `key` is the name of the option in messages.

    Raises:
      UserError: the store has no label that is a class.
    """
    label = schema.label
    if label is None:
        raise UserError(
            f"{key}: the store {store.directory} has no label that is a class; prepare it with --label COLUMN."
        )
    column = dataclasses.replace(label, name=f"{label.name} (label)", tags=(*label.tags, LABEL_TAG))
    return schema.with_columns((*schema.columns, column))


def columns_with_label(schema: Schema, store: Store, label: str) -> list[str]:
    """Return the columns of a run's schema that leak a label of the store.

    Such a column was appended by `append_label`, or is a copy: over all rows with both, the values of column and label
    correspond one to one and, for a label that is a number, are also in the same or the opposite order.
    """
    leaky = [column.name for column in schema.columns if LABEL_TAG in column.tags and column.name == f"{label} (label)"]
    index = next((index for index, column in enumerate(store.schema.labels) if column.name == label), None)
    if index is None:
        return leaky
    stored = {column.name: number for number, column in enumerate(store.schema.columns)}
    names = [column.name for column in schema.columns if LABEL_TAG not in column.tags and column.name in stored]
    arrays = [store.rows(split) for split in store.sizes]
    values = np.concatenate([rows["labels"][:, index] for rows in arrays])
    for name in names:
        column = np.concatenate([rows["table"][:, stored[name]] for rows in arrays])
        if is_copy(column, values, ordered=not store.schema.labels[index].coded):
            leaky.append(name)
    return leaky


def is_copy(column: np.ndarray, label: np.ndarray, *, ordered: bool) -> bool:
    """Return whether a column `[N]` is a label `[N]` with renamed values or, if `ordered`, in another unit.

    NaN is missing. The answer is false if most rows with the label lack the column, or if fewer than four rows have
    another than the commonest value.
    """
    labelled = ~np.isnan(label)
    both = labelled & ~np.isnan(column)
    if 2 * both.sum() < labelled.sum():
        return False
    first = np.flatnonzero(both)[:_FIRST_ROWS]
    for rows in (first, both):
        _, label_codes, counts = np.unique(label[rows], return_inverse=True, return_counts=True)
        _, column_codes = np.unique(column[rows], return_inverse=True)
        values = len(counts)
        same = np.array_equal(label_codes, column_codes)
        if ordered and not (same or np.array_equal(label_codes, values - 1 - column_codes)):
            return False
        pairs = np.unique(label_codes * values + column_codes)
        if len(np.unique(column_codes)) != values or len(pairs) != values:
            return False
    return values > 1 and counts.sum() - counts.max() >= _FEWEST_ROWS


def raw_table(arrays: Mapping[str, Any], stored: Schema, schema: Schema) -> np.ndarray:
    """Return the raw rows `[N, F]` of the columns of `schema`, from the arrays of a store.

    These columns are all or some of the `stored` ones, and may end with the label. Categories are codes of `schema`;
    those that it does not have are -1.

    Raises:
      UserError: the store lacks a column.
    """
    table = np.asarray(arrays["table"])
    features = [column for column in schema.columns if LABEL_TAG not in column.tags]
    if features != list(stored.columns):
        indices = {column.name: index for index, column in enumerate(stored.columns)}
        for column in features:
            check(column.name in indices, f"The store has no column {column.name!r}, which the run was trained with.")
        chosen = [indices[column.name] for column in features]
        table = table[:, chosen]
        for index, (number, column) in enumerate(zip(chosen, features, strict=True)):
            table[:, index] = recoded(table[:, index], stored.columns[number], column)
    if len(features) == len(schema.columns):
        return table
    label = np.where(arrays["label"] < 0, np.nan, arrays["label"])
    if stored.label is not None:
        label = recoded(label, stored.label, schema.columns[-1])
    return np.concatenate([table, label[:, None]], axis=1)
