"""The vocabulary of a fold: the categories that its training rows have, and the rows of a store coded by them.

A store has the categories of all of its rows, in all splits. Inside a fold, a category that no training row has must be
unknown: it has no code and no input of an encoder, as if the other rows had never been read.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.schema import Column

UNKNOWN = -1.0  # the code of a category that a column does not have
_LEARNT = ("categorical", "ordinal")  # the two values of a boolean column are no matter of its rows


def observed(columns: Sequence[Column], rows: np.ndarray) -> tuple[Column, ...]:
    """Return the columns with those of their categories that stored rows `[N, F]` have, in the same order.

    A column without any value has one category that no cell can be.

    Example:
      >>> colour = Column(name="colour", kind="categorical", categories=("blue", "red", "white"))
      >>> observed([colour], np.array([[1.0], [0.0], [np.nan], [UNKNOWN]]))[0].categories
      ('blue', 'red')
    """
    known = []
    for column, values in zip(columns, rows.T, strict=True):
        if column.kind in _LEARNT:
            codes = np.unique(values[values >= 0]).astype(int)  # neither NaN nor unknown
            column = dataclasses.replace(column, categories=tuple(column.categories[i] for i in codes) or ("",))
        known.append(column)
    return tuple(known)


def recoded(values: np.ndarray, stored: Column, known: Column) -> np.ndarray:
    """Return the codes `[N]` of a stored column by the categories of a known one: `UNKNOWN` for others, NaN stays.

    Example:
      >>> blue, both = (Column(name="c", kind="categorical", categories=c) for c in (("blue",), ("red", "blue")))
      >>> recoded(np.array([1.0, 0.0, np.nan, UNKNOWN]), both, blue).tolist()
      [0.0, -1.0, nan, -1.0]
    """
    if not known.coded or stored.categories == known.categories:
        return values
    codes = {text: code for code, text in enumerate(known.categories)}
    table = np.array([codes.get(text, UNKNOWN) for text in stored.categories])
    out = np.where(np.isnan(values), np.nan, UNKNOWN)
    has_code = values >= 0
    out[has_code] = table[values[has_code].astype(int)]
    return out
