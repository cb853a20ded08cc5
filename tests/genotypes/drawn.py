"""Small genotype files for tests, in every format."""

from pathlib import Path

import numpy as np
import pgenlib
from bgen import BgenWriter

from mmcl_jax.genotypes import MISSING_CALL, Variants, write_bed
from mmcl_jax.genotypes.variants import texts


def variants(count: int, *, chromosome: str = "1", first: int = 0) -> Variants:
    """Variants with the alleles A (counted) and G in even places, T and C in odd ones."""
    numbers = range(first, first + count)
    return Variants(
        texts([chromosome] * count),
        np.array([100 + 10 * number for number in numbers], np.int64),
        texts(f"rs{chromosome}_{number}" for number in numbers),
        texts("AT"[number % 2] for number in numbers),
        texts("GC"[number % 2] for number in numbers),
    )


def people(count: int) -> list[str]:
    return [f"p{number}" for number in range(count)]


def calls(count: int, variants: int, seed: int = 0, missing: float = 0.1) -> np.ndarray:
    random = np.random.default_rng(seed)
    drawn = random.binomial(2, random.uniform(0.1, 0.6, variants), (count, variants)).astype(np.int8)
    drawn[random.random(drawn.shape) < missing] = MISSING_CALL
    return drawn


def bed(path: Path, called: np.ndarray, *, names: list[str] | None = None, chromosome: str = "1") -> Path:
    write_bed(
        path, called, people=names or people(len(called)), variants=variants(called.shape[1], chromosome=chromosome)
    )
    return path


def pgen(path: Path, values: np.ndarray, *, names: list[str] | None = None) -> Path:
    """Write calls (int8) or dosages (float32) as PLINK 2 files."""
    described = variants(values.shape[1])
    dosages = values.dtype == np.float32
    with pgenlib.PgenWriter(
        bytes(path), len(values), variant_ct=values.shape[1], nonref_flags=False, dosage_present=dosages
    ) as writer:
        for column in values.T:
            if dosages:
                writer.append_dosages(np.where(np.isnan(column), -9, column).astype(np.float32))
            else:
                writer.append_biallelic(np.where(column < 0, -9, column).astype(np.int8))
    rows = [
        f"{v.chromosome[0]}\t{v.position[0]}\t{v.id[0]}\t{v.other[0]}\t{v.counted[0]}\n"
        for v in (described[[at]] for at in range(len(described)))
    ]
    path.with_suffix(".pvar").write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n" + "".join(rows))
    rows = [f"{name}\t{1 + number % 2}\n" for number, name in enumerate(names or people(len(values)))]
    path.with_suffix(".psam").write_text("#IID\tSEX\n" + "".join(rows))
    return path


def bgen(path: Path, dosages: np.ndarray, *, names: list[str] | None = None) -> Path:
    """Write dosages between 0 and 2 as probabilities of 0, 1 and 2 copies of the second allele, in 16 bits."""
    described = variants(dosages.shape[1])
    with BgenWriter(str(path), len(dosages), samples=names or people(len(dosages))) as writer:
        for at, column in enumerate(dosages.T.astype(np.float64)):
            low, high = np.maximum(0, 1 - column), np.maximum(0, column - 1)
            one = described[[at]]
            writer.add_variant(
                varid=f"v{at}", rsid=one.id[0], chrom=one.chromosome[0], pos=int(one.position[0]),
                alleles=[one.other[0], one.counted[0]], genotypes=np.stack([low, 1 - low - high, high], 1),
                bit_depth=16,
            )  # fmt: skip
    path.with_name(path.name + ".bgi").unlink()
    return path
