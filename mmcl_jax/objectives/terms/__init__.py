"""The terms, one file each. Importing a term registers it: a new term is a file here and a line below."""

from mmcl_jax.objectives.terms.agreement import byol as byol
from mmcl_jax.objectives.terms.agreement import simsiam as simsiam
from mmcl_jax.objectives.terms.barlow_twins import barlow_twins as barlow_twins
from mmcl_jax.objectives.terms.clip import clip as clip
from mmcl_jax.objectives.terms.local_alignment import local_alignment as local_alignment
from mmcl_jax.objectives.terms.masked_table import masked_table as masked_table
from mmcl_jax.objectives.terms.matching import matching as matching
from mmcl_jax.objectives.terms.nnclr import nnclr as nnclr
from mmcl_jax.objectives.terms.nt_xent import nt_xent as nt_xent
from mmcl_jax.objectives.terms.pixpro import pixpro as pixpro
from mmcl_jax.objectives.terms.prediction.multi_label import multi_label as multi_label
from mmcl_jax.objectives.terms.prediction.supervised import supervised as supervised
from mmcl_jax.objectives.terms.siglip import siglip as siglip
from mmcl_jax.objectives.terms.supcon import supcon as supcon
from mmcl_jax.objectives.terms.taxonomy.cca import cca as cca
from mmcl_jax.objectives.terms.taxonomy.infomax import infomax as infomax
from mmcl_jax.objectives.terms.taxonomy.mmvae import mmvae as mmvae
from mmcl_jax.objectives.terms.taxonomy.mmvae_original import mmvae_original as mmvae_original
from mmcl_jax.objectives.terms.taxonomy.pixl import pixl as pixl
from mmcl_jax.objectives.terms.taxonomy.reconstruction import reconstruction as reconstruction
from mmcl_jax.objectives.terms.taxonomy.supcon_dim import supcon_dim as supcon_dim
from mmcl_jax.objectives.terms.vicreg import vicreg as vicreg
from mmcl_jax.objectives.terms.vime import vime as vime
