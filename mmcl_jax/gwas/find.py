"""The associations of all variants with the phenotypes of a cohort, and the independent regions that they make."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmcl_jax.genotypes import Genotypes
from mmcl_jax.gwas.people.cohort import Cohort, chosen_variants
from mmcl_jax.gwas.people.tables import People
from mmcl_jax.gwas.statistics.clump import Region, clump
from mmcl_jax.gwas.statistics.p_values import bonferroni
from mmcl_jax.gwas.statistics.scan import Associations, associate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How phenotypes are made and variants tested.

    Attributes:
      components: principal components of the phenotypes; 0 takes the columns themselves.
      transform: "inverse_normal" or "none".
      min_frequency: the least frequency of the rarer allele.
      p1: the largest p-value of an index variant.
      p2: the largest p-value of a clumped variant.
      r2: linkage above which a variant is clumped.
      window: the distance below which a variant is clumped, in kilobases.
      seed: of the permuted phenotype.
    """

    components: int = 10
    transform: str = "inverse_normal"
    min_frequency: float = 0.01
    p1: float = 5e-8
    p2: float = 1e-7
    r2: float = 0.1
    window: float = 150.0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Found:
    """What a study found.

    Attributes:
      associations: of every variant with every phenotype.
      combined: `[V]`, -log10 of the p-values that are corrected for there being several phenotypes.
      best: `[V]`, the phenotype with the smallest p-value.
      regions: the independent regions, the most significant one first.
      excluded: the numbers of variants that were not tested, by reason.
    """

    associations: Associations
    combined: np.ndarray
    best: np.ndarray
    regions: list[Region]
    excluded: Mapping[str, int]

    def variants_of(self, region: Region) -> frozenset[str]:
        """Return the identifiers of the variants of a region."""
        return frozenset(str(self.associations.variants.id[one]) for one in (region.index, *region.members))


def find_regions(cohort: Cohort, phenotypes: People, genotypes: Genotypes, settings: Settings, folder: Path) -> Found:
    """Test all variants with all phenotypes, and clump the significant ones into regions.

    Args:
      cohort: the people, who have genotypes.
      phenotypes: of these people, see `phenotypes_of`.
      genotypes: the opened files.
      settings: of the tests.
      folder: of the arrays that are mapped into memory, which exists.
    """
    assert cohort.genotyped is not None
    people, (chosen, excluded) = cohort.genotyped, chosen_variants(genotypes)
    found = associate(
        genotypes,
        people,
        chosen,
        phenotypes.values,
        cohort.covariates.values,
        phenotypes.names,
        folder,
        min_frequency=settings.min_frequency,
        seed=settings.seed,
    )
    combined, best = bonferroni(found.neg_log10_p)
    regions = clump(
        combined,
        found.variants.chromosome,
        found.variants.position,
        lambda at: genotypes.read(people, chosen[at]),
        p1=settings.p1,
        p2=settings.p2,
        r2=settings.r2,
        window=settings.window,
    )
    return Found(found, combined, best, regions, excluded)
