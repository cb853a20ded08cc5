"""BGEN: dosages of imputed variants, read with the package bgen."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.genotypes.source import Source, check_counts, library
from mmcl_jax.genotypes.tables import People, read_sample, refuse_multiallelic, refuse_twice
from mmcl_jax.genotypes.variants import Variants, texts


def open_bgen(path: Path, where: str) -> Source:
    """Open a BGEN file, whose dosages are of the second allele. The people are those of the `.sample` file beside it.

    A variant goes by its rs number, or by its other identifier if it has none.

    Raises:
      UserError: the package is not installed, the file is damaged or cut off, or no file names its people.
    """
    module = library("bgen", where, "BGEN files")
    with _opened(module, path, where) as reader:
        people = _people(path, reader, where)
        variants = _variants(path, reader, where)

    def read(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        values = np.empty((len(rows), len(columns)), np.float32, order="F")
        with _opened(module, path, where) as reader:
            for index, column in enumerate(columns):
                try:
                    values[:, index] = reader[int(column)].alt_dosage[rows]
                except (ValueError, IndexError, RuntimeError) as error:
                    name = variants.id[column]
                    raise UserError(f"{where}: variant {name!r} of {path} cannot be read ({error}).") from error
        return values

    return Source(path, people.ids, people.families, people.sexes, variants, True, read)


def _opened(module: Any, path: Path, where: str) -> Any:
    try:
        return module.BgenReader(str(path), delay_parsing=True)
    except Exception as error:  # the library raises errors of C++ and of SQLite
        raise UserError(f"{where}: {path} cannot be read as BGEN ({error}).") from error


def _people(path: Path, reader: Any, where: str) -> People:
    beside = path.with_suffix(".sample")
    if beside.is_file():
        people = read_sample(beside, where)
        check_counts(path, beside, reader.header.nsamples, len(people.ids), "people", where)
        return people
    nameless = f"{where}: {path} does not name its people, and there is no {beside.name} beside it, which would."
    check(reader.header.has_sample_ids, nameless)
    names = tuple(reader.samples)
    refuse_twice(path, names, where)
    return People(names, ("0",) * len(names), None)


def _variants(path: Path, reader: Any, where: str) -> Variants:
    """Return the variants in the order of the file."""
    chromosomes, positions, names, alleles = [], [], [], []
    end = 0
    try:
        for variant in reader:
            chromosomes.append(sys.intern(variant.chrom))
            positions.append(variant.pos)
            names.append(variant.rsid if variant.rsid not in ("", ".") else variant.varid)
            alleles.append(tuple(map(sys.intern, variant.alleles)))
            end = variant.next_variant_offset
    except Exception as error:  # the library raises errors of C++ too
        raise UserError(f"{where}: {path} is cut off or damaged ({error}).") from error
    check(bool(names), f"{where}: {path} has no variants.")
    check(end <= path.stat().st_size, f"{where}: {path} is cut off within its last variant, {names[-1]!r}.")
    check(
        len(reader) == len(names), f"{where}: {path}.bgi is of another file; remove it or write it again with bgenix."
    )
    refuse_multiallelic(path, [name for name, pair in zip(names, alleles, strict=True) if len(pair) != 2], where)
    return Variants(
        texts(chromosomes),
        np.array(positions, np.int64),
        texts(names),
        texts(pair[1] for pair in alleles),
        texts(pair[0] for pair in alleles),
    )
