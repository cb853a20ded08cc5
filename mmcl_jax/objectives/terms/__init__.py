"""The terms, one file each; importing them registers them."""

from mmcl_jax.objectives.terms.agreement import byol, simsiam
from mmcl_jax.objectives.terms.barlow_twins import barlow_twins
from mmcl_jax.objectives.terms.clip import clip
from mmcl_jax.objectives.terms.local_alignment import local_alignment
from mmcl_jax.objectives.terms.matching import matching
from mmcl_jax.objectives.terms.nnclr import nnclr
from mmcl_jax.objectives.terms.nt_xent import nt_xent
from mmcl_jax.objectives.terms.siglip import siglip
from mmcl_jax.objectives.terms.supcon import supcon
from mmcl_jax.objectives.terms.supervised import supervised
from mmcl_jax.objectives.terms.vicreg import vicreg
from mmcl_jax.objectives.terms.vime import vime

__all__ = [
    "barlow_twins",
    "byol",
    "clip",
    "local_alignment",
    "matching",
    "nnclr",
    "nt_xent",
    "siglip",
    "simsiam",
    "supcon",
    "supervised",
    "vicreg",
    "vime",
]
