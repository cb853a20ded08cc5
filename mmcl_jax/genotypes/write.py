"""Writing of PLINK 1 files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmcl_jax.genotypes.variants import Variants


def write_bed(
    path: Path,
    calls: np.ndarray,
    *,
    people: Sequence[str],
    variants: Variants,
    sexes: np.ndarray | None = None,
) -> None:
    """Write calls as a `.bed` file of PLINK 1, with the `.bim` and `.fam` beside it.

    Args:
      path: ends in `.bed`.
      calls: int8 `[N, V]`: copies of the counted allele, -127 for missing.
      people: identifiers, for FID and IID.
      variants: V variants; the counted allele becomes A1.
      sexes: 1 male, 2 female, 0 unknown; unknown by default.

    Raises:
      ValueError: the shapes do not fit, or a call is not 0, 1, 2 or -127.
      OSError: a file cannot be written.
    """
    from bed_reader import to_bed

    if calls.shape != (len(people), len(variants)) or calls.dtype != np.int8:
        raise ValueError(f"calls must be int8 [{len(people)}, {len(variants)}], not {calls.dtype} {list(calls.shape)}")
    names = np.asarray(people, dtype=str)
    properties = {
        "fid": names,
        "iid": names,
        "sex": np.zeros(len(names), np.int32) if sexes is None else np.asarray(sexes, np.int32),
        "chromosome": variants.chromosome.astype(str),
        "sid": variants.id.astype(str),
        "bp_position": variants.position.astype(np.int32),
        "allele_1": variants.counted.astype(str),
        "allele_2": variants.other.astype(str),
    }
    to_bed(path, calls, properties=properties, count_A1=True)
