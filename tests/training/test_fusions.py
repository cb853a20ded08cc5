"""Fusions in training: every path that an encoder's features and parameters have, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.step import prepared
from mmcl_jax.cli.main import main
from mmcl_jax.config import encoder, projector, term, view
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.objectives.terms.matching import matching
from mmcl_jax.training.build import Experiment, build_experiment
from mmcl_jax.training.mesh import by_example, put, shardings_of
from mmcl_jax.training.step.train_step import check_step, make_step
from tests.training.test_scale import assert_same


@pytest.fixture
def config(tiny_config):
    """The image's places look at the row of the table."""
    made = tiny_config("digits_mmcl")
    made.views.fused = view("fused", of=("table", "image.local"))
    made.encoders.fusion = encoder("cross_attention", width=8, heads=2, blocks=1)
    made.objective = (term("matching"),)
    return made


def test_local_features_of_a_fusion_are_read(config, digits_store: Store) -> None:
    """Traces the step, without compiling it."""
    for key in ("fusion.local", "image.local"):
        config.projectors[key] = projector("mlp", hidden=8, out=8)
    config.objective = (term("matching"), term("local_alignment", between=("fused.local", "image.local")))
    made = build_experiment(config, digits_store, jax.devices()[:1])
    check_step(make_step(made), *made.shapes())


def test_a_fusion_trains_alike_in_slices_and_shares_with_all_that_encoders_have(config, digits_store: Store) -> None:
    """A head, a target network, frozen parameters, rates and an average; a third of the rows has no table."""
    config.encoders.fusion = encoder("concat_mlp", hidden=8, features=8)  # which compiles fast
    config.projectors["fusion:own"] = config.predictors["fusion:own"] = projector("linear", out=8)
    config.objective = (term("matching"), term("byol", between=("fused:own", "fused:own")))
    config.frozen, config.rates = ("encoders.fusion.layers.0.*",), {"encoders.fusion.layers.1.*": 0.5}
    config.average.kind = "ema"
    results = []
    for devices, micro_batch, junks in ((1, None, (0.0, np.nan, 1e30)), (2, 32, (np.nan,))):
        config.micro_batch = micro_batch
        made = build_experiment(config, digits_store, jax.devices()[:devices])
        made.batches.arrays["present/table"] = made.batches.arrays["id"] % 3 > 0
        compiled, state, constants = prepared(made)
        first = jax.device_get(state)
        for junk in junks:
            batch = made.batches[0]
            batch["table"] = np.where(batch["present/table"][:, None], batch["table"], np.float32(junk))
            given = jax.device_put(first, shardings_of(state))  # a step takes its state's memory
            results.append(jax.device_get(compiled(given, put(batch, by_example(made.mesh)), constants)))
    (after, metrics), *others, (after_slices, metrics_in_slices) = results
    for other in others:  # what absent rows hold changes no bit
        assert_same(other, results[0], rtol=0)
    assert_same(metrics_in_slices, metrics, rtol=2e-5)
    moments, expected = (
        jax.tree.leaves(optax.tree_utils.tree_get(one.optimizer_state, "mu")["encoders"])
        for one in (after_slices, after)
    )
    for mine, theirs in zip(moments, expected, strict=True):  # a tenth of the gradient
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    # Partners are drawn by the projectors' embeddings without a gradient: what moves these is their decay alone.
    drawn_by = {name: first.params["projectors"][name] for name in ("image", "table")}
    decayed = jax.tree.map(lambda param: 0.1 * config.optimizer.weight_decay * param, drawn_by)
    projected = optax.tree_utils.tree_get(after.optimizer_state, "mu")["projectors"]
    assert_same({name: projected[name] for name in drawn_by}, decayed, rtol=1e-6)
    rows = (made.batches[0]["id"] % 3 > 0).sum()
    assert {float(metrics[f"{name}/rows"]) for name in made.objective.names.values()} == {float(rows)}
    assert 0 < metrics["matching/image-table-fused:none/accuracy"] < 1
    assert not metrics["skipped"]

    def moved(part: str) -> bool:
        new, old = getattr(after, part)["encoders"]["fusion"], getattr(first, part)["encoders"]["fusion"]
        return any(bool((np.asarray(a) != b).any()) for a, b in zip(*map(jax.tree.leaves, (new, old)), strict=True))

    assert moved("params")
    assert moved("target")
    assert not moved("frozen")
    assert "fusion" in after.average["params"]["encoders"]
    assert after.params["encoders"]["fusion"]["layers"].keys() == {1}


def test_own_and_drawn_pairs_count_alike() -> None:
    """Of three rows, the second lacks a partner and the third is absent: 3 + 2 pairs, of which 4 are told rightly."""
    own = jnp.array([[0.0, 2.0], [1.0, 0.0], [0.0, 9.0]])
    logits = jnp.array([[[1.0, 0.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 9.0]], [[0.0, 9.0], [0.0, 9.0]]])
    there = jnp.array([[True, True], [True, False], [False, False]])
    loss = matching().with_metrics(
        each={"own": own}, pairs={"logits": logits, "present": there}, present=jnp.array([True, True, False])
    )
    expected = np.log1p(np.exp([-2.0, -1.0, 0.0, 1.0, -3.0])).sum() / 5
    np.testing.assert_allclose(loss.value, expected, rtol=1e-6)
    assert float(loss.metrics["accuracy"]) == pytest.approx(4 / 5)
    assert float(loss.rows) == 2


def change(path: str, value: Any) -> Callable[[Any], None]:
    def made(config: Any) -> None:
        parent = config
        *parts, last = path.split("/")
        for part in parts:
            parent = parent[part]
        with config.unlocked(), parent.ignore_type():
            parent[last] = value

    return made


REFUSED = {
    "an unknown view": (
        change("views/fused/of", ("image.local", "tabel")),
        r"config.views.fused.of: there is no view 'tabel' \(did you mean 'table'\?\); config.views has image, table\.",
    ),
    "local features that there are not": (
        change("views/fused/of", ("image", "table.local")),
        r"config.views.fused.of: the encoder of 'table' has no local features for 'table.local'; name 'table'",
    ),
    "no part": (change("views/fused/of", ()), r"config.views.fused: of must name the features to fuse"),
    "a head": (
        change("views/fused/of", ("image:pgs", "table")),
        r"config.views.fused: of: features are fused before any head; write 'image', not 'image:pgs'",
    ),
    "no text of the form": (change("views/fused/of", ("image.map", "table")), r"'image.map' is not VIEW or VIEW.local"),
    "a part twice": (change("views/fused/of", ("table", "table")), r"config.views.fused: of: 'table' is named twice"),
    "a fusion of a fusion": (
        change("views/second", view("fused", of=("image", "fused"), modality="fusion_2")),
        r"config.views.second.of: 'fused' is fused itself; name views of inputs, such as image, table\.",
    ),
    "an input's name": (
        change("views/fused/modality", "table"),
        r"config.views.fused.modality: 'table' is one of config.inputs; give the fusion another name",
    ),
    "no fusion": (
        change("views/fused/modality", "other"),
        r"config.views.fused.modality: config.encoders has no 'other'",
    ),
    "an encoder of images": (
        change("encoders/fusion", encoder("cnn")),
        r"config.encoders.fusion.name: the encoder 'cnn' takes the kind image, and 'fusion' is of the kind fusion",
    ),
    "a fusion of an image": (
        change("encoders/image", encoder("concat_mlp")),
        r"config.encoders.image.name: the encoder 'concat_mlp' takes the kind fusion, and 'image' is of the kind image",
    ),
    "one part for attention": (
        change("views/fused/of", ("image.local",)),
        r"config.encoders.fusion: cross_attention needs at least two parts",
    ),
    "views of other features": (
        change("views/second", view("fused", of=("image.local", "table"))),
        r"config.views.second.of: this view fuses image.local and table, and another view of 'fusion' fuses ",
    ),
    "a head that a fusion has not": (
        change("objective", (term("clip", between=("fused", "table")),)),
        r"config.objective.0.between: 'fused' needs 'fusion' in config.projectors, which has image, table; add it",
    ),
    "columns of a fusion": (
        change("objective", (term("vime", between=("fused",)),)),
        r"config.objective.0: between must name a view of a table, and 'fused' is none",
    ),
    "matching in a view that is not fused": (
        change("objective", (term("matching", between=("image", "table", "image:none")),)),
        r"the term 'matching' needs parts of 'image' and 'table' in the view 'image', which has none",
    ),
    "matching behind a head": (
        change("objective", (term("matching", between=("image", "table", "fused")),)),
        r"config.objective.0: between: the third text must name a fused view's pooled features; write 'fused:none'",
    ),
    "matching of one view": (
        change("objective", (term("matching", between=("image", "image", "fused:none")),)),
        r"config.objective.0: between must name two views, not 'image' twice",
    ),
    "local features in a term of pooled ones": (
        change("objective", (term("clip", between=("image.local", "table")),)),
        r"config.objective.0.between: 'image.local' is local, and the term 'clip' compares pooled features; write "
        r"'image', or choose a term of local features: infomax, local_alignment",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fused_is_refused_before_it_is_compiled(config, digits_store: Store, case: str) -> None:
    alter, sentence = REFUSED[case]
    alter(config)

    def begin() -> Experiment:
        made = build_experiment(config, digits_store, jax.devices()[:1])
        check_step(make_step(made), *made.shapes())
        return made

    with pytest.raises(UserError, match=sentence):
        begin()


def test_pairs_need_a_fusion_without_model_state(config, digits_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmcl_jax.encoders.fusions import concat_mlp

    original = concat_mlp.ConcatMLP.__init__

    def with_norm(self: Any, **sizes: Any) -> None:
        original(self, **sizes)
        self.mean = concat_mlp.nnx.BatchStat(jnp.zeros(3))

    monkeypatch.setattr(concat_mlp.ConcatMLP, "__init__", with_norm)
    config.encoders.fusion = encoder("concat_mlp", hidden=8, features=8)
    made = build_experiment(config, digits_store, jax.devices()[:1])
    with pytest.raises(UserError, match="the fusion 'fusion' has model state, such as normalisation by the batch"):
        check_step(make_step(made), *made.shapes())


def test_a_bad_fusion_ends_the_command_with_one_sentence(
    digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "from mmcl_jax.config import encoder, load, view\n\n\ndef get_config():\n"
        "    config = load('digits_mmcl')\n"
        "    config.views.fused = view('fused', of=('image', 'tabel'))\n"
        "    config.encoders.fusion = encoder('concat_mlp')\n"
        "    return config\n"
    )
    status = main(
        [
            "pretrain",
            "--config",
            str(tmp_path / "mine.py"),
            f"--config.data={digits_store.directory}",
            "--workdir",
            str(tmp_path / "run"),
        ]
    )
    said = capsys.readouterr().err.strip().splitlines()
    assert (status, len(said)) == (2, 1)
    assert "config.views.fused.of: there is no view 'tabel'" in said[0]
    assert not (tmp_path / "run").exists()
