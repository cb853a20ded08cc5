"""Drawn genotypes with linkage between neighbours and two populations, and phenotypes that depend on some of them."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.genotypes import MISSING_CALL, Variants, write_bed
from mmcl_jax.genotypes.variants import texts

PLINK1, PLINK2 = shutil.which("plink1.9"), shutil.which("plink2")
needs_plink1 = pytest.mark.skipif(PLINK1 is None, reason="plink1.9 is not installed")
needs_plink2 = pytest.mark.skipif(PLINK2 is None, reason="plink2 is not installed")

PEOPLE, PER_CHROMOSOME, CHROMOSOMES = 400, 300, ("1", "2")
CAUSAL = (40, 450)  # variants that the trait depends on


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Files of drawn people.

    Attributes:
      files: a `.bed` per chromosome.
      calls: of all variants, `[N, V]`.
      people: IIDs.
      population: 0 or 1, `[N]`.
      trait: depends on the causal variants, `[N]`.
    """

    files: list[Path]
    calls: np.ndarray
    people: list[str]
    population: np.ndarray
    trait: np.ndarray


def draw(folder: Path, *, missing: float = 0.02, seed: int = 0) -> Drawn:
    """Draw people of two populations; chromosomes are mosaics of a few founders, so that neighbours are linked."""
    random = np.random.default_rng(seed)
    population = (np.arange(PEOPLE) >= PEOPLE // 2).astype(int)
    people = [f"p{number:03d}" for number in range(PEOPLE)]
    columns, files, at = [], [], 0
    for chromosome in CHROMOSOMES:
        base = random.uniform(0.2, 0.8, PER_CHROMOSOME)
        shift = random.normal(0, 0.12, PER_CHROMOSOME)
        founders = [
            (random.random((8, PER_CHROMOSOME)) < np.clip(base + sign * shift, 0.05, 0.95)).astype(np.int8)
            for sign in (-1, 1)
        ]
        copies = np.zeros((PEOPLE, PER_CHROMOSOME), np.int8)
        for person in range(PEOPLE):
            for _ in range(2):
                source = random.integers(0, 8, PER_CHROMOSOME)
                stays = random.random(PER_CHROMOSOME) > 0.05
                stays[0] = False
                segment = np.maximum.accumulate(np.where(stays, 0, np.arange(PER_CHROMOSOME)))
                copies[person] += founders[population[person]][source[segment], np.arange(PER_CHROMOSOME)]
        copies[random.random(copies.shape) < missing] = MISSING_CALL
        path = folder / f"chr{chromosome}.bed"
        numbers = range(at, at + PER_CHROMOSOME)
        variants = Variants(
            texts([chromosome] * PER_CHROMOSOME),
            10_000 + 5_000 * np.arange(PER_CHROMOSOME),
            texts(f"rs{number}" for number in numbers),
            texts("AT"[number % 2] for number in numbers),
            texts("GC"[number % 2] for number in numbers),
        )
        write_bed(path, copies, people=people, variants=variants, sexes=1 + np.arange(PEOPLE) % 2)
        files.append(path)
        columns.append(copies)
        at += PER_CHROMOSOME
    calls = np.concatenate(columns, axis=1)
    filled = np.where(calls < 0, 1, calls)
    trait = filled[:, CAUSAL[0]] - 1.2 * filled[:, CAUSAL[1]] + random.normal(0, 1, PEOPLE)
    return Drawn(files, calls, people, population, trait)


def write_people(path: Path, ids: Sequence[str], **columns: Sequence[float] | np.ndarray) -> Path:
    """Write a table of people with FID and IID; NaN is written as NA."""
    lines = [" ".join(("FID", "IID", *columns))]
    for row, one in enumerate(ids):
        values = (float(column[row]) for column in columns.values())
        lines.append(" ".join((one, one, *("NA" if value != value else repr(value) for value in values))))
    path.write_text("\n".join(lines) + "\n")
    return path
