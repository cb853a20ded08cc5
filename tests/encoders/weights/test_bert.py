"""Weights of Hugging Face's BERTs: names of all times, sizes that differ, and the files beside the weights."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from mmcl_jax.encoders.torch_names import Arrays, leaves_of, to_torch
from mmcl_jax.encoders.transformers.bert import bert
from mmcl_jax.encoders.weights.bert import bert_name, check_settings
from mmcl_jax.encoders.weights.tower import TowerWeights, read_tower
from mmcl_jax.errors import UserError
from mmcl_jax.training.state.train_state import split_model

from . import made

KEY = "config.encoders.report.weights"
SIZES = {"vocabulary": 20, "width": 8, "heads": 2, "hidden": 12, "layers": 2, "positions": 16, "frozen_layers": None}
HEADS = {"pooler.dense.weight": np.ones((8, 8), np.float32), "pooler.dense.bias": np.ones(8, np.float32)}
NUMBERS = {"embeddings.position_ids": np.arange(16)[None]}


@functools.cache
def shapes(**options: Any) -> tuple[Arrays, Arrays]:
    return split_model(nnx.eval_shape(lambda: bert(**{**SIZES, **options}, rngs=nnx.Rngs(0))))


@functools.cache
def drawn() -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes())


def theirs() -> dict[str, np.ndarray]:
    return to_torch(*drawn(), name=bert_name)


def read(path: Path, **options: Any) -> TowerWeights:
    return read_tower(path, *shapes(**options), key=KEY, family="bert")


def equal(weights: TowerWeights) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, weights.params, drawn()[0]))


def old(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def test_names_are_those_of_hugging_face() -> None:
    """Written down, so that both directions cannot be wrong alike; with two sizes that tell [O, I] from [I, O]."""
    block = {
        f"attention.{part}": shape
        for name in ("self.query", "self.key", "self.value", "output.dense")
        for part, shape in ((f"{name}.weight", (8, 8)), (f"{name}.bias", (8,)))
    }
    block |= {"intermediate.dense.weight": (12, 8), "intermediate.dense.bias": (12,)}
    block |= {"output.dense.weight": (8, 12), "output.dense.bias": (8,)}
    block |= {f"{of}LayerNorm.{part}": (8,) for of in ("attention.output.", "output.") for part in ("weight", "bias")}
    tables = {"word": 20, "position": 16, "token_type": 2}
    expected = {f"embeddings.{name}_embeddings.weight": (rows, 8) for name, rows in tables.items()}
    expected |= {f"embeddings.LayerNorm.{part}": (8,) for part in ("weight", "bias")}
    expected |= {f"encoder.layer.{layer}.{name}": shape for layer in range(2) for name, shape in block.items()}
    assert {name: array.shape for name, array in theirs().items()} == expected


@pytest.mark.parametrize("rename", [str, old], ids=["present", "old"])
@pytest.mark.parametrize("prefix", ["", "bert.", "0.auto_model."])
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_weights_below_any_prefix(tmp_path: Path, prefix: str, suffix: str, rename: Callable[[str], str]) -> None:
    state = {rename(f"{prefix}{name}"): array for name, array in {**theirs(), **HEADS, **NUMBERS}.items()}
    if prefix:
        state["cls.predictions.bias"] = np.ones(20, np.float32)
    path = tmp_path / f"w.{suffix}"
    if suffix == "bin":
        made.save(path, state)
    else:
        safetensors.numpy.save_file(state, path)
    weights = read(path)
    assert equal(weights)
    outside = ["cls.predictions.bias"] if prefix else []
    assert sorted(weights.record["left_out"]) == sorted([*outside, *(f"{prefix}{name}" for name in HEADS)])
    said = weights.describe(KEY)
    assert said.startswith(f"{KEY}: 37 tensors of {path}")
    assert "pixels" not in said


def test_our_own_names(tmp_path: Path) -> None:
    for state in (to_torch(*drawn()), {".".join(path): leaf for path, leaf in leaves_of(*drawn())}):
        safetensors.numpy.save_file(state, tmp_path / "w.safetensors")
        assert equal(read(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 12}, "the weights are of the width 8, and the encoder is of the width 12; set {}.width to 8."),
        ({"vocabulary": 1999}, "the weights are for a vocabulary of 20 tokens, and the encoder has one of 1,999; "
         "prepare the store with the vocab.txt that belongs to the weights."),
        ({"positions": 32}, "the weights have 16 positions, and the encoder has 32; set {}.positions to 16."),
        ({"hidden": None}, "the hidden layers of the weights are of the width 12, and those of the encoder of 32; set "
         "{}.hidden to 12."),
        ({"layers": 3}, "the weights have 2 layers, and the encoder has 3; set {}.layers to 2."),
        ({"layers": 1}, "the weights have 2 layers, and the encoder has 1; set {}.layers to 2."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("names", ["hugging face", "ours", "torch"])
def test_another_size_is_named_with_its_option(
    tmp_path: Path, options: dict[str, Any], sentence: str, names: str
) -> None:
    state = theirs()
    if names != "hugging face":
        state = to_torch(*drawn()) if names == "torch" else {".".join(path): leaf for path, leaf in leaves_of(*drawn())}
    safetensors.numpy.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UserError) as error:
        read(tmp_path / "w.safetensors", **options)
    assert str(error.value) == f"{KEY}: {tmp_path / 'w.safetensors'}: {sentence.format('config.encoders.report')}"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s | {"embeddings.token_type_embeddings.weight": np.ones((1, 8), np.float32)},
         r"'embeddings.token_type_embeddings.weight' is of shape \[1, 8\], and the encoder needs \[2, 8\]"),
        (lambda s: {k: v for k, v in s.items() if "value.bias" not in k}, "lacks encoder.layer.0.attention.self.value"),
        (lambda s: s | {"embeddings.word_embeddings.weight": np.ones(20, np.float32)}, r"is of shape \[20\], and"),
        (lambda s: s | {"embeddings.LayerNorm.bias": np.full(8, np.nan, np.float32)}, "holds numbers that are not fin"),
        (lambda s: s | {"adapter.weight": np.ones(2, np.float32)}, "has adapter.weight, which the encoder lacks"),
    ],
)  # fmt: skip
def test_other_tensors_are_named(tmp_path: Path, change: Any, sentence: str) -> None:
    safetensors.numpy.save_file(change(theirs()), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=sentence):
        read(tmp_path / "w.safetensors")


def beside(folder: Path, *, vocabulary: tuple[str, ...] = ("[UNK]", "a")) -> None:
    check_settings(folder, heads=2, vocabulary=vocabulary, key="config.encoders.report")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"num_attention_heads": 4}, "config.encoders.report.heads: must be 4, as .*config.json says of the weights"),
        ({"hidden_act": "relu"}, "has hidden_act 'relu', and the encoder computes with 'gelu'; give the weights of"),
        ({"layer_norm_eps": 1e-5}, "has layer_norm_eps 1e-05, and the encoder computes with 1e-12"),
        ({"position_embedding_type": "relative_key"}, "has position_embedding_type 'relative_key', and"),
        ({"model_type": "roberta"}, "has model_type 'roberta', and the encoder computes with 'bert'"),
        ({"is_decoder": True}, "has is_decoder True, and"),
        ({"num_attention_heads": "2"}, "num_attention_heads.*; get it again, or put the weights into a folder of"),
        ("[", r"config.json is damaged .*; get it again"),
    ],
)
def test_settings_beside_the_weights_that_these_do_not_tell(tmp_path: Path, settings: Any, sentence: str) -> None:
    beside(tmp_path)
    fits = {"model_type": "bert", "num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "other": {}}
    (tmp_path / "config.json").write_text(json.dumps(fits))
    beside(tmp_path)
    text = settings if isinstance(settings, str) else json.dumps(fits | settings)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=sentence):
        beside(tmp_path)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_vocabulary_beside_the_weights_is_that_of_the_store(tmp_path: Path, end: str) -> None:
    """Token by token: numbers of one vocabulary are other words in another vocabulary of the same size."""
    (tmp_path / "vocab.txt").write_bytes(f"[UNK]{end or chr(10)}a{end}".encode())
    beside(tmp_path)
    beside(tmp_path, vocabulary=())
    for other, sentence in (
        (("[UNK]", "b"), "token 1 is 'a', not 'b'; prepare"),
        (("[UNK]",), "of the store; prepare"),
    ):
        with pytest.raises(UserError, match=f"config.encoders.report.weights: the vocabulary of the .*{sentence}"):
            beside(tmp_path, vocabulary=other)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"vocab.txt is no text in UTF-8; get it again"):
        beside(tmp_path)
