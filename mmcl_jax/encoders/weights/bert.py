"""The BERTs of Hugging Face: their names as ours, and whether their sizes and settings are those of the encoder."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np

from mmcl_jax.border import Open, read_json
from mmcl_jax.data.kinds.text import word_pieces
from mmcl_jax.encoders.torch_names import Arrays, Layout, Namer, torch_name
from mmcl_jax.encoders.torch_names import Path as LeafPath
from mmcl_jax.errors import UserError, check
from mmcl_jax.text import brief

# Tensors that an encoder does not have: the pooler, heads, and the numbers of positions, which are no weights.
BERT_ONLY = (r"(pooler|cls|classifier|qa_outputs|lm_head)\..*", r"embeddings\.position_ids")
SETTINGS, VOCABULARY = "config.json", "vocab.txt"  # beside the weights
_NAMES = (
    (r"^tokens$", "embeddings.word_embeddings.weight"),
    (r"^positions$", "embeddings.position_embeddings.weight"),
    (r"^types$", "embeddings.token_type_embeddings.weight"),
    (r"^norm\.", "embeddings.LayerNorm."),
    (r"^blocks\.(\d+)\.(query|key|value)\.", r"encoder.layer.\1.attention.self.\2."),
    (r"^blocks\.(\d+)\.mixed\.", r"encoder.layer.\1.attention.output.dense."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.layer.\1.attention.output.LayerNorm."),
    (r"^blocks\.(\d+)\.hidden\.", r"encoder.layer.\1.intermediate.dense."),
    (r"^blocks\.(\d+)\.out\.", r"encoder.layer.\1.output.dense."),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.layer.\1.output.LayerNorm."),
)
# The names of scales and biases in files that were made from those of TensorFlow.
_OLD = {".LayerNorm.gamma": ".LayerNorm.weight", ".LayerNorm.beta": ".LayerNorm.bias"}


class _Settings(TypedDict):
    """What `config.json` of Hugging Face says of a model, as far as the weights do not."""

    model_type: NotRequired[str]
    num_attention_heads: NotRequired[int]
    hidden_act: NotRequired[str]
    layer_norm_eps: NotRequired[float]
    position_embedding_type: NotRequired[str]
    is_decoder: NotRequired[bool]


def bert_name(path: LeafPath) -> str:
    """Return the name of a leaf of a `Bert` in Hugging Face's `BertModel`.

    Example:
      >>> bert_name(("blocks", "0", "query", "kernel")), bert_name(("norm", "scale"))
      ('encoder.layer.0.attention.self.query.weight', 'embeddings.LayerNorm.weight')
    """
    name = torch_name(path)
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def present_names(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a state dict with the present names of scales and biases of norms.

    Example:
      >>> list(present_names({"bert.embeddings.LayerNorm.gamma": np.ones(2)}))
      ['bert.embeddings.LayerNorm.weight']
    """
    renamed = {}
    for name, array in state.items():
        for old, new in _OLD.items():
            name = f"{name.removesuffix(old)}{new}" if name.endswith(old) else name
        renamed[name] = array
    return renamed


def check_sizes(
    tensors: Mapping[str, np.ndarray], params: Arrays, *, name: Namer, layout: Layout, source: str, key: str
) -> None:
    """Check that weights are of the sizes of the encoder.

    Args:
      tensors: of the file, without their prefix.
      params: of the encoder, or their shapes.
      name: of a leaf in the file.
      layout: of kernels in the file.
      source: of the tensors, for messages.
      key: of the encoder in the config.

    Raises:
      UserError: a size is another one; the sentence names the option, or what to prepare the store with.
    """

    def sizes(path: LeafPath) -> tuple[int, ...] | None:
        array = tensors.get(name(path))
        return array.shape if array is not None and array.ndim == 2 else None  # else `from_torch` says so

    def layers(present: Any) -> int:
        return next(number for number in range(1 << 20) if not present(number))

    if tables := sizes(("tokens",)):
        vocabulary, width = tables
        own, own_width = params["tokens"].shape
        check(
            width == own_width,
            f"{source}: the weights are of the width {width}, and the encoder is of the width {own_width}; set "
            f"{key}.width to {width}.",
        )
        check(
            vocabulary == own,
            f"{source}: the weights are for a vocabulary of {vocabulary:,} tokens, and the encoder has one of {own:,}; "
            f"prepare the store with the {VOCABULARY} that belongs to the weights.",
        )
    if tables := sizes(("positions",)):
        check(
            tables[0] == len(params["positions"]),
            f"{source}: the weights have {tables[0]} positions, and the encoder has {len(params['positions'])}; set "
            f"{key}.positions to {tables[0]}.",
        )
    if kernel := sizes(("blocks", "0", "hidden", "kernel")):
        hidden, own = kernel[layout == "flax"], params["blocks"][0]["hidden"]["kernel"].shape[1]
        check(
            hidden == own,
            f"{source}: the hidden layers of the weights are of the width {hidden}, and those of the encoder of {own}; "
            f"set {key}.hidden to {hidden}.",
        )
    count = layers(lambda number: sizes(("blocks", str(number), "query", "kernel")))
    check(
        count in (0, len(params["blocks"])),
        f"{source}: the weights have {count} layers, and the encoder has {len(params['blocks'])}; set {key}.layers to "
        f"{count}.",
    )


def check_settings(folder: Path, *, heads: int, vocabulary: Sequence[str], key: str) -> None:
    """Check the files of Hugging Face beside weights, where there are any: weights do not tell what these say.

    Args:
      folder: of the weights.
      heads: number of attention heads of the encoder.
      vocabulary: of the store, in the order of its tokens; () if it is not known.
      key: of the encoder in the config.

    Raises:
      UserError: the weights are of another model, of another number of heads, or for another vocabulary.
    """
    file = folder / SETTINGS
    if file.is_file():
        remedy = "get it again, or put the weights into a folder of their own"
        found: _Settings = read_json(file, Annotated[_Settings, Open], remedy)
        own = {
            "model_type": "bert",
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "position_embedding_type": "absolute",
            "is_decoder": False,
        }
        for name, value in own.items():
            check(
                found.get(name, value) == value,
                f"{key}.weights: {file} has {name} {brief(found.get(name))}, and the encoder computes with {value!r}; "
                "give the weights of another model.",
            )
        theirs = found.get("num_attention_heads", heads)
        check(theirs == heads, f"{key}.heads: must be {theirs}, as {file} says of the weights, not {heads}.")
    file = folder / VOCABULARY
    if file.is_file() and vocabulary:
        try:
            tokens = word_pieces(file)
        except UnicodeDecodeError as error:
            raise UserError(f"{file} is no text in UTF-8; get it again.") from error
        other = [number for number, pair in enumerate(zip(tokens, vocabulary, strict=False)) if pair[0] != pair[1]]
        check(
            len(tokens) == len(vocabulary) and not other,
            f"{key}.weights: the vocabulary of the weights, {file}, is not that of the store"
            + (f": token {other[0]} is {brief(tokens[other[0]])}, not {brief(vocabulary[other[0]])}" if other else "")
            + f"; prepare the store with this {VOCABULARY}.",
        )
