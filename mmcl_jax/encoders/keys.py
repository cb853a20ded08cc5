"""The keys of `config.projectors` and `config.predictors`, which name the features to project."""

import re
from typing import NamedTuple

from mmcl_jax.errors import UserError

_KEY = re.compile(r"(?P<modality>[^.:]+)(?P<local>\.local)?(:(?P<head>[^.:]+))?")


class FeatureKey(NamedTuple):
    """The modality, whether its local features are projected, and the name of the head ("" if the key names none)."""

    modality: str
    local: bool
    head: str


def parse_key(text: str, path: str = "") -> FeatureKey:
    """Parse a key of the form `MODALITY[.local][:HEAD]`; `path` is its config key, for the error.

    Raises:
      UserError: the text is not of this form.

    Example:
      >>> parse_key("image")
      FeatureKey(modality='image', local=False, head='')
      >>> parse_key("image.local:pgs")
      FeatureKey(modality='image', local=True, head='pgs')
    """
    match = _KEY.fullmatch(text)
    if match is None:
        raise UserError(f"{path or text}: {text!r} is not of the form MODALITY[.local][:HEAD].")
    return FeatureKey(match["modality"], match["local"] is not None, match["head"] or "")
