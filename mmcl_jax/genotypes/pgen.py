"""PLINK 2: `.pgen` with `.pvar` and `.psam` beside it, read with pgenlib."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.genotypes.source import Source, blocks, check_counts, library, sibling
from mmcl_jax.genotypes.tables import read_psam, read_pvar
from mmcl_jax.genotypes.variants import MISSING_CALL

_MISSING = -9  # of pgenlib
_BLOCK = 2**16  # variants whose types stand together in the header
_DOSAGE = 0x60  # the bits of a variant's type that say how its dosages are stored


def open_pgen(path: Path, where: str) -> Source:
    """Open a `.pgen` file, whose calls or dosages are of ALT.

    Raises:
      UserError: pgenlib is not installed, or the file is none or does not fit the files beside it.
    """
    pgenlib = library("pgenlib", where, ".pgen files")
    psam, pvar = sibling(path, [".psam"], where, "the people"), _pvar(path, where)
    people, variants = read_psam(psam, where), read_pvar(pvar, where)

    def opened(rows: np.ndarray | None = None) -> Any:
        try:
            return pgenlib.PgenReader(bytes(path), sample_subset=None if rows is None else rows.astype(np.uint32))
        except RuntimeError as error:
            raise UserError(f"{where}: {path} cannot be read: {_said(error)}") from error

    def read(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        values = np.empty((len(rows), len(columns)), np.float32 if dosages else np.int8, order="F")
        if not values.size:
            return values
        done = 0
        with opened(rows) as reader:
            for block in blocks(columns.astype(np.uint32), len(rows), values.itemsize):
                part = values.T[done : done + len(block)]  # contiguous, a variant after the other
                try:
                    (reader.read_dosages_list if dosages else reader.read_list)(block, part)
                except RuntimeError as error:
                    raise UserError(f"{where}: {path} is cut off or damaged: {_said(error)}") from error
                part[part == _MISSING] = np.nan if dosages else MISSING_CALL
                done += len(block)
        return values

    with opened() as reader:
        check_counts(path, psam, reader.get_raw_sample_ct(), len(people.ids), "people", where)
        check_counts(path, pvar, reader.get_variant_ct(), len(variants), "variants", where)
    dosages = _has_dosages(path, where)
    read(np.arange(1), np.array([len(variants) - 1]))  # the last variant is not there if the file is cut off
    return Source(path, people.ids, people.families, people.sexes, variants, dosages, read)


def _pvar(path: Path, where: str) -> Path:
    packed = path.with_suffix(".pvar.zst")
    if packed.is_file() and not path.with_suffix(".pvar").is_file():
        raise UserError(f"{where}: {packed} is compressed; unpack it with plink2 --zst-decompress {packed.name}.")
    return sibling(path, [".pvar"], where, "the variants")


def _has_dosages(path: Path, where: str) -> bool:
    """Return whether a variant of the file has dosages, by the types of variants in the header."""
    with path.open("rb") as file:
        head = file.read(12)
        mode = head[2]
        if mode in (0x01, 0x02):  # PLINK 1, and calls of fixed width
            return False
        if mode in (0x03, 0x04):  # dosages of fixed width
            return True
        check(
            mode == 0x10,
            f"{where}: {path} is stored in the mode {mode:#x}, which is not read; write it with plink2 --make-pgen.",
        )
        count, control = struct.unpack_from("<I", head, 3)[0], head[11]
        if control & 0x0F < 4:  # four bits for a type have no bits for dosages
            return False
        lengths = (control & 0x03) + 1
        allele_counts, flags = (control >> 4) & 0x03, control >> 6 == 3
        file.seek(12 + 8 * -(-count // _BLOCK))
        for start in range(0, count, _BLOCK):
            size = min(_BLOCK, count - start)
            types = np.frombuffer(file.read(size), np.uint8)
            if (types & _DOSAGE).any():
                return True
            file.seek(size * (lengths + allele_counts) + (-(-size // 8) if flags else 0), 1)
    return False


def _said(error: RuntimeError) -> str:
    """Return what pgenlib said, which is sometimes bytes."""
    said = error.args[0] if error.args else ""
    return (said.decode(errors="replace") if isinstance(said, bytes) else str(said)).strip().rstrip(".") + "."
