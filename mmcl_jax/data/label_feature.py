"""Label as a feature: the class appended to the table as one more categorical column (Hager et al., CVPR 2023, 3.3)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmcl_jax.data.schema import LABEL_TAG, Schema
from mmcl_jax.data.statistics import Statistics
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError


def append_label(store: Store) -> tuple[Schema, Statistics]:
    """The schema and training statistics of a store's table with its first class label as the last column.

    It is a column as any other: one-hot, and corrupted by a table view as often as the others. A row without a label
    has a missing value there.

    Raises:
      UserError: the store has no label that is a class.
    """
    label = store.schema.label
    if label is None:
        raise UserError(f"config.label_as_feature: the store {store.directory} has no label that is a class.")
    column = dataclasses.replace(label, name=f"{label.name} (label)", tags=(*label.tags, LABEL_TAG))
    schema = dataclasses.replace(store.schema, columns=(*store.schema.columns, column))
    return schema, Statistics.fit(raw_table(store.rows("train"), schema), schema)


def raw_table(arrays: Mapping[str, Any], schema: Schema) -> np.ndarray:
    """The raw rows `[N, F]` of the columns of `schema`, which may end with the label."""
    table = np.asarray(arrays["table"])
    if not schema.columns or LABEL_TAG not in schema.columns[-1].tags:
        return table
    label = np.where(arrays["label"] < 0, np.nan, arrays["label"])
    return np.concatenate([table, label[:, None]], axis=1)
