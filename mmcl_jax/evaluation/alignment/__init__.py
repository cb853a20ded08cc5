"""How images and reports, and regions and sentences, agree: LoVT's analyses of embeddings, and pointing at findings.

    from mmcl_jax.evaluation.alignment import channel_std, local_std, pointing, uniformity

Every measure is a function of NumPy arrays. `mmcl align` computes all of them for a run.
"""

from mmcl_jax.evaluation.alignment.agreement import (
    Smoothness,
    alignment_rmse,
    entropy,
    pair_distance,
    position_ranks,
    smoothness,
)
from mmcl_jax.evaluation.alignment.bootstrap import Estimate, auroc_interval, bootstrap, mean_interval
from mmcl_jax.evaluation.alignment.pointing import Pointing, pointing, regions_inside
from mmcl_jax.evaluation.alignment.spread import (
    LocalStd,
    centroid_distance,
    centroids_of,
    channel_std,
    local_std,
    off_diagonal_covariance,
    pairwise_distance,
    uniformity,
    unit_length,
)

__all__ = [
    "Estimate",
    "LocalStd",
    "Pointing",
    "Smoothness",
    "alignment_rmse",
    "auroc_interval",
    "bootstrap",
    "centroid_distance",
    "centroids_of",
    "channel_std",
    "entropy",
    "local_std",
    "mean_interval",
    "off_diagonal_covariance",
    "pair_distance",
    "pairwise_distance",
    "pointing",
    "position_ranks",
    "regions_inside",
    "smoothness",
    "uniformity",
    "unit_length",
]
