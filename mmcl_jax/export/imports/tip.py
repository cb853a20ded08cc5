"""The transformers of TIP's released code (Du et al., ECCV 2024), and which tensor in them is which array of ours."""

import re
from collections.abc import Mapping

import numpy as np
from flax import nnx

from mmcl_jax.encoders import Model
from mmcl_jax.encoders.fusions.cross_attention import CrossAttention
from mmcl_jax.encoders.torch_names import Path as LeafPath
from mmcl_jax.encoders.torch_names import torch_name
from mmcl_jax.encoders.transformers.number_embeddings import Linear
from mmcl_jax.encoders.transformers.table_transformer import TableTransformer
from mmcl_jax.errors import check

Rules = tuple[tuple[str, str], ...]

_BLOCKS: Rules = (
    (r"^blocks\.", "transformer_blocks."),
    (r"\.hidden\.", ".mlp.fc1."),
    (r"^(transformer_blocks\.\d+)\.out\.", r"\1.mlp.fc2."),
)
_TABLE: Rules = (
    *_BLOCKS,
    (r"^categories$", "cat_embedding.weight"),
    (r"^columns$", "column_embedding.weight"),
    (r"^class_token$", "cls_token"),
    (r"^missing_token$", "mask_special_token"),
    (r"^numbers\.layer\.", "con_proj."),
    (r"\.attention\.out\.", ".attn.proj."),
    (r"\.attention\.", ".attn."),
)
_FUSION: Rules = (
    *_BLOCKS,
    (r"^inputs\.0\.", "image_proj."),
    (r"^inputs\.1\.", "tabular_proj."),
    (r"^norms\.0\.", "image_norm."),
    (r"\.norms\.0\.", ".norm1."),
    (r"\.norms\.1\.", ".cross_norm."),
    (r"\.norms\.2\.", ".norm2."),
    (r"\.own\.out\.", ".attn.proj."),
    (r"\.own\.", ".attn."),
    (r"\.cross\.out\.", ".cross_attn.proj."),
    (r"\.cross\.query\.", ".cross_attn.q_proj."),
    (r"\.cross\.key_value\.", ".cross_attn.kv_proj."),
)
# The layers of terms, by their names of ours.
HEADS = {"classifier": "predictor_tabular.cat_classifier.", "regressor": "predictor_tabular.con_regressor.",
         "match": "itm_head."}  # fmt: skip
PREFIXES = {
    TableTransformer: ("encoder_tabular.", "model.encoder_tabular."),
    CrossAttention: ("encoder_multimodal.", "model.encoder_multimodal."),
}
_FIRST = {TableTransformer: "column_embedding.", CrossAttention: "image_proj."}  # a module of every such part
# An encoder has a layer of numbers and a table of categories even if its table has no such columns.
UNUSED = r".*\b(cat_embedding|con_proj|cat_classifier|con_regressor)\.(weight|bias)"
OURS = ("unknown",)  # arrays of ours that TIP does not have


def is_of(module: nnx.Module, name: str) -> bool:
    """Return whether a name after the prefix of a part is one of this kind of transformer."""
    return name.startswith(_FIRST[type(module)])


def inner_name(module: nnx.Module, path: LeafPath) -> str:
    """Return the name of an array of a transformer, after the prefix of its part; see `in_our_layout`.

    Example:
      >>> inner_name(TableTransformer.__new__(TableTransformer), ("blocks", "0", "attention", "out", "kernel"))
      'transformer_blocks.0.attn.proj.weight'
    """
    name = torch_name(path)
    for pattern, replacement in _TABLE if isinstance(module, TableTransformer) else _FUSION:
        name = re.sub(pattern, replacement, name)
    return name


def check_form(module: nnx.Module, where: str) -> None:
    """Raise `UserError` unless the options of a transformer are those of TIP's code."""
    if isinstance(module, TableTransformer):
        linear = not module.numeric or isinstance(module.numbers, Linear)
        check(linear, f"{where}.numbers: TIP's checkpoints have linear embeddings of numbers; set it to 'linear'.")
    if isinstance(module, CrossAttention):
        check(module.norm is not None, f"{where}.form: TIP's checkpoints have another form; set it to 'tip'.")


def in_our_layout(state: Mapping[str, np.ndarray], model: Model) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the tensors in the layouts of our arrays, and the name in the checkpoint of every tensor.

    Queries are apart from keys and values, which are one tensor in TIP; tokens are vectors; and the vectors of columns
    are in the order of our columns. (TIP puts categorical columns first.)
    """
    tensors: dict[str, np.ndarray] = {}
    origin: dict[str, str] = {}
    orders = [_order(encoder) for encoder in model.encoders.values() if isinstance(encoder, TableTransformer)]

    def add(name: str, array: np.ndarray, of: str) -> None:
        tensors[name], origin[name] = array, of

    for name, array in state.items():
        if name.endswith(".attn.qkv.weight") and ".transformer_blocks." in name:
            width = len(array) // 3
            add(name.replace(".qkv.", ".query."), array[:width], name)
            add(name.replace(".qkv.", ".key_value."), array[width:], name)
        elif name.endswith((".cls_token", ".mask_special_token")) and "encoder_tabular." in name:
            add(name, array.reshape(-1), name)
        elif name.endswith("encoder_tabular.column_embedding.weight") and orders and len(array) == len(orders[0]):
            add(name, array[orders[0]], name)
        else:
            add(name, array, name)
    return tensors, origin


def _order(encoder: TableTransformer) -> np.ndarray:
    """Return the index in TIP of the class token and of every column."""
    return np.array([0, *(1 + np.argsort([*encoder.categorical, *encoder.numeric]))])
