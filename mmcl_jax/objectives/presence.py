"""Which rows of a batch have what is read of them."""

import functools
import operator
from collections.abc import Iterable, Mapping

from jaxtyping import Array, Bool


def present_in(batch: Mapping[str, Array], modalities: Iterable[str]) -> Bool[Array, "B"] | None:
    """Return the rows that are no padding and have all of these modalities; None if nothing can be absent.

    The batch says so in `valid` and `present/MODALITY`, bool `[B]` each, where rows may be padding or lack a modality.
    """
    names = ["valid", *(f"present/{modality}" for modality in dict.fromkeys(modalities))]
    known = [batch[name] for name in names if name in batch]
    return functools.reduce(operator.and_, known) if known else None
