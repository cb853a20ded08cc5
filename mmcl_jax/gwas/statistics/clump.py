"""Clumping: associated variants in linkage with a more significant neighbour are one region with it."""

import dataclasses
from collections.abc import Callable

import numpy as np

from mmcl_jax.gwas.statistics.ld import r2 as r2_between


@dataclasses.dataclass(frozen=True)
class Region:
    """An independent region: the index variant, and those that are clumped with it.

    Attributes:
      index: of the variant with the smallest p-value.
      members: the other variants, ascending.
      start: the first position of all of them, in base pairs.
      end: the last position.
    """

    index: int
    members: tuple[int, ...]
    start: int
    end: int


def clump(
    neg_log10_p: np.ndarray,
    chromosome: np.ndarray,
    position: np.ndarray,
    read: Callable[[np.ndarray], np.ndarray],
    *,
    p1: float = 5e-8,
    p2: float = 1e-7,
    r2: float = 0.1,
    window: float = 150,
) -> list[Region]:
    """Return the independent regions, the most significant one first, as plink1.9 --clump finds them.

    The variants with p <= p1 are visited from the smallest p-value on, equal ones in the order of the file. A variant
    that is in no region yet becomes the index of a new one, and takes those variants of its chromosome into the region
    that are in none yet, have p <= p2, lie less than `window` kilobases away, and have an r2 above `r2` with it.

    Args:
      neg_log10_p: -log10 p of all variants, `[V]`; NaN for a variant that was not tested.
      chromosome: their chromosomes, `[V]`.
      position: their positions in base pairs, `[V]`.
      read: returns the calls `[N, n]` of variants by their indices.
      p1: the largest p-value of an index variant.
      p2: the largest p-value of a member, at least p1.
      r2: the linkage above which a variant is a member.
      window: the distance below which a variant is a member, in kilobases.
    """
    value = np.nan_to_num(neg_log10_p, nan=-1.0)
    candidates = np.flatnonzero(value >= -np.log10(p2))
    first = candidates[value[candidates] >= -np.log10(p1)]
    order = first[np.argsort(-value[first], kind="stable")]
    free = np.zeros(len(value), bool)
    free[candidates] = True
    by_chromosome = {name: candidates[chromosome[candidates] == name] for name in set(chromosome[first].tolist())}
    regions = []
    for index in order.tolist():
        if not free[index]:
            continue
        free[index] = False
        near = by_chromosome[chromosome[index]]
        near = near[free[near] & (np.abs(position[near] - position[index]) < 1000 * window)]
        members: np.ndarray = near
        if len(near):
            calls = read(np.concatenate([[index], near]))
            members = near[np.nan_to_num(r2_between(calls[:, 0], calls[:, 1:])) > r2]
            free[members] = False
        at = position[np.concatenate([[index], members])]
        regions.append(Region(index, tuple(members.tolist()), int(at.min()), int(at.max())))
    return regions
