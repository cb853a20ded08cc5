"""The similarity of representations of the same rows: CKA, canonical correlations and Procrustes, from float64 moments.

    from mmcl_jax.evaluation.similarity import linear_cka, similarity

Every measure is a function of two arrays `[N, D]` and `[N, E]`; `similarity` computes several at once, each beside its
values under permutations of the rows. `mmcl similarity` compares the modalities, layers, checkpoints and seeds of runs.
"""

from mmcl_jax.evaluation.similarity.correlation import canonical_correlations, cca, pwcca, svcca
from mmcl_jax.evaluation.similarity.kernels import kernel_cka
from mmcl_jax.evaluation.similarity.linear import linear_cka, procrustes
from mmcl_jax.evaluation.similarity.measures import MEASURES, Similarity, similarity
from mmcl_jax.evaluation.similarity.moments import Representation

__all__ = [
    "MEASURES",
    "Representation",
    "Similarity",
    "canonical_correlations",
    "cca",
    "kernel_cka",
    "linear_cka",
    "procrustes",
    "pwcca",
    "similarity",
    "svcca",
]
