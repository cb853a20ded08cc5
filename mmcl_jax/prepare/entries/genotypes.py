"""Genotypes of PLINK and BGEN files as a matrix of people by variants.

Variants are chosen before anything is stored: by a list, by their number on the chromosome, and by frequency and
missingness. Frequency and missingness are those of all people of the files whom the request does not exclude, whatever
their split; they choose the features, and no statistic of a model is fitted on them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.errors import check
from mmcl_jax.genotypes import MISSING_CALL, Genotypes, Variants, open_genotypes
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.entries.matrix import Matrix
from mmcl_jax.prepare.entries.variants import aligned, every_nth, listed_variants, refuse_repeated
from mmcl_jax.prepare.join.keys import canonical, first_rows, some
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.sources import Source
from mmcl_jax.prepare.splits.draw import read_list

_BLOCK_BYTES = 64 * 2**20
_BINS = 10  # of the histogram of frequencies


def read_genotypes(
    source: Source,
    where: str,
    limits: Limits,
    *,
    excluded: Callable[[str], bool] = lambda person: False,
    like: Variants | None = None,
    like_path: Path = Path(),
) -> Matrix:
    """Open genotypes and choose their variants; calls are read in blocks, of variants or of people.

    Args:
      source: of the kind genotypes.
      where: how errors name the source.
      limits: the largest sizes.
      excluded: whether a person is left out of the request.
      like: the variants of an earlier store, which the files must have; by default the source says which to take.
      like_path: of the earlier store, for messages.

    Raises:
      UserError: a file is wrong, no variant is left, two have one identifier, or the alleles are not those of `like`.
    """
    genotypes = open_genotypes(source.genotype_files(), where=where)
    keys = canonical(pl.Series(genotypes.people, dtype=pl.String))
    people = np.array([row for row, key in enumerate(keys) if not excluded(key)], np.int64)
    check(len(people) > 0, f"{where}: all {counted(len(keys), 'person', 'people')} of the files are excluded.")
    dosages = genotypes.dosages
    check(
        not (dosages and source.dtype == "int8"),
        f"{where}: dtype: the files hold dosages, which int8 does not; leave dtype out, or write calls with plink2 "
        "--make-bed.",
    )
    warnings: list[str] = []
    flipped = np.zeros(0, bool)
    if like is not None:
        found = aligned(genotypes.variants, like, where, like_path)
        columns, flipped, variants = found.rows, found.flipped, like
        warnings += _told(int(flipped.sum()), found.moved, where, like_path)
    else:
        columns = np.arange(len(genotypes.variants))
        if source.variants is not None:
            check(source.variants.is_file(), f"{where}: variants: the file {source.variants} does not exist.")
            names = read_list(source.variants)
            columns, absent = listed_variants(genotypes.variants, names, source.variants, where)
            if absent:
                warnings.append(f"{where}: {counted(len(absent), 'listed variant')} are in no file: {some(absent)}.")
        columns = every_nth(genotypes.variants, columns, source.every)
    limits.refuse("max_features", len(columns), f"{where}: the files have {len(columns):,} variants", "or set every")
    counts = _Counts.of(genotypes, people, columns)
    total = len(columns)
    if like is None:
        kept = (counts.minor >= source.min_frequency) & (counts.missing <= source.max_missing)
        check(
            bool(kept.any()),
            f"{where}: none of {counted(total, 'variant')} has a frequency of at least {source.min_frequency:g} and "
            f"at most {source.max_missing:g} of its calls missing; lower min_frequency, or raise max_missing.",
        )
        columns, counts = columns[kept], counts.only(kept)
        variants, flipped = genotypes.variants[columns], np.zeros(len(columns), bool)
        refuse_repeated(variants, where)
    index = {key: row for key, row in first_rows(keys).items() if counts.called[row]}
    facts = counts.facts(genotypes, len(people), total, int(flipped.sum()))
    dtype = source.dtype or ("float16" if dosages else "int8")
    if genotypes.left_out:
        people_left = counted(genotypes.left_out, "person", "people")
        warnings.append(f"{where}: {people_left} are in some of the files of genotypes only, and are not read.")

    def values(rows: np.ndarray) -> np.ndarray:
        read = genotypes.read(rows, columns)
        if flipped.any():
            swapped = read[:, flipped]
            read[:, flipped] = np.where(swapped == MISSING_CALL, swapped, 2 - swapped)
        return np.ascontiguousarray(read.astype(np.float16) if dtype == "float16" else read)

    return Matrix(
        file=genotypes.files[0],
        names=tuple(variants.id),
        keys=keys,
        index=index,
        dtype=dtype,
        values=values,
        row_bytes=len(columns) * (4 if dosages else 1),
        variants=variants,
        facts=facts,
        warnings=tuple(warnings),
    )


class _Counts:
    """What is known of chosen variants: the frequency of the counted allele, the share of missing calls, both `[V]`;
    and `called` `[N]`, whether a person of the files has any call.
    """

    def __init__(self, frequency: np.ndarray, missing: np.ndarray, called: np.ndarray) -> None:
        self.frequency, self.missing, self.called = frequency, missing, called

    @property
    def minor(self) -> np.ndarray:
        """The frequency of the rarer allele."""
        return np.minimum(self.frequency, 1 - self.frequency)

    @classmethod
    def of(cls, genotypes: Genotypes, people: np.ndarray, columns: np.ndarray) -> "_Counts":
        """Count the calls of people, in blocks of variants; a variant without a call has the frequency 0."""
        frequency, missing = np.zeros(len(columns)), np.ones(len(columns))
        called = np.zeros(len(genotypes.people), bool)
        size = max(1, _BLOCK_BYTES // (len(people) * (4 if genotypes.dosages else 1)))
        for start in range(0, len(columns), size):
            calls = genotypes.read(people, columns[start : start + size])
            there = calls >= 0  # false for -127 and for NaN
            number = there.sum(axis=0)
            copies = np.where(there, calls, 0).sum(axis=0, dtype=np.float64)
            frequency[start : start + size] = copies / (2 * np.maximum(number, 1))
            missing[start : start + size] = 1 - number / len(people)
            called[people] |= there.any(axis=1)
        return cls(frequency, missing, called)

    def only(self, kept: np.ndarray) -> "_Counts":
        return _Counts(self.frequency[kept], self.missing[kept], self.called)

    def facts(self, genotypes: Genotypes, people: int, looked_at: int, flipped: int) -> dict[str, Any]:
        """Return the findings for the data card."""
        counts, edges = np.histogram(self.minor, np.linspace(0, 0.5, _BINS + 1))
        return {
            "variants": len(self.frequency),
            "chosen_from": looked_at,
            "in_files": len(genotypes.variants),
            "files": len(genotypes.files),
            "people": people,
            "missing": float(self.missing.mean()),
            "flipped": flipped,
            "minor_frequency": {"edges": edges.tolist(), "counts": counts.tolist()},
        }


def _told(flipped: int, moved: int, where: str, like: Path) -> list[str]:
    told = []
    if flipped:
        are = "counts" if flipped == 1 else "count"
        told.append(f"{where}: {counted(flipped, 'variant')} {are} the other allele than in {like}, and were flipped.")
    if moved:
        told.append(f"{where}: {counted(moved, 'variant')} have another position than in {like}; is it another build?")
    return told
