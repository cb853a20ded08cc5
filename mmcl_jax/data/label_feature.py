"""Label as a feature: the class appended to the table as one more categorical column (Hager et al., CVPR 2023, 3.3)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmcl_jax.data.schema import LABEL_TAG, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check


def append_label(schema: Schema, store: Store) -> Schema:
    """The schema with the store's first class label as the last column.

    It is a column as any other: one-hot, and corrupted by a table view as often as the others. A row without a label
    has a missing value there.

    Raises:
      UserError: the store has no label that is a class.
    """
    label = schema.label
    if label is None:
        raise UserError(f"config.label_as_feature: the store {store.directory} has no label that is a class.")
    column = dataclasses.replace(label, name=f"{label.name} (label)", tags=(*label.tags, LABEL_TAG))
    return dataclasses.replace(schema, columns=(*schema.columns, column))


def raw_table(arrays: Mapping[str, Any], stored: Schema, wanted: Schema) -> np.ndarray:
    """The raw rows `[N, F]` of the columns that are `wanted`, of a store's arrays.

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
