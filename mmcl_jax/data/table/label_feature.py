"""Label as a feature: the class appended to the table as one more categorical column (Hager et al., CVPR 2023, 3.3)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmcl_jax.data.schema import LABEL_TAG, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check

_FIRST = 1000
_FEWEST = 4


def append_label(schema: Schema, store: Store, *, key: str = "label_as_feature") -> Schema:
    """Return the schema with the store's first class label as the last column.

    It is a column as any other: one-hot, and corrupted by a table view as often as the others. A row without a label
    has a missing value there. `key` names the option in errors.

    Raises:
      UserError: the store has no label that is a class.
    """
    label = schema.label
    if label is None:
        raise UserError(f"{key}: the store {store.directory} has no label that is a class.")
    column = dataclasses.replace(label, name=f"{label.name} (label)", tags=(*label.tags, LABEL_TAG))
    return schema.with_columns((*schema.columns, column))


def columns_with_label(schema: Schema, store: Store, label: str) -> list[str]:
    """Return the columns of a run's schema that hold a label of the store.

    They were made of it (`append_label`), or are copies: in all rows with both, every value of the column stands for
    one value of the label and the other way round, or, for a label that is a number, both are in the same order.
    """
    made = [column.name for column in schema.columns if LABEL_TAG in column.tags and column.name == f"{label} (label)"]
    place = next((place for place, column in enumerate(store.schema.labels) if column.name == label), None)
    if place is None:
        return made
    stored = {column.name: number for number, column in enumerate(store.schema.columns)}
    names = [column.name for column in schema.columns if LABEL_TAG not in column.tags and column.name in stored]
    arrays = [store.rows(split) for split in store.sizes]
    values = np.concatenate([rows["labels"][:, place] for rows in arrays])
    for name in names:
        column = np.concatenate([rows["table"][:, stored[name]] for rows in arrays])
        if is_copy(column, values, ordered=not store.schema.labels[place].coded):
            made.append(name)
    return made


def is_copy(column: np.ndarray, label: np.ndarray, *, ordered: bool) -> bool:
    """Return whether a column `[N]` is a label `[N]` under other names, or, `ordered`, in another unit; NaN: missing.

    Fewer than four rows with another than the commonest value say nothing, nor does a column that most rows lack.
    """
    known = ~np.isnan(label)
    both = known & ~np.isnan(column)
    if 2 * both.sum() < known.sum():
        return False
    first = np.flatnonzero(both)[:_FIRST]  # most columns are no copy of some rows already
    for rows in (first, both):
        _, one, counts = np.unique(label[rows], return_inverse=True, return_counts=True)
        _, other = np.unique(column[rows], return_inverse=True)
        values = len(counts)
        if ordered and not (np.array_equal(one, other) or np.array_equal(one, values - 1 - other)):
            return False
        if len(np.unique(other)) != values or len(np.unique(one * values + other)) != values:
            return False
    return values > 1 and counts.sum() - counts.max() >= _FEWEST


def raw_table(arrays: Mapping[str, Any], stored: Schema, wanted: Schema) -> np.ndarray:
    """Return the raw rows `[N, F]` of the columns in `wanted`, from the arrays of a store.

    They may be some of the columns that are `stored`, and end with the label.

    Raises:
      UserError: a column is not stored.
    """
    table = np.asarray(arrays["table"])
    features = [column for column in wanted.columns if LABEL_TAG not in column.tags]
    if features != list(stored.columns):
        places = {column.name: place for place, column in enumerate(stored.columns)}
        for column in features:
            check(column.name in places, f"The store has no column {column.name!r}, which the run was trained with.")
        table = table[:, [places[column.name] for column in features]]
    if len(features) == len(wanted.columns):
        return table
    label = np.where(arrays["label"] < 0, np.nan, arrays["label"])
    return np.concatenate([table, label[:, None]], axis=1)
