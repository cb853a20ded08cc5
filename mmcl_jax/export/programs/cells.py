"""The encoding of raw cells of a table inside a program: `data.table.encoding.Encoding.encode` as a traced function.

Cells are float64, as in a store, and are encoded in float64: a float32 has 24 bits, so that numbers near 1e9, which
differ by 1, would be the same number. Everything behind the encoding is float32.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, Bool, Float

from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.data.table.imputation import IterativeImputer
from mmcl_jax.data.table.scaling import MARGIN

Cells = Float[Array, "B F"]


def encoded_cells(encoding: Encoding, cells: Cells) -> tuple[Cells, Bool[Array, "B"]]:
    """Return raw cells encoded as float32, and which rows `Encoding.encode` refuses.

    It is traced with `jax.enable_x64`. What a category's code can be besides a code that training rows have (-1, a
    fraction, a code too large) is an unknown category.

    Args:
      encoding: of the table.
      cells: float64 `[B, F]`: numbers in their units, dates in days since 1970-01-01, codes of categories, NaN for
        missing.
    """
    cells = _within(encoding, jnp.where(_unknown(encoding, cells), _row(encoding.unknown_values), cells))
    scaled, refused = _rescaled(encoding, cells)
    statistics = encoding.statistics
    mean, std = _row(statistics.mean), _row(statistics.std)
    rows = (scaled - mean) / std
    absent = jnp.isnan(rows)
    if encoding.missing == "refuse":
        refused |= absent.any(axis=1)
    if encoding.missing == "mean":
        rows = jnp.where(absent, (_row(statistics.fill) - mean) / std, rows)
    if encoding.imputer is not None:
        rows = jnp.where(absent, _valid_codes(encoding, _imputed(encoding.imputer, rows, absent)), rows)
    refused |= (jnp.abs(rows) > float(np.finfo(np.float32).max)).any(axis=1)
    return rows.astype(jnp.float32), refused


def _row(numbers: tuple[float, ...] | np.ndarray) -> np.ndarray:
    return np.asarray(numbers, np.float64)[None]


def _unknown(encoding: Encoding, cells: Cells) -> Bool[Array, "B F"]:
    """Return which cells are codes of no category of the training rows, or of a rare category."""
    columns, counts = encoding.schema.columns, encoding.statistics.counts
    coded = np.array([column.coded for column in columns], bool)
    sizes = np.array([len(column.categories) if column.coded else 0 for column in columns])
    # All columns share one list of categories, in which each begins at its offset; one gather serves all columns.
    pairs = zip(counts, encoding.least_rows, strict=True)  # the counts of other columns are ()
    known = np.array([count >= least for row, least in pairs for count in row])
    known = np.append(known.astype(bool), False)
    offset = np.cumsum(sizes) - sizes
    valid = (cells >= 0) & (cells < _row(sizes)) & (cells == jnp.floor(cells))
    index = jnp.where(valid, cells + _row(offset), len(known) - 1).astype(jnp.int32)
    return jnp.asarray(coded)[None] & ~jnp.isnan(cells) & ~jnp.asarray(known)[index]


def _within(encoding: Encoding, cells: Cells) -> Cells:
    """Apply the policy for numbers outside of the range of the training rows."""
    if encoding.outside == "keep":
        return cells
    low, high = _row(encoding.statistics.low), _row(encoding.statistics.high)
    number = np.array([not column.coded for column in encoding.schema.columns], bool)[None]
    below, above = number & (cells < low), number & (cells > high)
    if encoding.outside == "missing":
        return jnp.where(below | above, jnp.nan, cells)
    return jnp.where(below, low, jnp.where(above, high, cells))


def _rescaled(encoding: Encoding, cells: Cells) -> tuple[Cells, Bool[Array, "B"]]:
    """Return the cells in the scales of their columns, and which rows have a number without a logarithm."""
    refused = jnp.zeros(cells.shape[:1], bool)
    scalings = [column.scaling for column in encoding.schema.columns]
    if not {"log", "quantile"} & set(scalings):
        return cells, refused
    parts = []
    for index, scaling in enumerate(scalings):
        values = cells[:, index]
        if scaling == "log":
            refused |= values <= 0
            values = jnp.log(values)
        elif scaling == "quantile":
            values = _normal_quantiles(values, np.array((encoding.statistics.quantiles or ((),) * (index + 1))[index]))
        parts.append(values[:, None])
    return jnp.concatenate(parts, axis=1), refused


def _normal_quantiles(values: Float[Array, "B"], landmarks: np.ndarray) -> Float[Array, "B"]:
    """Return the normal quantiles of ranks among landmarks `[L]`; see `data.table.scaling.rescaled`."""
    if len(landmarks) == 0:  # no training row has a value
        return jnp.where(jnp.isnan(values), jnp.nan, 0.0)
    ranks = np.linspace(0, 1, len(landmarks))
    rank = (_interpolated(values, landmarks, ranks) - _interpolated(-values, -landmarks[::-1], -ranks[::-1])) / 2
    return jnp.where(jnp.isnan(values), jnp.nan, ndtri(jnp.clip(rank, MARGIN, 1 - MARGIN)))


def _interpolated(values: Float[Array, "B"], at: np.ndarray, results: np.ndarray) -> Float[Array, "B"]:
    """Return `np.interp(values, at, results)`: of equal points, the last that is not above a value counts."""
    if len(at) == 1:
        return jnp.full_like(values, results[0])
    count = (values[:, None] >= at[None]).sum(axis=1, dtype=jnp.int32)
    left = jnp.clip(count - 1, 0, len(at) - 2)
    # A slope of neighbours that are equal is never used: the last of equal points is chosen.
    width = np.diff(at)
    slope = np.diff(results) / np.where(width > 0, width, 1)
    inside = jnp.asarray(results)[left] + jnp.asarray(slope)[left] * (values - jnp.asarray(at)[left])
    return jnp.where(values >= at[-1], results[-1], jnp.where(values < at[0], results[0], inside))


def _imputed(imputer: IterativeImputer, rows: Cells, absent: Bool[Array, "B F"]) -> Cells:
    """Return the rows with every missing value filled; see `IterativeImputer.fill`."""
    rows = jnp.where(absent, _row(imputer.initial), rows)
    if len(imputer.target) == 0:
        return rows
    columns = np.arange(rows.shape[1], dtype=np.int32)

    def regress(rows: Cells, step: tuple[Array, Array, Array]) -> tuple[Cells, None]:
        target, coefficients, intercept = step
        value = (rows * coefficients[None]).sum(axis=1) + intercept
        return jnp.where(absent & (columns == target)[None], value[:, None], rows), None

    targets = jnp.asarray(imputer.target, jnp.int32)
    steps = (targets, jnp.asarray(imputer.coefficients), jnp.asarray(imputer.intercept))
    return jax.lax.scan(regress, rows, steps)[0]


def _valid_codes(encoding: Encoding, rows: Cells) -> Cells:
    """Return the rows with every column of categories rounded to valid codes."""
    categories = np.array([len(column.categories) for column in encoding.schema.columns])
    mean, std = _row(encoding.statistics.mean), _row(encoding.statistics.std)
    codes = jnp.clip(jnp.rint(rows * std + mean), 0, _row(np.maximum(categories - 1, 0)))
    return jnp.where((categories > 0)[None], (codes - mean) / std, rows)
