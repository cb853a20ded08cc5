"""The keys of `config.projectors` and `config.predictors`, which say what is projected."""

import re
from typing import NamedTuple

from mmcl_jax.errors import UserError

_KEY = re.compile(r"(?P<modality>[^.:]+)(?P<local>\.local)?(:(?P<head>[^.:]+))?")


class FeatureKey(NamedTuple):
    """The modality, whether its local features are projected, and the name of the head, "" for the only one."""

    modality: str
    local: bool
    head: str


def parse_key(text: str, path: str = "") -> FeatureKey:
    """Return what `MODALITY[.local][:HEAD]` says.

    Raises:
      UserError: the text is none such; `path` is its place in the config.

    Example:
      >>> parse_key("image")
      FeatureKey(modality='image', local=False, head='')
      >>> parse_key("image.local:pgs")
      FeatureKey(modality='image', local=True, head='pgs')
    """
    found = _KEY.fullmatch(text)
    if found is None:
        raise UserError(f"{path or text}: {text!r} is not of the form MODALITY[.local][:HEAD].")
    return FeatureKey(found["modality"], found["local"] is not None, found["head"] or "")
