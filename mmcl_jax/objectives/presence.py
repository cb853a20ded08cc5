"""Which rows of a batch have the modalities that a term reads."""

import functools
import operator
from collections.abc import Iterable, Mapping

from jaxtyping import Array, Bool


def present_in(batch: Mapping[str, Array], modalities: Iterable[str]) -> Bool[Array, "B"] | None:
    """Return the mask of rows that are no padding and have all of these modalities; None if no row can be absent.

    The batch has an entry `valid` if rows may be padding, and `present/MODALITY` if rows may lack that modality, each
    bool `[B]`.
    """
    names = ["valid", *(f"present/{modality}" for modality in dict.fromkeys(modalities))]
    masks = [batch[name] for name in names if name in batch]
    return functools.reduce(operator.and_, masks) if masks else None
