"""Decoders: from a vector of features back to the view of an image or a volume.

Importing a decoder registers it: a new decoder is a file here and a line in this list.
"""

from mmcl_jax.encoders.decoders.base import DECODERS, Decoder
from mmcl_jax.encoders.decoders.conv import conv_decoder as conv_decoder
from mmcl_jax.encoders.decoders.dcgan import dcgan_decoder as dcgan_decoder
from mmcl_jax.encoders.decoders.mlp import mlp_decoder as mlp_decoder

__all__ = ["DECODERS", "Decoder"]
