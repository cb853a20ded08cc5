"""The terms, one file each; importing them registers them."""

from mmcl_jax.objectives.terms import (
    agreement,
    barlow_twins,
    clip,
    local_alignment,
    matching,
    nnclr,
    nt_xent,
    siglip,
    supervised,
    vicreg,
    vime,
)

__all__ = [
    "agreement",
    "barlow_twins",
    "clip",
    "local_alignment",
    "matching",
    "nnclr",
    "nt_xent",
    "siglip",
    "supervised",
    "vicreg",
    "vime",
]
