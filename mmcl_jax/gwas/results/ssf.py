"""Summary statistics in the format GWAS-SSF of the GWAS Catalog, a compressed table per phenotype."""

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
import polars as pl

from mmcl_jax.gwas.chromosomes import plain_chromosome
from mmcl_jax.gwas.statistics.scan import Associations

COLUMNS = (
    "chromosome", "base_pair_location", "effect_allele", "other_allele", "beta", "standard_error",
    "effect_allele_frequency", "neg_log_10_p_value", "rsid", "n", "variant",
)  # fmt: skip
_ROWS = 200_000
_NUMBERS = {"X": "23", "XY": "23", "Y": "24", "MT": "25", "M": "25"}  # GWAS-SSF writes chromosomes as numbers


def write_ssf(path: Path, found: Associations, phenotype: int) -> int:
    """Write the variants that were tested with a phenotype, in the order of the files, and return their number.

    The effect allele is the counted one. `neg_log_10_p_value` stands for `p_value`, which would be 0 in the far tail;
    `rsid` is #NA for variants of other names, which the column `variant` has. Equal arguments give equal bytes.
    """
    group = int(found.group[phenotype])
    tested = np.flatnonzero(np.isfinite(found.neg_log10_p[phenotype]))
    with _compressed(path) as file:
        file.write(("\t".join(COLUMNS) + "\n").encode())
        for start in range(0, len(tested), _ROWS):
            at = tested[start : start + _ROWS]
            variants = found.variants[at]
            names = map(plain_chromosome, variants.chromosome.tolist())
            ids = [str(one) for one in variants.id]
            frame = pl.DataFrame(
                dict(
                    zip(
                        COLUMNS,
                        (
                            [_NUMBERS.get(name, name) for name in names],
                            variants.position,
                            [str(one) for one in variants.counted],
                            [str(one) for one in variants.other],
                            found.beta[phenotype, at],
                            found.error[phenotype, at],
                            found.frequency[group, at],
                            found.neg_log10_p[phenotype, at],
                            [one if one[:2] == "rs" and one[2:].isdigit() else "#NA" for one in ids],
                            found.count[group, at],
                            ids,
                        ),
                        strict=True,
                    )
                )
            )
            frame.write_csv(file, include_header=False, separator="\t", quote_style="never")
    return len(tested)


def write_combined(path: Path, found: Associations, combined: np.ndarray, best: np.ndarray) -> None:
    """Write the Bonferroni-corrected p-value of every tested variant, and the phenotype that it comes from."""
    tested = np.flatnonzero(np.isfinite(combined))
    variants = found.variants[tested]
    frame = pl.DataFrame(
        {
            "chromosome": [str(one) for one in variants.chromosome],
            "base_pair_location": variants.position,
            "variant": [str(one) for one in variants.id],
            "neg_log_10_p_value": combined[tested],
            "phenotype": [found.names[index] for index in best[tested].tolist()],
        }
    )
    with _compressed(path) as file:
        frame.write_csv(file, separator="\t", quote_style="never")


@contextlib.contextmanager
def _compressed(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be compressed, without the time of writing, so that equal content gives equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        yield cast(IO[bytes], file)
