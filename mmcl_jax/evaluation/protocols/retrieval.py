"""Retrieval between modalities: the rank of a row's own table among all tables for its image, and the reverse."""

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.evaluation.sources.features import unit_rows

RECALLS = (1, 5, 10)
_CHUNK = 2**24  # similarities held at a time (64 MiB)


def ranks(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return the rank (1 is best), by cosine, of every query's own candidate among all candidates: `[N]` int64.

    Ties count against the method: among equally similar candidates, the query's own comes last, so collapsed
    projections have rank N and not 1. The matrix of all pairs is computed in chunks of queries.

    Args:
      queries: `[N, d]`.
      candidates: `[N, d]`; candidate i is query i's own.
    """
    queries, candidates = unit_rows(queries), unit_rows(candidates)
    rows = min(len(queries), max(1, _CHUNK // len(candidates)))
    device_candidates = jnp.asarray(candidates)
    chunks = []
    for start in range(0, len(queries), rows):
        own = np.arange(start, start + rows) % len(queries)  # one shape, so one compilation
        chunks.append(np.asarray(_ranks(device_candidates, queries[own], own)))
    return np.concatenate(chunks)[: len(queries)].astype(np.int64)


def retrieval(first: np.ndarray, second: np.ndarray, *, names: tuple[str, str]) -> dict[str, float]:
    """Return recall at 1, 5 and 10 and the median rank in both directions, with their values by chance.

    Args:
      first: projections `[N, d]` of one modality.
      second: projections `[N, d]` of the other modality, in the same order of rows.
      names: of the modalities.

    Returns:
      A dict with keys such as `image_to_table_recall@1` and `image_to_table_median_rank`; `chance_recall@k` is k / N
      (at most 1), and `chance_median_rank` is (N + 1) / 2.
    """
    count = len(first)
    metrics: dict[str, float] = {}
    for direction, ranking in (
        ("{}_to_{}".format(*names), ranks(first, second)),
        ("{1}_to_{0}".format(*names), ranks(second, first)),
    ):
        metrics |= {f"{direction}_recall@{k}": float(np.mean(ranking <= k)) for k in RECALLS}
        metrics[f"{direction}_median_rank"] = float(np.median(ranking))
    metrics |= {f"chance_recall@{k}": min(k / count, 1.0) for k in RECALLS}
    return {**metrics, "chance_median_rank": (count + 1) / 2}


@jax.jit
def _ranks(candidates: jax.Array, queries: jax.Array, own: jax.Array) -> jax.Array:
    cosines = jnp.matmul(queries, candidates.T, precision="highest")
    # It comes from the same product, so that it has the rounding of the cosines that it is compared with.
    own_cosine = jnp.take_along_axis(cosines, own[:, None], axis=1)
    return (~(cosines < own_cosine)).sum(axis=1, dtype=jnp.int32)  # a NaN is no hit
