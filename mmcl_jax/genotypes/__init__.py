"""Genotype files: PLINK 1 `.bed`, PLINK 2 `.pgen` and BGEN, one file or several of the same people.

    genotypes = open_genotypes([Path("chr1.bed"), Path("chr2.bed")], where="--genotypes")
    calls = genotypes.read(variants=np.arange(0, len(genotypes.variants), 100))

A file is opened without its calls. `Genotypes.read` reads those of chosen people and variants, so memory is bounded by
what is chosen, besides the lists of people and variants.
"""

from mmcl_jax.genotypes.files import Genotypes, open_genotypes
from mmcl_jax.genotypes.variants import MISSING_CALL, Variants
from mmcl_jax.genotypes.write import write_bed

__all__ = ["MISSING_CALL", "Genotypes", "Variants", "open_genotypes", "write_bed"]
