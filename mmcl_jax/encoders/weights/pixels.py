"""The first layer of an image encoder, for pixels in [0, 1] and images of one channel, from weights for others."""

from typing import Literal

import jax
import numpy as np

from mmcl_jax.encoders.resnet import IMAGENET
from mmcl_jax.encoders.torch_names import Arrays
from mmcl_jax.errors import check

Pixels = Literal["unit", "imagenet", "inception"]
Channels = Literal["same", "sum"]
# Torchvision's weights expect ImageNet's, and most of timm's Vision Transformers expect "inception".
_PIXELS = {"imagenet": IMAGENET, "inception": ((0.5,) * 3, (0.5,) * 3)}
_COLOURS = 3


def for_colours(params: Arrays, *, key: str) -> Arrays:
    """Return the shapes of the parameters of the same encoder for images of three channels.

    Raises:
      UserError: the encoder is no ResNet and no Vision Transformer on images of one channel.
    """
    first = _first(params)
    shape = first and params[first]["kernel"].shape
    check(
        bool(first) and shape[2] == 1,
        f"{key}_channels: 'sum' is for ResNets and Vision Transformers on images of 1 channel; leave this key out.",
    )
    kernel = jax.ShapeDtypeStruct((*shape[:2], _COLOURS, shape[3]), params[first]["kernel"].dtype)
    return {**params, first: {**params[first], "kernel": kernel}}


def summed(params: Arrays) -> Arrays:
    """Return the parameters for images of one channel: the first kernel is summed over its channels.

    The result is that of an image whose channels are all the same.
    """
    first = _first(params)
    kernel = params[first]["kernel"].sum(axis=2, keepdims=True)
    return {**params, first: {**params[first], "kernel": kernel}}


def for_unit_pixels(params: Arrays, statistics: Arrays, *, pixels: Pixels, key: str) -> tuple[Arrays, Arrays]:
    """Return weights for pixels x in [0, 1] from those for (x - mean) / std.

    The first layer of (x - mean) / std by the kernel W is that of x by W / std, less the sum of W mean / std over the
    kernel. The bias of the patches takes the sum in; of a ResNet, the running mean of the norm behind the convolution.

    Raises:
      UserError: the encoder is no ResNet and no Vision Transformer on images of three channels.
    """
    mean, std = (np.array(values, np.float32) for values in _PIXELS[pixels])
    first = _first(params)
    check(
        bool(first) and params[first]["kernel"].shape[2] == len(mean),
        f"{key}_pixels: {pixels!r} is for ResNets and Vision Transformers on images of 3 channels; use 'unit'.",
    )
    kernel = params[first]["kernel"]
    scaled = kernel / std[:, None]
    shift = (scaled * mean[:, None]).sum(axis=(0, 1, 2))
    layer = {**params[first], "kernel": scaled}
    if first == "patches":
        return {**params, first: {**layer, "bias": layer["bias"] - shift}}, statistics
    norm = {**statistics["norm"], "mean": statistics["norm"]["mean"] + shift}
    return {**params, first: layer}, {**statistics, "norm": norm}


def _first(params: Arrays) -> str:
    """Return the name of the first layer of a ResNet or a Vision Transformer; "" of any other encoder."""
    return next((name for name in ("patches", "conv") if "kernel" in params.get(name, {})), "")
