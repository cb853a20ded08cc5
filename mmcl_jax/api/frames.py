"""Data frames of any library that speaks Arrow: polars, pandas, pyarrow, DuckDB and others."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from mmcl_jax.errors import UserError, check
from mmcl_jax.text import words_of


def is_frame(given: Any) -> bool:
    """Return whether this is a table in memory: a data frame with Arrow's PyCapsule interface, or a dict."""
    return isinstance(given, Mapping) or hasattr(given, "__arrow_c_stream__")


def frame_of(given: Any, what: str) -> pl.DataFrame:
    """Return a data frame as a polars one.

    The index of a pandas data frame is no column; `reset_index()` makes it one.

    Args:
      given: a frame with `__arrow_c_stream__`, or a dict of columns.
      what: what errors call it.

    Raises:
      UserError: it cannot be read as a table.
    """
    if isinstance(given, pl.DataFrame):
        return given
    check(is_frame(given), f"{what} must be a data frame, not {type(given).__name__}.")
    if hasattr(given, "reset_index"):  # pandas hands an index over as a column, unless it counts from 0
        given = given.reset_index(drop=True)
    try:
        return pl.DataFrame(given)
    except (ImportError, ValueError, TypeError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UserError(f"{what} cannot be read as a table ({type(given).__name__}): {words_of(error)}.") from error
