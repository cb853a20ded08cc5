"""What others found in a region: a look-up in a file of associations of the GWAS Catalog that the user has."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from mmcl_jax.errors import UserError, check
from mmcl_jax.gwas.chromosomes import plain_chromosome
from mmcl_jax.prepare.table.table import UNREADABLE

_NEEDED = ("CHR_ID", "CHR_POS", "DISEASE/TRAIT", "SNPS")


@dataclasses.dataclass(frozen=True)
class Catalog:
    """The rows of a file of associations that have a position.

    Attributes:
      source: the file.
      rows: the number of rows of the file.
      chromosome: `[n]`, as `plain_chromosome` writes it.
      position: `[n]` int64, in the build of the file.
      ids: `[n]`, the name of the variant.
      traits: `[n]`.
    """

    source: Path
    rows: int
    chromosome: np.ndarray
    position: np.ndarray
    ids: np.ndarray
    traits: np.ndarray

    def near(
        self, chromosome: str, start: int, end: int, ids: Sequence[str], *, window: float
    ) -> list[tuple[str, int]]:
        """Return the traits of a region with their number of rows, the most frequent first.

        A row belongs to the region if it names one of its variants, or lies on its chromosome, at most `window`
        kilobases outside. The positions of both files must be of one build of the genome, which nothing here checks.
        """
        inside = (self.chromosome == plain_chromosome(chromosome)) & (self.position >= start - 1000 * window)
        inside &= self.position <= end + 1000 * window
        named = [one for one in ids if one != "."]
        inside |= np.isin(self.ids, named)
        traits, counts = np.unique(self.traits[inside], return_counts=True)
        order = np.lexsort([traits, -counts])
        return [(str(traits[index]), int(counts[index])) for index in order]


def read_catalog(path: Path, option: str) -> Catalog:
    """Read a file "All associations" of the GWAS Catalog: tab-separated, with CHR_ID, CHR_POS, DISEASE/TRAIT and SNPS.

    A row of several variants counts once for each.

    Raises:
      UserError: the file cannot be read, or lacks one of the columns.
    """
    check(path.is_file(), f"{option}: {path} does not exist, or is no file.")
    try:
        table = pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None, truncate_ragged_lines=True)
    except (*UNREADABLE, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{option}: {path} is no tab-separated table ({reason}); give a file of associations."
        ) from error
    for name in _NEEDED:
        check(
            name in table.columns,
            f"{option}: {path} has no column {name}; give the file of all associations of the GWAS Catalog.",
        )
    rows: list[tuple[str, int, str, str]] = []
    for chromosomes, positions, trait, names in table.select(_NEEDED).fill_null("").iter_rows():
        parts = [re.split(r"\s*[;x]\s*", text) for text in (chromosomes, positions, names)]
        for index, at in enumerate(parts[1]):
            if at.isdigit():
                chromosome = parts[0][min(index, len(parts[0]) - 1)]
                one = parts[2][min(index, len(parts[2]) - 1)].partition("-")[0]
                rows.append((plain_chromosome(chromosome), int(at), one, trait))
    columns = list(zip(*rows, strict=True)) if rows else [()] * 4
    return Catalog(
        path,
        table.height,
        np.array(columns[0], np.str_),
        np.array(columns[1], np.int64),
        np.array(columns[2], np.str_),
        np.array(columns[3], np.str_),
    )
