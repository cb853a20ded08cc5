"""Genetic components: principal components of variants that are pruned for linkage, which stand for ancestry."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from mmcl_jax.data.kinds.vector import is_missing
from mmcl_jax.errors import check
from mmcl_jax.genotypes import Genotypes
from mmcl_jax.gwas.statistics.ld import correlations, standardised

_CANDIDATES, _KEPT, _KEPT_BYTES, _LEAST = 200_000, 50_000, 2**30, 2_000  # variants that are read, and that are used
_BLOCK = 1_000
_NEIGHBOURS = 100  # variants before each that it is compared with


def genetic_components(
    genotypes: Genotypes,
    people: np.ndarray,
    variants: np.ndarray,
    count: int,
    *,
    r2: float = 0.2,
    min_frequency: float = 0.01,
    max_missing: float = 0.05,
) -> tuple[np.ndarray, int]:
    """Return the first genetic components `[N, count]`, of unit variance, and the number of variants they are made of.

    Of at most 200,000 variants, evenly spaced, those are used that are frequent enough, have calls, and are not in
    linkage with one of the hundred variants kept before them; missing calls are at the mean. Long regions of linkage
    (such as HLA) and relatives are not left out: give components of a program that does that as a file, if they matter.

    Args:
      genotypes: the opened files.
      people: `[N]`, indices of the people.
      variants: indices of the variants to choose from, in the order of the file.
      count: the number of components.
      r2: the squared correlation above which a variant is left out.
      min_frequency: the least frequency of the rarer allele.
      max_missing: the largest share of people without a call.

    Raises:
      UserError: fewer than twice as many variants are left as components are asked for, or too few people.
    """
    check(
        count <= len(people) - 2,
        f"--genetic-components: {count} components need at least {count + 2} people, and {len(people)} are analysed; "
        "ask for fewer.",
    )
    candidates = variants[_evenly(len(variants), _CANDIDATES)]
    kept = list(_pruned(genotypes, people, candidates, r2=r2, least=min_frequency, most=max_missing))
    check(
        len(kept) >= 2 * count,
        f"--genetic-components: {len(kept)} variants are left after pruning for linkage, which is too few for {count} "
        "components; ask for fewer, or give them as a file.",
    )
    limit = min(_KEPT, max(_LEAST, _KEPT_BYTES // len(people)))
    chosen = [kept[place] for place in _evenly(len(kept), limit)]
    calls = np.concatenate(list(_read(genotypes, people, np.array(chosen))), axis=1)

    def product(vector: np.ndarray) -> np.ndarray:
        sides = vector.reshape(len(people), -1).astype(np.float32)
        total = np.zeros(sides.shape)
        for start in range(0, calls.shape[1], _BLOCK):
            block = standardised(calls[:, start : start + _BLOCK])
            total += block @ (block.T @ sides)
        return total.reshape(vector.shape)

    operator = LinearOperator((len(people), len(people)), matvec=product, matmat=product, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=len(people))
    values, vectors = eigsh(operator, k=count, which="LA", v0=start, tol=1e-6)
    vectors = vectors[:, np.argsort(-values)]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(count)])  # the sign of a component is arbitrary
    return vectors * signs * np.sqrt(len(people)), len(chosen)


def _pruned(
    genotypes: Genotypes, people: np.ndarray, candidates: np.ndarray, *, r2: float, least: float, most: float
) -> Iterator[int]:
    """Yield the variants that are kept, in the order of the file."""
    recent, chromosome = np.zeros((len(people), 0), np.int8), ""
    for start in range(0, len(candidates), _BLOCK):
        block = candidates[start : start + _BLOCK]
        calls = genotypes.read(people, block)
        frequent = _frequent(calls, least=least, most=most)
        block, calls = block[frequent], calls[:, frequent]
        names = genotypes.variants.chromosome[block]
        for name in dict.fromkeys(names.tolist()):
            if name != chromosome:
                recent, chromosome = calls[:, :0], name
            own = names == name
            ids, part = block[own], calls[:, own]
            shared = np.square(correlations(part, np.concatenate([recent, part], axis=1)))
            before, keeps = recent.shape[1], list(range(recent.shape[1]))
            for place in range(len(ids)):
                if not (shared[place, keeps[-_NEIGHBOURS:]] > r2).any():
                    keeps.append(before + place)
                    yield int(ids[place])
            recent = np.concatenate([recent, part], axis=1)[:, keeps[-_NEIGHBOURS:]]


def _frequent(calls: np.ndarray, *, least: float, most: float) -> np.ndarray:
    absent = is_missing(calls)
    present = (~absent).sum(axis=0)
    frequency = np.where(absent, 0, calls).sum(axis=0, dtype=np.float64) / np.maximum(2 * present, 1)
    return (np.minimum(frequency, 1 - frequency) >= max(least, 1e-9)) & (absent.mean(axis=0) <= most)


def _read(genotypes: Genotypes, people: np.ndarray, variants: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(variants), _BLOCK):
        yield genotypes.read(people, variants[start : start + _BLOCK])


def _evenly(count: int, most: int) -> np.ndarray:
    """Return at most `most` of `count` indices, evenly spaced."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(int)
