"""Intensities of volumes made alike, on the accelerator: quantiles, histogram standardisation and z-scores.

Values are `[C, n]`: the voxels of each channel. Everything stays finite for a constant channel, and so for an absent
row, which is all zeros.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from mmcl_jax.data.kinds.intensity import PERCENTILES
from mmcl_jax.views.pixels import to_unit

_WORD = 256  # levels of a byte: 16-bit levels are looked up by their high byte, then by their low byte


def above_mean(values: Float[Array, "C n"]) -> Bool[Array, "C n"]:
    """Return which voxels are above the mean of their channel; all of a constant channel, which has none above."""
    above = values > values.mean(axis=1, keepdims=True)
    return above | ~above.any(axis=1, keepdims=True)


def quantiles(stored: Shaped[Array, "C n"], counted: Bool[Array, "C n"]) -> Float[Array, "C 11"]:
    """Return the quantiles at `PERCENTILES` of the counted voxels, as `np.percentile` interpolates them.

    Stored types have at most 65,536 levels, so the voxels of each are counted: a sort takes several times as long.

    Args:
      stored: voxels of uint8, uint16 or float16; the quantiles are in the units of `pixels.to_unit`.
      counted: which voxels count, at least one of each channel.
    """
    levels = 256 if stored.dtype == jnp.uint8 else 65536

    def of_channel(voxels: Shaped[Array, "n"], counted: Bool[Array, "n"]) -> Float[Array, "11"]:
        counts = jnp.zeros(levels, jnp.int32).at[_level_of(voxels)].add(counted.astype(jnp.int32))
        # The index of a quantile among the sorted voxels, exact in integers: share * last / 100.
        last, share = counts.sum() - 1, jnp.array(PERCENTILES, jnp.int32)
        rest = share * (last % 100)
        index = share * (last // 100) + rest // 100
        between = (rest % 100).astype(jnp.float32) / 100
        lower, upper = (_value_at(counts, ranks, voxels.dtype) for ranks in (index, jnp.minimum(index + 1, last)))
        return lower + between * (upper - lower)

    return jax.vmap(of_channel)(stored, counted)


def standardised(
    values: Float[Array, "C n"], found: Float[Array, "C 11"], landmarks: Float[Array, "C 11"]
) -> Float[Array, "C n"]:
    """Return the values mapped linearly between quantiles that were `found` in their channel and the `landmarks`.

    Below the second quantile and above the last but one, the lines of the outer pieces go on. Where quantiles are
    equal, which makes a piece without length, the value is the landmark of the last of them.
    """
    extent = found[:, 1:] - found[:, :-1]
    slopes = jnp.where(extent > 0, (landmarks[:, 1:] - landmarks[:, :-1]) / jnp.where(extent > 0, extent, 1), 0)
    pieces = [
        landmarks[:, index, None] + slopes[:, index, None] * (values - found[:, index, None])
        for index in range(slopes.shape[1])
    ]
    result = pieces[0]
    for index, piece in enumerate(pieces[1:], 1):
        result = jnp.where(values >= found[:, index, None], piece, result)
    return result


def z_scores(values: Float[Array, "C n"], counted: Bool[Array, "C n"]) -> Float[Array, "C n"]:
    """Return the values less the mean of the counted voxels, over their standard deviation (of n - 1, as torch's).

    Where all counted voxels are equal, values are not divided: their standard deviation is but rounding of the mean.
    """
    count = counted.sum(axis=1, keepdims=True).astype(jnp.float32)
    mean = jnp.where(counted, values, 0).sum(axis=1, keepdims=True) / jnp.maximum(count, 1)
    squares = jnp.where(counted, (values - mean) ** 2, 0).sum(axis=1, keepdims=True)
    std = jnp.sqrt(squares / jnp.maximum(count - 1, 1))
    low, high = jnp.where(counted, values, jnp.inf).min(axis=1), jnp.where(counted, values, -jnp.inf).max(axis=1)
    return (values - mean) / jnp.where((high > low)[:, None] & (std > 0), std, 1)


def rescaled(values: Float[Array, "C n"]) -> Float[Array, "C n"]:
    """Return the values mapped linearly so that the lowest of a channel is 0 and the highest 1."""
    low = values.min(axis=1, keepdims=True)
    extent = values.max(axis=1, keepdims=True) - low
    return (values - low) / jnp.where(extent > 0, extent, 1)


def _level_of(voxels: Shaped[Array, "n"]) -> Int[Array, "n"]:
    """Return the index of every voxel among the values of its type, in ascending order."""
    if voxels.dtype != jnp.float16:
        return voxels.astype(jnp.int32)
    bits = jax.lax.bitcast_convert_type(voxels, jnp.uint16).astype(jnp.int32)
    return jnp.where(bits >= 0x8000, 0xFFFF - bits, bits + 0x8000)  # negative numbers have the first bit, and descend


def _value_at(counts: Int[Array, "levels"], ranks: Int[Array, "q"], dtype: jnp.dtype) -> Float[Array, "q"]:
    """Return the values with these ranks, from 0, among the counted voxels."""
    table = counts.reshape(-1, _WORD)
    until = jnp.cumsum(table.sum(axis=1))
    high = (until[None] <= ranks[:, None]).sum(axis=1)
    before = jnp.where(high > 0, until[high - 1], 0)
    low = (before[:, None] + jnp.cumsum(table[high], axis=1) <= ranks[:, None]).sum(axis=1)
    level = high * _WORD + low
    if dtype != jnp.float16:
        return to_unit(level.astype(dtype))
    bits = jnp.where(level >= 0x8000, level - 0x8000, 0xFFFF - level).astype(jnp.uint16)
    return jax.lax.bitcast_convert_type(bits, jnp.float16).astype(jnp.float32)
