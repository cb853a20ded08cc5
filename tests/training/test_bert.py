"""A run whose report encoder begins with weights of a file, and has frozen layers."""

from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.config import encoder, experiment, input, projector, term, view
from mmcl_jax.data.kinds.text import TextKind
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.encoders import Model
from mmcl_jax.encoders.torch_names import to_torch
from mmcl_jax.encoders.transformers.bert import bert
from mmcl_jax.encoders.weights.bert import bert_name
from mmcl_jax.errors import UserError
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.model import length_cautions, sentence_cautions
from mmcl_jax.training.state.train_state import split_model
from tests.data.many import WORDS, store_of

from .test_loop import quiet

SIZES = {"layers": 2, "width": 8, "heads": 2, "positions": 8}
KEY = "config.encoders.report"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ConfigDict:
    """Of images and reports, with weights in a folder of Hugging Face's."""
    folder = tmp_path_factory.mktemp("bert")
    drawn = split_model(bert(**SIZES, vocabulary=len(WORDS), frozen_layers=None, rngs=nnx.Rngs(7)))
    safetensors.numpy.save_file(to_torch(*drawn, name=bert_name), folder / "model.safetensors")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    made = experiment()
    made.data = str(store_of(folder / "store").directory)
    made.batch_size, made.epochs, made.batch_norm.group_size, made.schedule.warmup_epochs = 8, 1, 8, 0
    made.inputs = {"image": input(), "report": input()}
    made.views = {"image": view("resized"), "report": view("tokens", modality="report")}
    made.encoders = {"image": encoder("cnn", channels=(4,)), "report": encoder("bert", **SIZES, frozen_layers=1)}
    made.encoders.report.weights = str(folder / "model.safetensors")
    made.projectors = {name: projector("linear", out=4) for name in made.inputs}
    made.objective = (term("clip", between=("image", "report")),)
    made.average.kind = "ema"
    return made


def test_frozen_layers_stay_those_of_the_file(config: ConfigDict, tmp_path: Path) -> None:
    """And have no moments; the stored model is whole, with the averages of what is trained."""
    file = safetensors.numpy.load_file(config.encoders.report.weights)
    whole = pretrain(config, tmp_path / "whole", log=quiet)
    frozen = whole.state.frozen["encoders"]["report"]
    assert set(frozen) == {"tokens", "positions", "types", "norm", "blocks"}
    assert set(frozen["blocks"]) == {0}
    for name, array in to_torch(frozen, {}, name=bert_name).items():
        np.testing.assert_array_equal(array, file[name])
    kept = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(whole.state.optimizer_state)]
    assert {"['blocks'][1]" in path for path in kept if "['report']" in path and "['encoders']" in path} == {True}
    encoder = Run.open(tmp_path / "whole").model().encoders["report"]
    np.testing.assert_array_equal(encoder.tokens[...], file["embeddings.word_embeddings.weight"])
    assert not np.array_equal(encoder.blocks[1].out.bias[...], file["encoder.layer.1.output.dense.bias"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weights": ""}, f"{KEY}.frozen_layers: layers with random parameters would be frozen; set {KEY}.weights to"),
        ({"width": 4}, f"{KEY}.weights: .*are of the width 8, and the encoder is of the width 4; set {KEY}.width to 8"),
        ({"layers": 3}, f"the weights have 2 layers, and the encoder has 3; set {KEY}.layers to 2"),
        ({"frozen_layers": 3}, f"{KEY}: frozen_layers must be None or from 0 to the number of layers, 2, not 3"),
        ({"vocabulary": 4}, f"{KEY}.weights: .* for a vocabulary of 5 tokens, and the encoder has one of 4; prepare"),
    ],
)  # fmt: skip
def test_what_does_not_fit_ends_before_the_run_is_written(
    config: ConfigDict, tmp_path: Path, change: dict, sentence: str
) -> None:
    other = config.copy_and_resolve_references()
    with other.unlocked():
        other.encoders.report.update(change)
    with pytest.raises(UserError, match=sentence):
        pretrain(other, tmp_path / "run", log=quiet)
    assert not Run.exists(tmp_path / "run")


def test_the_vocabulary_beside_the_weights_is_compared(config: ConfigDict, tmp_path: Path) -> None:
    other = config.copy_and_resolve_references()
    weights = Path(config.encoders.report.weights)
    (tmp_path / weights.name).write_bytes(weights.read_bytes())
    (tmp_path / "vocab.txt").write_text("\n".join(reversed(WORDS)) + "\n")
    other.encoders.report.weights = str(tmp_path / weights.name)
    with pytest.raises(UserError, match=r"vocab.txt, is not that of the store: token 0 is 'left', not '\[UNK\]'; prep"):
        pretrain(other, tmp_path / "run", log=quiet)


def test_sentences_without_a_vector_or_beyond_the_view_are_said() -> None:
    """Numbers may be left out, and a text may have no sentence."""
    texts = np.full((4, 5, 2), -1, np.int32)
    texts[0, :4] = [[1, 0], [1, 0], [1, 2], [1, 3]]
    texts[1, :5] = [[1, 0], [1, 1], [1, 2], [1, 3], [1, 4]]
    texts[2, :1] = [[1, 7]]
    schema = Schema({"report": Entry(kind="text", shape=(5, 2), dtype="int32")})
    fitted = TextKind().fit(texts, "report", schema, WORDS)
    assert fitted.rows_by_sentences.tolist() == [1, 1, 0, 1, 0, 1]

    def said(sentences: int) -> tuple[str, ...]:
        made = nnx.eval_shape(
            lambda: bert(**SIZES, vocabulary=5, frozen_layers=None, sentences=sentences, rngs=nnx.Rngs(0))
        )
        model = Model({"report": made}, {}, {}, {}, {})
        return sentence_cautions(model, {"report": {"rows_by_sentences": fitted.rows_by_sentences}})

    assert fitted.rows_by_tokens.tolist() == [1, 1, 0, 0, 1, 1]
    (cut,) = length_cautions(
        ConfigDict({"report": view("report", max_tokens=5), "whole": view("report", special_tokens=False)}),
        {"report": {"rows_by_tokens": fitted.rows_by_tokens}},
    )
    begins = (
        "config.views.report.max_tokens: 2 of 4 training rows have more than 3 tokens, up to 5; sentences that do not"
    )
    assert cut.startswith(begins)
    (sentence,) = said(2)
    assert sentence.startswith(f"{KEY}.sentences: 2 of 4 training rows have more than 2 sentences, up to 5; sentences")
    assert said(5) == ()
