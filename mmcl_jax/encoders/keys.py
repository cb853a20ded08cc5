"""The keys of `config.projectors` and `config.predictors`, which say what is projected."""

import re
from typing import NamedTuple

_KEY = re.compile(r"(?P<modality>[^.:]+)(?P<local>\.local)?(:(?P<head>[^.:]+))?")


class FeatureKey(NamedTuple):
    """The modality, whether its local features are projected, and the name of the head, "" for the only one."""

    modality: str
    local: bool
    head: str


def parse_key(text: str) -> FeatureKey:
    """Return what `MODALITY[.local][:HEAD]` says.

    Raises:
      ValueError: the text is none such.

    Example:
      >>> parse_key("image")
      FeatureKey(modality='image', local=False, head='')
      >>> parse_key("image.local:pgs")
      FeatureKey(modality='image', local=True, head='pgs')
    """
    found = _KEY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not MODALITY, MODALITY.local, MODALITY:HEAD or MODALITY.local:HEAD")
    return FeatureKey(found["modality"], found["local"] is not None, found["head"] or "")
