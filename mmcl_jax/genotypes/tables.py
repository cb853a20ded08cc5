"""The tables beside genotype files: `.fam`, `.bim`, `.psam`, `.pvar` and `.sample`."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.genotypes.variants import Variants, texts
from mmcl_jax.text import brief

_SEXES = {"1": 1, "2": 2, "M": 1, "F": 2, "m": 1, "f": 2, "male": 1, "female": 2}


class People(NamedTuple):
    """The people of a file: identifiers, families, and sexes (1 male, 2 female, 0 unknown; None if there are none)."""

    ids: tuple[str, ...]
    families: tuple[str, ...]
    sexes: np.ndarray | None


def read_fam(path: Path, where: str) -> People:
    """Return the people of a `.fam` file: FID, IID, father, mother, sex, phenotype.

    Raises:
      UserError: the file is not such a table, or lists a person twice.
    """
    return _people(path, where, _rows(path, where, 6), family=0, person=1, sex=4)


def read_psam(path: Path, where: str) -> People:
    """Return the people of a `.psam` file, whose header names the columns; without a header it is a `.fam` file.

    Raises:
      UserError: the file is not such a table, or lists a person twice.
    """
    header, rows = _headed(path, where)
    if header is None:
        return read_fam(path, where)
    check(
        "IID" in header,
        f"{where}: the header of {path} has no column IID; write the file with plink2 --make-just-psam.",
    )
    column = {name: index for index, name in enumerate(header)}
    return _people(path, where, rows, family=column.get("FID"), person=column["IID"], sex=column.get("SEX"))


def read_sample(path: Path, where: str) -> People:
    """Return the people of an Oxford `.sample` file: two header lines, then ID_1, ID_2, missing, and other columns.

    Raises:
      UserError: the file is not such a table, or lists a person twice.
    """
    rows = list(_rows(path, where))
    expected = f"{where}: {path} must begin with the header lines of a .sample file (ID_1 ID_2 missing, then 0 0 0)."
    check(len(rows) >= 2 and len(rows[0]) >= 2 and rows[1][:2] == ["0", "0"], expected)
    names = [name.lower() for name in rows[0]]
    sex = names.index("sex") if "sex" in names else None
    return _people(path, where, rows[2:], family=0, person=1, sex=sex)


def read_bim(path: Path, where: str) -> Variants:
    """Return the variants of a `.bim` file: chromosome, id, centimorgans, position, A1 (counted), A2.

    Raises:
      UserError: the file is not such a table.
    """
    return _variants(path, where, _rows(path, where, 6), chromosome=0, position=3, name=1, counted=4, other=5)


def read_pvar(path: Path, where: str) -> Variants:
    """Return the variants of a `.pvar` file, whose header names the columns; without a header it is a `.bim` file.

    Raises:
      UserError: the file is not such a table, or has a variant with more than two alleles.
    """
    header, rows = _headed(path, where)
    if header is None:
        return read_bim(path, where)
    needed = ("CHROM", "POS", "ID", "REF", "ALT")
    missing = [name for name in needed if name not in header]
    check(not missing, f"{where}: the header of {path} has no column {', '.join(missing)}; write the file with plink2.")
    chromosome, position, name, other, counted = (header.index(column) for column in needed)
    variants = _variants(
        path, where, rows, chromosome=chromosome, position=position, name=name, counted=counted, other=other
    )
    refuse_multiallelic(path, variants.id[[("," in allele) for allele in variants.counted]], where)
    return variants


def refuse_multiallelic(path: Path, names: Iterable[str], where: str) -> None:
    """Raise `UserError` if there are variants with more than two alleles."""
    names = list(names)
    if names:
        several = f"{len(names):,} variants with more than two alleles, such as {brief(names[0])}"
        raise UserError(f"{where}: {path} has {several}; leave them out with plink2 --max-alleles 2.")


def refuse_twice(path: Path, people: Iterable[str], where: str) -> None:
    """Raise `UserError` if a file names a person twice."""
    seen: set[str] = set()
    for name in people:
        check(name not in seen, f"{where}: {path} names the person {brief(name)} twice; people go by their IID alone.")
        seen.add(name)


def _people(
    path: Path, where: str, rows: Iterable[list[str]], *, family: int | None, person: int, sex: int | None
) -> People:
    widest = max(person, family or 0, sex or 0)
    ids, families, sexes = [], [], []
    for number, row in enumerate(rows, start=1):
        check(len(row) > widest, f"{where}: person {number} of {path} has {len(row)} columns, not {widest + 1}.")
        ids.append(row[person])
        families.append("0" if family is None else row[family])
        sexes.append(0 if sex is None else _SEXES.get(row[sex], 0))
    check(bool(ids), f"{where}: {path} lists no people.")
    refuse_twice(path, ids, where)
    return People(tuple(ids), tuple(families), None if sex is None else np.array(sexes, np.int8))


def _variants(
    path: Path,
    where: str,
    rows: Iterator[list[str]],
    *,
    chromosome: int,
    position: int,
    name: int,
    counted: int,
    other: int,
) -> Variants:
    """Return the variants of rows; equal chromosomes and alleles share memory."""
    chromosomes, positions, names, counts, others = [], [], [], [], []
    for number, row in enumerate(rows, start=1):
        wrong = f"{where}: variant {number} of {path}"
        check(len(row) > max(chromosome, position, name, counted, other), f"{wrong} has {len(row)} columns, too few.")
        place = row[position]
        check(place.removeprefix("-").isdecimal(), f"{wrong} has the position {brief(place)}, not a whole number.")
        chromosomes.append(sys.intern(row[chromosome]))
        positions.append(int(place))
        names.append(row[name])
        counts.append(sys.intern(row[counted]))
        others.append(sys.intern(row[other]))
    check(bool(names), f"{where}: {path} lists no variants.")
    return Variants(texts(chromosomes), np.array(positions, np.int64), texts(names), texts(counts), texts(others))


def _headed(path: Path, where: str) -> tuple[list[str] | None, Iterator[list[str]]]:
    """Return the names in the header of a table of PLINK 2 (None if it has none) and its rows."""
    rows = itertools.dropwhile(lambda row: row[0].startswith("##"), _rows(path, where))
    first = next(rows, None)
    if first is None or not first[0].startswith("#"):
        return None, iter(())
    return [first[0].lstrip("#"), *first[1:]], rows


def _rows(path: Path, where: str, columns: int | None = None) -> Iterator[list[str]]:
    """Yield the cells of the lines of a table that white space separates."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                cells = line.split()
                if not cells:
                    continue
                if columns is not None and len(cells) != columns:
                    sentence = f"{where}: line {number} of {path} has {len(cells)} columns, not {columns}; it is no"
                    raise UserError(f"{sentence} {path.suffix} file of PLINK.")
                yield cells
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: {path} is not a text file in UTF-8.") from error
    except OSError as error:
        raise UserError(f"{where}: {path} cannot be read ({error.strerror}).") from error
