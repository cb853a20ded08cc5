"""Heads that an export holds predict in PyTorch what they predict here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import nnx

import mmcl_jax as mj
from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.dense import LinearSegmentation
from mmcl_jax.evaluation.heads.encoded import FeatureEncoder
from mmcl_jax.evaluation.heads.engine import Trained
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.standard import Standard
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.protocols.made import encoders_of
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.export.release import release_of
from mmcl_jax.tasks import TASKS, Units
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model
from tests.export.untrained import drawn

RNG = np.random.default_rng(3)
HEADS: dict[str, dict[str, Any]] = {
    "probe": {"reads": ("right", "pgs"), "features": 24, "task": TASKS["class"](label="grade", classes=3)},
    "fine-tuned": {"reads": ("pgs", "snps"), "features": 24, "task": TASKS["number"](label="pressure"), "tuned": True},
    "initial": {"reads": ("pgs",), "features": 16, "task": TASKS["number"](label="pressure"), "kind": "random"},
    "mask": {
        "reads": ("right",),
        "features": 8,
        "task": TASKS["segmentation"](label="disc", classes=2),
        "head": LinearSegmentation(size=(16, 16)),
    },
}
WEIGHTS = {"probe": "last", "fine-tuned": "fine-tuned", "initial": "initial", "mask": "last"}


def head_of(
    run: Run, *, reads: tuple, features: int, task: Any, tuned: bool = False, kind: str = "run", head: Any = None
) -> KeptHead:
    """A head with drawn weights, as evaluation would keep it."""
    encoder = None
    if tuned:
        _, module = encoders_of(nnx.eval_shape(run.untrained_model), run.config, reads)
        params, statistics = (drawn(tree, RNG) for tree in split_model(module))
        fitted = {name: dict(run.inputs.fitted.get(name, {})) for name in reads}
        encoder = FeatureEncoder(params=params, statistics=statistics, fitted=fitted)
    names = {"kernel": (features, task.outputs), "bias": (task.outputs,)}
    trained = Trained(
        reads=reads,
        task=task,
        head=head or LinearHead(),
        params={name: RNG.normal(size=shape).astype(np.float32) for name, shape in names.items()},
        units=Units(shift=120.0, scale=10.0) if task.name == "number" else Units(),
        encoder=encoder,
        rate=0.1,
        round=1,
        rounds=1,
        reached=0.5,
    )
    score = Score(
        method="m", seed=0, protocol="finetune" if tuned else "probe", input="+".join(reads), label=task.label,
        budget="all", draw=0, metrics={"mae": float("nan"), "top1": 0.5}, chosen={}, task=task.name,
    )  # fmt: skip
    of = {"run": "r", "method": "m", "protocol": score.protocol, "input": score.input, "label": task.label,
          "budget": "all", "source": kind, "step": None if kind == "random" else run.step()}  # fmt: skip
    standard = None if tuned else Standard(RNG.normal(size=features), RNG.uniform(0.5, 2, size=features))
    labels = {task.label: ("none", "mild", "severe") if task.name == "class" else ()}
    return KeptHead(source=Source(kind, run), trained=trained, standard=standard, labels=labels, of=of, score=score)


@pytest.mark.foreign
@pytest.mark.parametrize("name", HEADS)
def test_a_head_predicts_alike(
    name: str, every_run: Run, every_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "initial":  # the weights of the checkpoint are drawn, too, and need no program
        monkeypatch.setattr(Run, "untrained_model", Run.model)
    torch = pytest.importorskip("torch")
    from mmcl_jax.export.modeling_torch import load

    head = head_of(every_run, **HEADS[name])
    exported = mj.export(every_run, head=head, out=tmp_path / "out")
    assert exported.weights == WEIGHTS[name]
    model = load(exported.directory)
    assert model.card["head"]["labels"] == {key: list(texts) for key, texts in head.labels.items()}
    assert model.card["metrics"][0]["metrics"] == {"mae": None, "top1": {"mean": 0.5, "std": 0.0}}
    arrays = input_arrays(every_store, "train", every_run.inputs, head.trained.reads)
    rows = {name: np.asarray(arrays[name][:]) for name in head.trained.reads}
    with torch.no_grad():
        found = model.predict({name: torch.from_numpy(array) for name, array in rows.items()})
    np.testing.assert_allclose(found.numpy(), head.outputs(rows), rtol=1e-4, atol=1e-4)


def test_heads_and_other_options(every_run: Run) -> None:
    head = head_of(every_run, **HEADS["fine-tuned"])
    assert release_of(every_run, head=head).projectors == ()  # they belong to other encoders
    for options, sentence in (
        ({"inputs": ("image",)}, "--input image: the head reads pgs+snps; leave --input out."),
        ({"average": False}, "--average: the head decides which weights are exported; leave the option out."),
    ):
        with pytest.raises(UserError) as error:
            release_of(every_run, head=head, **options)
        assert str(error.value) == sentence
    raw = head_of(every_run, reads=("pgs",), features=6, task=TASKS["number"](label="pressure"), kind="raw")
    with pytest.raises(UserError, match="--head: this head reads the raw values of pgs, and no encoder"):
        release_of(every_run, head=raw)
