"""Masked table modelling in training: slices and devices, validation passes, refusals; numbers as labels; few rows."""

import dataclasses
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import polars as pl
import pytest
from ml_collections import ConfigDict
from PIL import Image

from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.explain.base import ExplainOptions
from mmcl_jax.explain.losses.objective import objective_of
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.build import build_experiment, fit_inputs
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.loop import pretrain
from tests.training.test_loop import quiet
from tests.training.test_scale import assert_same, experiment_of, one_step

SMALL = [
    "batch_size=32", "batch_norm.group_size=4", "epochs=2", "log_every=1", "checkpoint_every=1000",
    "monitor.epochs=None", "encoders.table.name=table_mlp", "encoders.table.hidden=8", "encoders.table.features=6",
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A table of numbers and categories, a fifth of whose cells are empty, with tiny images, a class and a number."""
    folder, rng, rows = tmp_path_factory.mktemp("holes"), np.random.default_rng(0), 64
    (folder / "images").mkdir()
    for row in range(rows):
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(folder / "images" / f"{row}.png")
    columns: dict[str, list] = {
        "length": rng.normal(5, 2, rows).round(3).tolist(),
        "weight": rng.lognormal(0, 1, rows).round(3).tolist(),
        "colour": rng.choice(["red", "green", "blue"], rows).tolist(),
        "cased": rng.choice(["in a box", "in a bag"], rows).tolist(),
    }
    holes = {name: [None if rng.random() < 0.2 else value for value in values] for name, values in columns.items()}
    labels = {"price": rng.normal(40, 9, rows).round(2).tolist(), "grade": rng.choice(["a", "b"], rows).tolist()}
    table = pl.DataFrame({"file": [f"{row}.png" for row in range(rows)], **holes, **labels})
    table.write_csv(folder / "things.csv")
    request = Request(
        table=folder / "things.csv",
        images=folder / "images",
        image_column=("file",),
        label=("price",),
        ignore=("grade",),
        split=(0.75, 0.125, 0.125),
    )
    return prepare(request, folder / "store")


def config_of(store: Store, name: str, *overrides: str) -> ConfigDict:
    return load(name, [f"data={store.directory}", *SMALL, *overrides])


def test_slices_and_devices_change_nothing(store: Store) -> None:
    """One step: on one device at once, and on eight in slices."""
    config = "mt_cmtm/mask:membranes"
    options = ["views.table.fill=token", "batch_norm.group_size=2", "objective.0.categories=cross_entropy"]
    expected, expected_metrics = one_step(experiment_of(config_of(store, config, *options), 1))
    state, metrics = one_step(experiment_of(config_of(store, config, *options, "micro_batch=16"), 8))
    assert_same(metrics, expected_metrics, rtol=2e-5)
    assert {"masked_table/table/numbers", "masked_table/table/categories", "masked_table/table/accuracy"} <= set(
        metrics
    )
    moments, expected_moments = (
        jax.tree.leaves(optax.tree_utils.tree_get(s.optimizer_state, "mu")) for s in (state, expected)
    )
    largest = max(np.abs(moment).max() for moment in expected_moments)
    for mine, theirs in zip(moments, expected_moments, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6 * largest)


def test_validation_passes_mask_the_same_cells(store: Store, tmp_path: Path) -> None:
    """At a learning rate of almost 0, two passes measure the same loss, of masked cells."""
    config = config_of(store, "mt_cmtm/mask:membranes", "validation.epochs=1", "schedule.learning_rate=1e-30")
    pretrain(config, tmp_path / "run", devices=jax.devices()[:1], log=quiet)
    first, second = (line for line in read_metrics(tmp_path / "run") if "validation/loss" in line)
    assert first["validation/masked_table/table/numbers"] > 0.1
    losses = [line["validation/masked_table/table"] for line in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)  # the statistics of batch normalisation move


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["views.table.fill=token", f"inputs.table.missing={policy}"],
            f"config.inputs.table.missing: the view 'table' hides cells, which the policy '{policy}' cannot represent; "
            "set config.inputs.table.missing=token.",
        )
        for policy in ("refuse", "mean", "iterative")
    ]
    + [
        (
            ["objective.0.head=tokens"],
            "config.objective.0: the head 'tokens' needs local features, and the encoder has none; choose an encoder "
            "with tokens, such as table_transformer, or set head='pooled' and over='own'.",
        ),
    ],
)
def test_refused_before_anything_is_built(overrides: list[str], sentence: str, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        pretrain(config_of(store, "mt_cmtm/mask:membranes", *overrides), tmp_path / "run", log=quiet)
    assert str(error.value) == sentence
    assert list(tmp_path.iterdir()) == []
    for remedy in ("inputs.table.missing=token", "objective.0.head=pooled"):  # the remedies of the sentences work
        overrides = [*overrides, remedy]
    build_experiment(config_of(store, "mt_cmtm/mask:membranes", *overrides), store, jax.devices()[:1])


def test_an_encoder_without_a_policy_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmcl_jax.encoders import ENCODERS
    from mmcl_jax.encoders.mlp import TableMLP, table_mlp

    def fixed(*, widths, rngs, norm, dtype, hidden: int = 8, features: int = 6) -> TableMLP:
        return table_mlp(widths=widths, rngs=rngs, norm=norm, dtype=dtype, hidden=hidden, features=features)

    monkeypatch.setitem(ENCODERS._factories, "fixed_mlp", fixed)
    config = config_of(store, "mt_cmtm/mask:membranes", "views.table.fill=token", "encoders.table.name=fixed_mlp")
    with pytest.raises(UserError, match=r"config.encoders.table.name: .*'fixed_mlp' takes no policy .* table_mlp"):
        build_experiment(config, store)


def test_a_view_that_masks_nothing_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="masked_table needs to know which cells 'table' masked; give it the result of"):
        pretrain(config_of(store, "mt_cmtm/mask:membranes", "views.table.name=rows"), tmp_path / "run", log=quiet)


def test_the_loss_of_masked_cells_is_not_explained(store: Store) -> None:
    config = config_of(store, "mt_cmtm/mt_cmtm:membranes", "encoders.image.channels=(4,)")
    inputs = fit_inputs(config, store)
    run = types.SimpleNamespace(config=config, schema=inputs.schema, inputs=inputs)
    with pytest.raises(UserError, match="'masked_table/table' reads masked cells, which neither the model nor a plain"):
        objective_of(run, ExplainOptions())
    assert list(objective_of(run, ExplainOptions(term="clip/image-table")).terms) == ["term_0"]


def test_a_number_is_learnt_in_units_of_the_training_rows(store: Store) -> None:
    """The mean, as a prediction, costs the variance of the standardised label; the absolute error is in its unit."""
    config = config_of(store, "mt_cmtm/scratch:membranes")
    term = build_experiment(config, store, jax.devices()[:1]).objective.terms["term_0"]
    assert term.targets == ("price",)
    price = store.labels("train")["labels"][:, 0]
    found = term.with_metrics(each=jnp.zeros((len(price), 1)), targets={"price": jnp.asarray(price, jnp.float32)})
    assert float(found.value) == pytest.approx(1, rel=1e-5)
    assert float(found.metrics["mae"]) == pytest.approx(np.abs(price - price.mean()).mean(), rel=1e-5)
    some = jnp.asarray(np.where(np.arange(len(price)) < 3, np.nan, price), jnp.float32)
    partly = term.with_metrics(each=jnp.full((len(price), 1), 2.0), targets={"price": some})
    z = (price[3:] - price.mean()) / price.std()
    assert float(partly.value) == pytest.approx(np.mean((2 - z) ** 2), rel=1e-4)
    assert int(partly.rows) == len(price) - 3


def test_a_class_goes_before_a_number_and_either_can_be_named(store: Store, tmp_path: Path) -> None:
    request = Request(
        table=store.directory.parent / "things.csv",
        images=store.directory.parent / "images",
        image_column=("file",),
        label=("price", "grade"),
    )
    both = prepare(request, tmp_path / "both")
    for overrides, target in (([], "grade"), (["objective.0.target=price"], "price")):
        experiment = build_experiment(config_of(both, "mt_cmtm/scratch:membranes", *overrides), both, jax.devices()[:1])
        assert experiment.objective.terms["term_0"].targets == (target,)
    with pytest.raises(
        UserError, match=r"config.objective.0.target: there is no label 'cost'.*price, grade|grade, price"
    ):
        build_experiment(config_of(both, "mt_cmtm/scratch:membranes", "objective.0.target=cost"), both)
    overrides = ["objective.0.labels=eliminate", "encoders.image.channels=(4,)"]
    eliminating = config_of(store, "mt_cmtm/contrast:membranes", *overrides)
    with pytest.raises(UserError, match=r"this term needs a class label, and the store's labels are numbers"):
        build_experiment(eliminating, store, jax.devices()[:1])


@pytest.mark.parametrize(
    ("group", "sentence", "fitting"),
    [
        (32, "use 32 or fewer.", ["batch_size=32"]),
        (
            64,
            "use 48 or fewer, and config.batch_norm.group_size=None.",
            ["batch_size=48", "batch_norm.group_size=None"],
        ),
    ],
)
def test_a_batch_larger_than_the_training_rows(group: int, sentence: str, fitting: list[str], store: Store) -> None:
    """48 rows train; the sentence names a batch that works, with which an epoch has one step."""
    large = ["batch_size=64", f"batch_norm.group_size={group}", "epochs=1"]
    with pytest.raises(UserError) as error:
        build_experiment(config_of(store, "mt_cmtm/mask:membranes", *large), store, jax.devices()[:1])
    split = "config.batch_size: 64 is larger than the training split, which has 48 rows; "
    assert str(error.value) == split + sentence
    config = config_of(store, "mt_cmtm/mask:membranes", *large, *fitting)
    experiment = build_experiment(config, store, jax.devices()[:1])
    assert experiment.batches.steps_per_epoch == 1
    assert np.isfinite(float(experiment.schedule.learning_rate(jnp.int32(0))))  # OneCycle of one step


def test_digits_with_a_number_beside_the_class(digits_store: Store, digits_raw: Request, tmp_path: Path) -> None:
    """The store of the documentation's command: the same rows and splits; the column is a label and no feature."""
    request = dataclasses.replace(digits_raw, label=("digit", "morphology_5"))
    store = prepare(request, tmp_path / "store")
    assert [label.name for label in store.schema.labels] == ["digit", "morphology_5"]
    names = [column.name for column in digits_store.schema.columns]
    assert [column.name for column in store.schema.columns] == [name for name in names if name != "morphology_5"]
    for split in ("train", "val", "test"):
        assert store.keys(split) == digits_store.keys(split)
        column = np.asarray(digits_store.rows(split)["table"])[:, names.index("morphology_5")]
        np.testing.assert_array_equal(store.labels(split)["labels"][:, 1], column)
