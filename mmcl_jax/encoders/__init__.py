"""From views to features: encoders of each kind of input, and the projectors behind them.

Importing an encoder registers it: a new encoder is a file here and a line in this list. An encoder also works without a
config: `resnet18(shape=(32, 32, 3), rngs=nnx.Rngs(0))(images, train=False).pooled`.
"""

from mmcl_jax.encoders import projectors as projectors
from mmcl_jax.encoders.base import ENCODERS, PROJECTORS, Encoder, Projector, ViewSpec
from mmcl_jax.encoders.cnn import cnn as cnn
from mmcl_jax.encoders.cnn3d import cnn3d as cnn3d
from mmcl_jax.encoders.dcgan.encoder import dcgan as dcgan
from mmcl_jax.encoders.dcgan.heads import latent_mlp as latent_mlp
from mmcl_jax.encoders.dcgan.heads import local_shortcut as local_shortcut
from mmcl_jax.encoders.decoders import DECODERS, Decoder
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.fusions.concat_mlp import concat_mlp as concat_mlp
from mmcl_jax.encoders.fusions.cross_attention import cross_attention as cross_attention
from mmcl_jax.encoders.fusions.daft import daft as daft
from mmcl_jax.encoders.fusions.fused import fused as fused
from mmcl_jax.encoders.fusions.max import max as max
from mmcl_jax.encoders.fusions.mul import mul as mul
from mmcl_jax.encoders.keys import FeatureKey, parse_key
from mmcl_jax.encoders.laplace.conv import laplace_conv as laplace_conv
from mmcl_jax.encoders.laplace.dcgan import laplace_dcgan as laplace_dcgan
from mmcl_jax.encoders.laplace.mlp import laplace_mlp as laplace_mlp
from mmcl_jax.encoders.mlp import table_mlp as table_mlp
from mmcl_jax.encoders.model import Model, asked_of_tables, build_model, view_specs
from mmcl_jax.encoders.resnet import resnet18 as resnet18
from mmcl_jax.encoders.resnet import resnet50 as resnet50
from mmcl_jax.encoders.resnet1d.resnet1d import resnet1d_cbam as resnet1d_cbam
from mmcl_jax.encoders.text import text_embedding as text_embedding
from mmcl_jax.encoders.transformers.bert import bert as bert
from mmcl_jax.encoders.transformers.table_transformer import table_transformer as table_transformer
from mmcl_jax.encoders.transformers.vit import vit as vit
from mmcl_jax.encoders.transformers.vit import vit_base as vit_base
from mmcl_jax.encoders.transformers.vit import vit_small as vit_small
from mmcl_jax.encoders.vectors.genetics_mlp import genetics_mlp as genetics_mlp
from mmcl_jax.encoders.vectors.vector_mlp import vector_mlp as vector_mlp

__all__ = [
    "DECODERS",
    "ENCODERS",
    "PROJECTORS",
    "Decoder",
    "Encoder",
    "FeatureKey",
    "Features",
    "Model",
    "Projector",
    "ViewSpec",
    "asked_of_tables",
    "build_model",
    "parse_key",
    "view_specs",
]
