"""The association of all variants, read from disk a block at a time, while the accelerator computes the last block."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.genotypes import Genotypes, Variants
from mmcl_jax.gwas.statistics.association import REASONS, Regression
from mmcl_jax.progress import Bar

RARE = len(REASONS)  # the code of variants that are rarer than `min_frequency`
_CELLS, _MOST, _LEAST = 2**25, 4096, 64  # calls of a block, and variants


@dataclasses.dataclass(frozen=True)
class Associations:
    """The associations of V variants with K phenotypes, in files that are mapped into memory.

    Phenotypes that lack the same people are one group, of which counts, frequencies and reasons are the same.

    Attributes:
      variants: the variants.
      names: of the phenotypes.
      beta: effects of a copy of the counted allele, `[K, V]`; NaN where a variant was not tested.
      error: standard errors, `[K, V]`.
      neg_log10_p: -log10 of p-values, `[K, V]`.
      permuted: the same of the first phenotype with its people in random order, `[V]`.
      group: of each phenotype, `[K]`.
      count: people with a call, `[G, V]`.
      frequency: of the counted allele among them, `[G, V]`.
      reason: why a variant was not tested, `[G, V]`, an index of `REASONS`, or `RARE`.
    """

    variants: Variants
    names: tuple[str, ...]
    beta: np.ndarray
    error: np.ndarray
    neg_log10_p: np.ndarray
    permuted: np.ndarray
    group: np.ndarray
    count: np.ndarray
    frequency: np.ndarray
    reason: np.ndarray

    def untested(self) -> dict[str, int]:
        """Return the number of variants that no phenotype was tested with, by reason."""
        codes = self.reason[0][(self.reason != 0).all(axis=0)]
        words = (*REASONS, "the rarer allele is rarer than --min-frequency")
        return {words[code]: int((codes == code).sum()) for code in range(1, len(words)) if (codes == code).any()}


def associate(
    genotypes: Genotypes,
    people: np.ndarray,
    variants: np.ndarray,
    phenotypes: np.ndarray,
    covariates: np.ndarray,
    names: Sequence[str],
    folder: Path,
    *,
    min_frequency: float = 0.0,
    seed: int = 0,
) -> Associations:
    """Return the associations of variants with phenotypes.

    Args:
      genotypes: the opened files.
      people: `[N]`, indices of the people.
      variants: `[V]`, indices of the variants.
      phenotypes: `[N, K]`, NaN for missing.
      covariates: `[N, C]`, without missing values.
      names: of the phenotypes.
      folder: of the mapped files, which exists.
      min_frequency: variants whose rarer allele is rarer are not tested.
      seed: of the order of the permuted phenotype.

    Raises:
      UserError: fewer people have a phenotype than covariates + 3.
    """
    kinds, size = len(names), len(variants)
    patterns, group = np.unique(np.isfinite(phenotypes), axis=1, return_inverse=True)
    group = group.reshape(-1)
    members = [np.flatnonzero(pattern) for pattern in patterns.T]
    needed = covariates.shape[1] + 3  # the intercept, the variant, and a degree of freedom
    for number, rows in enumerate(members):
        name = names[int(np.flatnonzero(group == number)[0])]
        check(
            len(rows) >= needed,
            f"{len(rows)} people have the phenotype {name!r}, their covariates and genotypes; {covariates.shape[1]} "
            f"covariates need at least {needed} people.",
        )
    for name, column in zip(names, phenotypes.T, strict=True):
        check(
            bool(np.nanmax(column) > np.nanmin(column)), f"--pheno: the phenotype {name!r} is constant; leave it out."
        )

    regressions = []
    for number, rows in enumerate(members):
        own = phenotypes[rows][:, group == number]
        if number == group[0]:
            own = np.column_stack([own, np.random.default_rng(seed).permutation(own[:, 0])])
        regressions.append(Regression(own, covariates[rows]))

    def mapped(name: str, shape: tuple[int, ...], dtype: type = np.float64) -> np.ndarray:
        return np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)

    beta, error, value = (mapped(name, (kinds, size)) for name in ("beta", "error", "neg_log10_p"))
    permuted, frequency = mapped("permuted", (size,)), mapped("frequency", (len(members), size))
    count, reason = (
        mapped("count", (len(members), size), np.int64),
        mapped("reason", (len(members), size), np.int8),
    )
    with Bar("variants", size) as bar:
        for start, width, calls in _blocks(genotypes, people, variants):
            at, used = slice(start, start + width), slice(0, width)
            for number, (rows, regression) in enumerate(zip(members, regressions, strict=True)):
                block = regression(calls if len(rows) == len(people) else calls[rows])
                frequency_of = block.frequency[used]
                rare = np.minimum(frequency_of, 1 - frequency_of) < min_frequency
                codes = np.where((block.reason[used] == 0) & rare, RARE, block.reason[used])
                blank = np.where(codes == 0, 0.0, np.nan)
                where = np.flatnonzero(group == number)
                beta[where, at] = block.beta[: len(where), used] + blank
                error[where, at] = block.error[: len(where), used] + blank
                value[where, at] = block.neg_log10_p[: len(where), used] + blank
                if number == group[0]:
                    permuted[at] = block.neg_log10_p[len(where), used] + blank
                count[number, at], frequency[number, at], reason[number, at] = block.count[used], frequency_of, codes
            bar.advance(width)
    chosen = genotypes.variants[variants]
    return Associations(chosen, tuple(names), beta, error, value, permuted, group, count, frequency, reason)


def _blocks(genotypes: Genotypes, people: np.ndarray, variants: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield blocks: the index of their first variant, their variants, and their calls `[N, v]`.

    The next block is read while the accelerator computes. The last one is padded with constant variants, since another
    shape would be another program.
    """
    size = int(np.clip(_CELLS // max(len(people), 1), _LEAST, _MOST))
    starts = range(0, len(variants), size)
    with ThreadPoolExecutor(1, "read") as reader:

        def read(start: int) -> np.ndarray:
            return genotypes.read(people, variants[start : start + size])

        ahead = reader.submit(read, 0) if len(variants) else None
        for start in starts:
            assert ahead is not None
            calls = ahead.result()
            if start + size < len(variants):
                ahead = reader.submit(read, start + size)
            width = calls.shape[1]
            if start > 0 and width < size:
                calls = np.pad(calls, ((0, 0), (0, size - width)))
            yield start, width, calls
