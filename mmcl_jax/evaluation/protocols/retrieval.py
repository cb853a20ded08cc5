"""Retrieval between modalities: whether the projection of an image finds that of its own table."""

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.evaluation.sources.features import unit_rows

RECALLS = (1, 5, 10)
_CHUNK = 2**24  # similarities held at a time (64 MiB)


def ranks(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return the rank (1 is best) of every query's own candidate among all, by cosine: `[N]` int64.

    Ties are counted against the method: of candidates as similar as the own one, the own one comes last. So collapsed
    projections have the rank N and not 1. The matrix of all pairs is walked in chunks of queries.

    Args:
      queries: `[N, d]`.
      candidates: `[N, d]`; candidate i is query i's own.
    """
    queries, candidates = unit_rows(queries), unit_rows(candidates)
    rows = min(len(queries), max(1, _CHUNK // len(candidates)))
    everything = jnp.asarray(candidates)
    found = []
    for start in range(0, len(queries), rows):
        own = np.arange(start, start + rows) % len(queries)  # one shape, so one compilation
        found.append(np.asarray(_ranks(everything, queries[own], own)))
    return np.concatenate(found)[: len(queries)].astype(np.int64)


def retrieval(first: np.ndarray, second: np.ndarray, *, names: tuple[str, str]) -> dict[str, float]:
    """Return recall at 1, 5 and 10 and the median rank, in both directions, and the values by chance.

    Args:
      first: projections `[N, d]` of one modality.
      second: those of the other, in the same order of rows.
      names: of the modalities.

    Returns:
      Such as `image_to_table_recall@1` and `image_to_table_median_rank`, and `chance_recall@1`, which is k / N, and
      `chance_median_rank`, (N + 1) / 2. A recall beyond N candidates is 1.
    """
    count = len(first)
    metrics: dict[str, float] = {}
    for direction, found in (
        ("{}_to_{}".format(*names), ranks(first, second)),
        ("{1}_to_{0}".format(*names), ranks(second, first)),
    ):
        metrics |= {f"{direction}_recall@{k}": float(np.mean(found <= k)) for k in RECALLS}
        metrics[f"{direction}_median_rank"] = float(np.median(found))
    metrics |= {f"chance_recall@{k}": min(k / count, 1.0) for k in RECALLS}
    return {**metrics, "chance_median_rank": (count + 1) / 2}


@jax.jit
def _ranks(candidates: jax.Array, queries: jax.Array, own: jax.Array) -> jax.Array:
    cosines = jnp.matmul(queries, candidates.T, precision="highest")
    # Taken out of the same product, so that it is as rounded as those it is compared with.
    mine = jnp.take_along_axis(cosines, own[:, None], axis=1)
    return (~(cosines < mine)).sum(axis=1, dtype=jnp.int32)  # what is not a number is no hit
