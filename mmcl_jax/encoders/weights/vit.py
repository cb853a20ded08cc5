"""The Vision Transformers of torchvision and timm: their names, fused layers and position embeddings, as ours.

Both libraries have one matrix `[3 D, D]` for the queries, keys and values of a block, and we have two, so a state dict
is first `divided`; `torchvision_vit_name` and `timm_vit_name` then name the arrays of `VisionTransformer` in it.
"""

import math
import re
from collections.abc import Mapping

import jax
import numpy as np

from mmcl_jax.encoders.torch_names import Path, torch_name
from mmcl_jax.errors import check

# Tensors that an encoder does not have: classifiers.
CLASSIFIERS = (r"(heads?|pre_logits)\..*",)
_TIMM = (
    (r"^patches\.", "patch_embed.proj."),
    (r"^class_token$", "cls_token"),
    (r"^positions$", "pos_embed"),
    (r"\.attention\.out\.", ".attn.proj."),
    (r"\.attention\.", ".attn."),
    (r"^(blocks\.\d+)\.hidden\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.out\.", r"\1.mlp.fc2."),
)
_TORCHVISION = (
    (r"^patches\.", "conv_proj."),
    (r"^positions$", "encoder.pos_embedding"),
    (r"^norm\.", "encoder.ln."),
    (r"\.attention\.out\.", ".self_attention.out_proj."),
    (r"\.attention\.", ".self_attention."),
    (r"\.norm(\d)\.", r".ln_\1."),
    (r"^(blocks\.\d+)\.hidden\.", r"\1.mlp.0."),
    (r"^(blocks\.\d+)\.out\.", r"\1.mlp.3."),
    (r"^blocks\.", "encoder.layers.encoder_layer_"),
)
_FUSED = re.compile(r"(.*\.)(?:attn\.qkv\.|self_attention\.in_proj_)(weight|bias)")
# The names of the perceptron in the files that torchvision publishes.
_OLD = {".mlp.linear_1.": ".mlp.0.", ".mlp.linear_2.": ".mlp.3."}


def timm_vit_name(path: Path) -> str:
    """Return the name of a leaf of a `VisionTransformer` in a `divided` state dict of timm.

    Example:
      >>> timm_vit_name(("blocks", "0", "hidden", "kernel")), timm_vit_name(("positions",))
      ('blocks.0.mlp.fc1.weight', 'pos_embed')
    """
    return _renamed(torch_name(path), _TIMM)


def torchvision_vit_name(path: Path) -> str:
    """Return the name of a leaf of a `VisionTransformer` in a `divided` state dict of torchvision.

    Example:
      >>> torchvision_vit_name(("blocks", "0", "norm1", "scale"))
      'encoder.layers.encoder_layer_0.ln_1.weight'
    """
    return _renamed(torch_name(path), _TORCHVISION)


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def divided(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a state dict with `query` and `key_value` in place of the fused layers, and torchvision's present names.

    Example:
      >>> state = divided({"blocks.0.attn.qkv.weight": np.ones((6, 2)), "norm.bias": np.ones(2)})
      >>> {name: array.shape for name, array in state.items()}
      {'blocks.0.attn.query.weight': (2, 2), 'blocks.0.attn.key_value.weight': (4, 2), 'norm.bias': (2,)}
    """
    result: dict[str, np.ndarray] = {}
    for name, array in state.items():
        fused = _FUSED.fullmatch(name)
        if fused and array.ndim > 0 and len(array) % 3 == 0:
            module = fused[1] + ("attn" if ".qkv." in name else "self_attention")
            width = len(array) // 3
            result[f"{module}.query.{fused[2]}"] = array[:width]
            result[f"{module}.key_value.{fused[2]}"] = array[width:]
        else:
            for old, new in _OLD.items():
                name = name.replace(old, new)
            result[name] = array
    return result


def check_patches(kernel: np.ndarray, ours: tuple[int, ...], *, layout: str, source: str, key: str) -> None:
    """Check the layer of the patches, whose shape depends on the images and on `patch`.

    Args:
      kernel: of the file.
      ours: the shape `[h, w, I, O]` that the encoder needs.
      layout: of the kernel; see `torch_names`.
      source: of the kernel, for messages.
      key: of the encoder in the config.

    Raises:
      UserError: the weights are for other patches, for another number of channels, or of another width.
    """
    if kernel.ndim != 4:
        return  # `from_torch` says so
    height, width, channels, features = kernel.shape if layout == "flax" else (*kernel.shape[2:], *kernel.shape[1::-1])
    check(
        channels == ours[2],
        f"{source}: the weights are for images of {channels} channels, and those of the store have {ours[2]}; prepare "
        f"the store with --channels {channels}"
        + (f", or set {key}.weights_channels to 'sum'." if (channels, ours[2]) == (3, 1) else "."),
    )
    check(
        (height, width) == ours[:2],
        f"{source}: the weights are for patches of {height} x {width} pixels, and the encoder's are {ours[0]} x "
        f"{ours[1]}; set {key}.patch to {height}.",
    )
    check(
        features == ours[3],
        f"{source}: the weights are of the width {features}, and the encoder is of the width {ours[3]}; set {key}.name "
        "to vit_small (384), vit_base (768) or vit, which has the option width.",
    )


def on_grid(
    positions: np.ndarray, grid: tuple[int, int], *, square: bool, interpolate: bool, source: str, key: str
) -> np.ndarray:
    """Return the position embeddings `[1, 1 + h w, D]` of a grid, from those `[1, 1 + L, D]` of a file.

    The class token's embedding stays as it is. The others are resampled bicubically, with antialiasing, as by timm's
    `resample_abs_pos_embed`.

    Args:
      positions: of the file; its grid is taken as ours if it has as many patches, and else as square.
      grid: (h, w).
      square: whether the grid of the file is square for sure, as torchvision's is.
      interpolate: whether the user asked for another grid than the file's.
      source: of the embeddings, for messages.
      key: of the weights in the config.

    Raises:
      UserError: the grids differ and `interpolate` is false, or the grid of the file is unknown.
    """
    if positions.ndim != 3 or len(positions) != 1:
        return positions  # `from_torch` says so
    count = positions.shape[1] - 1
    side = math.isqrt(max(count, 0))
    is_square = side > 0 and side * side == count
    if count == math.prod(grid) and not (square and is_square and grid != (side, side)):
        return positions
    check(
        is_square,
        f"{source}: its {count} position embeddings of patches are of no square grid, and the encoder has a grid of "
        f"{grid[0]} x {grid[1]}; give weights of that grid.",
    )
    check(
        interpolate,
        f"{source}: its position embeddings are of a grid of {side} x {side} patches, and the encoder has {grid[0]} x "
        f"{grid[1]}; set {key}_positions to 'bicubic' to resample them, or change the size of the view.",
    )
    patches = positions[0, 1:].astype(np.float32).reshape(side, side, -1)
    patches = jax.image.resize(patches, (*grid, patches.shape[2]), "cubic")
    return np.concatenate([positions[:, :1], np.asarray(patches).reshape(1, math.prod(grid), -1)], axis=1)
