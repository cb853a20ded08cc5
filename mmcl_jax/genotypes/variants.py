"""The variants of genotype files."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

MISSING_CALL = -127  # of int8 calls, as bed-reader writes it; a missing dosage is NaN


def texts(values: Iterable[str]) -> np.ndarray:
    """Return texts as an array of Python objects: allele names may be long, and equal names share memory."""
    listed = list(values)
    array = np.empty(len(listed), object)
    array[:] = listed
    return array


@dataclasses.dataclass(frozen=True)
class Variants:
    """Variants in the order of their files. Every array has the shape `[V]`; texts are arrays of Python strings.

    Attributes:
      chromosome: name of the chromosome, as in the file.
      position: int64, base pairs from the start of the chromosome.
      id: identifier, such as an rs number.
      counted: the allele whose copies are counted: A1 of a `.bim`, ALT of a `.pvar`, the second allele of a BGEN file.
      other: the other allele: A2, REF, or the first allele.

    Example:
      >>> one = Variants(texts(["1"]), np.array([5]), texts(["rs1"]), texts(["A"]), texts(["G"]))
      >>> len(one), one[[0]].id[0]
      (1, 'rs1')
    """

    chromosome: np.ndarray
    position: np.ndarray
    id: np.ndarray
    counted: np.ndarray
    other: np.ndarray

    def __len__(self) -> int:
        """Return the number of variants."""
        return len(self.id)

    def __getitem__(self, index: Any) -> "Variants":
        """Return the variants of a slice, of a boolean mask, or of a list of indices."""
        return Variants(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    @classmethod
    def joined(cls, parts: Sequence["Variants"]) -> "Variants":
        """Return the variants of several files one after the other."""
        if len(parts) == 1:
            return parts[0]
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
