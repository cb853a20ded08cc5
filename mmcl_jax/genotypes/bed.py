"""PLINK 1: `.bed` with `.bim` and `.fam` beside it, read with bed-reader."""

from pathlib import Path

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.genotypes.source import Source, sibling
from mmcl_jax.genotypes.tables import read_bim, read_fam

_MAGIC = b"\x6c\x1b"


def open_bed_file(path: Path, where: str) -> Source:
    """Open a `.bed` file, whose calls are copies of A1, the first allele of the `.bim`.

    Raises:
      UserError: the file is none, has one person after the other, or does not fit the files beside it.
    """
    people = read_fam(sibling(path, [".fam"], where, "the people"), where)
    variants = read_bim(sibling(path, [".bim"], where, "the variants"), where)
    with path.open("rb") as file:
        head = file.read(3)
    check(
        head[:2] == _MAGIC,
        f"{where}: {path} is not a .bed file of PLINK 1: its first bytes are {head[:2].hex(' ') or 'missing'}.",
    )
    by_person = (
        f'{where}: {path} holds a person after the other; write it again with "plink1.9 --bfile NAME --make-bed".'
    )
    check(head[2:] != b"\x00", by_person)
    check(head[2:] == b"\x01", f"{where}: {path} is damaged: its third byte is {head[2:].hex() or 'missing'}, not 01.")
    needed = 3 + len(variants) * -(-len(people.ids) // 4)
    size = path.stat().st_size
    fits = f"{len(people.ids):,} people and {len(variants):,} variants need {needed:,} bytes"
    check(
        size == needed,
        f"{where}: {path} has {size:,} bytes, but {path.with_suffix('.fam').name} and {path.with_suffix('.bim').name} "
        f"list {fits}; the file is cut off, or the three do not belong together.",
    )

    def read(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        from bed_reader import open_bed

        try:
            with open_bed(path, iid_count=len(people.ids), sid_count=len(variants), count_A1=True) as bed:
                return bed.read((rows, columns), dtype="int8", order="F")
        except (OSError, ValueError) as error:
            raise UserError(f"{where}: {path} cannot be read ({error}).") from error

    return Source(path, people.ids, people.families, people.sexes, variants, False, read)
