"""Several files of genotypes, such as one per chromosome, as one matrix of people by variants."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.genotypes.bed import open_bed_file
from mmcl_jax.genotypes.bgen import open_bgen
from mmcl_jax.genotypes.pgen import open_pgen
from mmcl_jax.genotypes.source import Source, blocks
from mmcl_jax.genotypes.variants import Variants

_FORMATS: dict[str, Callable[[Path, str], Source]] = {".bed": open_bed_file, ".pgen": open_pgen, ".bgen": open_bgen}
SUFFIXES = tuple(_FORMATS)


@dataclasses.dataclass(frozen=True)
class Genotypes:
    """The genotypes of one or several files.

    Attributes:
      files: in the order of their variants.
      people: identifiers (IID) of the people whom all files have, in the order of the first file.
      families: identifiers of the families (FID); "0" for none.
      sexes: int8: 1 male, 2 female, 0 unknown; None if the first file has none.
      variants: of the first file, then of the second, and so on.
      dosages: whether `read` returns dosages, since one of the files has some.
      left_out: the number of people whom some of the files have, but not all.
    """

    files: tuple[Path, ...]
    people: tuple[str, ...]
    families: tuple[str, ...]
    sexes: np.ndarray | None
    variants: Variants
    dosages: bool
    left_out: int
    _sources: tuple[Source, ...]
    _rows: tuple[np.ndarray, ...]  # of each file, of the people in order

    def read(self, people: np.ndarray | None = None, variants: np.ndarray | None = None) -> np.ndarray:
        """Return the copies of the counted allele `[people, variants]`, a variant after the other in memory.

        int8 with -127 for a missing call; or, of files with dosages, float32 with NaN.

        Args:
          people: indices into `people`, or a mask; all of them by default.
          variants: indices into `variants`, or a mask; all of them by default.

        Raises:
          UserError: a file is damaged.
        """
        rows, columns = _indices(people, len(self.people)), _indices(variants, len(self.variants))
        values = np.empty((len(rows), len(columns)), np.float32 if self.dosages else np.int8, order="F")
        start = 0
        for source, places in zip(self._sources, self._rows, strict=True):
            at = np.flatnonzero((columns >= start) & (columns < start + len(source.variants)))
            at = at[np.argsort(columns[at], kind="stable")]
            wanted, inverse = np.unique(places[rows], return_inverse=True)
            same = np.array_equal(inverse, np.arange(len(rows)))
            for block in blocks(at, len(rows), values.itemsize):
                part = source.read(wanted, columns[block] - start)
                if self.dosages and not source.dosages:
                    part = np.where(part < 0, np.float32(np.nan), part.astype(np.float32))
                values[:, block] = part if same else part[inverse]
            start += len(source.variants)
        return values


def open_genotypes(files: Sequence[Path], *, where: str) -> Genotypes:
    """Open files of genotypes; the people are those whom all files have.

    Args:
      files: `.bed`, `.pgen` or `.bgen`; the other files of a format lie beside them.
      where: how errors name the source.

    Raises:
      UserError: a file is missing, damaged, given twice, or does not fit the files beside it; or the files have no
        person in common.
    """
    check(bool(files), f"{where}: name at least one file of genotypes.")
    sources: list[Source] = []
    seen: set[str] = set()
    for path in files:
        check(path.suffix in _FORMATS, f"{where}: {path} must end in {', '.join(SUFFIXES)}.")
        check(path.is_file(), f"{where}: the file {path} does not exist.")
        real = os.path.realpath(path)
        check(real not in seen, f"{where}: {path} is given twice.")
        seen.add(real)
        sources.append(_open(path, where))
    first = sources[0]
    common = set(first.people).intersection(*(source.people for source in sources[1:]))
    check(bool(common), f"{where}: no person (IID) is in all of the {len(sources)} files.")
    kept = np.array([row for row, name in enumerate(first.people) if name in common], np.int64)
    people = tuple(first.people[row] for row in kept)
    rows = []
    for source in sources:
        index = {name: row for row, name in enumerate(source.people)}
        rows.append(np.array([index[name] for name in people], np.int64))
    return Genotypes(
        files=tuple(files),
        people=people,
        families=tuple(first.families[row] for row in kept),
        sexes=None if first.sexes is None else first.sexes[kept],
        variants=Variants.joined([source.variants for source in sources]),
        dosages=any(source.dosages for source in sources),
        left_out=len(set().union(*(source.people for source in sources))) - len(people),
        _sources=tuple(sources),
        _rows=tuple(rows),
    )


def _open(path: Path, where: str) -> Source:
    try:
        return _FORMATS[path.suffix](path, where)
    except OSError as error:
        raise UserError(f"{where}: {path} cannot be read ({error.strerror}).") from error


def _indices(chosen: np.ndarray | None, count: int) -> np.ndarray:
    """Return indices as int64, of a mask or of indices, none of them beyond `count`."""
    if chosen is None:
        return np.arange(count)
    chosen = np.asarray(chosen)
    if chosen.dtype == bool:
        return np.flatnonzero(chosen)
    indices = chosen.astype(np.int64)
    if indices.size and (indices.min() < 0 or indices.max() >= count):
        raise IndexError(f"indices must be in 0..{count - 1}")
    return indices
