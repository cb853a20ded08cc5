"""Views whose draws are part of the data: evaluation, embeddings and programs see one rotated digit, by its id."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.config import encoder, experiment, input, projector, term, view
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.encoded import trained_spec
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.export.programs.agreement import expected_outputs, random_rows, relative_difference
from mmcl_jax.export.programs.onnx_file import model_of
from mmcl_jax.export.programs.program import programs_of
from mmcl_jax.export.release import release_of
from mmcl_jax.training.runs.run import Run
from mmcl_jax.views import rotated
from mmcl_jax.views.randomness import plain_keys
from tests.export.untrained import untrained_run

pytestmark = pytest.mark.core
ROWS = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nobody trained, with a rotated and a noisy view of one stored image."""
    folder = tmp_path_factory.mktemp("drawn")
    frame = pl.DataFrame({"key": [f"row{i}" for i in range(ROWS)], "digit": [str(i % 3) for i in range(ROWS)]})
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 16, 16, 1), np.uint8)
    store = mj.prepare(frame, pixels, key_column="key", label="digit", out=folder / "store")
    config = experiment()
    config.name, config.data = "drawn", str(store.directory)
    names = ("rotated", "noisy")
    config.inputs = {name: input(of="image") for name in names}
    config.views = {name: view(name, modality=name) for name in names}
    config.encoders = {name: encoder("cnn", channels=(4,)) for name in names}
    config.projectors = {name: projector("linear", out=4) for name in names}
    config.objective = (term("clip", between=names),)
    return untrained_run(config, store, folder / "run")


@pytest.fixture(scope="module")
def source(run: Run) -> Source:
    return Source("run", run)


@pytest.fixture(scope="module")
def every(run: Run, source: Source) -> np.ndarray:
    """The features of the rotated view of all test rows, as `mmcl evaluate` computes them."""
    return source.of_split(run.store(), "test", "rotated")[0]


def views_of(store: Store, split: str) -> np.ndarray:
    """The rotated views of a split, computed by hand from the ids."""
    images = jnp.asarray(store.read(split, ["image"])["image"][:])
    ids = jnp.asarray(store.lists.id[store.rows_of(split)].astype(np.uint32))
    return np.asarray(rotated().plain(images, plain_keys("rotated", ids), {}).values)


def test_features_are_of_the_views_by_id_in_any_order_and_block(run: Run, source: Source, every: np.ndarray) -> None:
    store = run.store()
    by_hand = np.asarray(source.model.encoders["rotated"](jnp.asarray(views_of(store, "test")), train=False).pooled)
    np.testing.assert_allclose(every, by_hand, rtol=2e-3, atol=2e-3)
    rows, order = source.rows(store, "test", ["rotated"]), np.array([5, 0, 3])
    few = source.encoder("rotated", "pooled")({name: np.asarray(values[order]) for name, values in rows.items()})
    np.testing.assert_array_equal(few, every[order])
    still = frozen_encoder(source.model, config=run.config, modality="rotated", batch_size=4)
    others = {**rows, "id": rows["id"] + 1000}
    assert np.abs(still(others) - every).max() > 0.01
    with pytest.raises(UserError, match="'rotated' of 'rotated' is drawn by the ids of rows; pass the ids"):
        still({"rotated": rows["rotated"]})


def test_the_baseline_of_pixels_sees_the_view(run: Run) -> None:
    store = run.store()
    raw = Source("raw", run).of_split(store, "test", "rotated")[0]
    np.testing.assert_allclose(raw, views_of(store, "test").reshape(len(raw), -1), atol=1e-5)


def test_embeddings_of_the_store_and_of_new_rows(run: Run, every: np.ndarray, tmp_path: Path) -> None:
    """A new row is known by its number in the table: row 0 of a table has the draws of row 0 of the store's table."""
    store = run.store()
    mj.embed(run.directory, store=store.directory, split="test", input="rotated", out=tmp_path / "stored.parquet")
    stored = pl.read_parquet(tmp_path / "stored.parquet")
    np.testing.assert_array_equal(np.stack(stored["features"].to_numpy()), every)
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 16, 16, 1), np.uint8)
    mj.embed(run.directory, images=pixels, input="rotated", out=tmp_path / "new.parquet")
    new = np.stack(pl.read_parquet(tmp_path / "new.parquet")["features"].to_numpy())
    np.testing.assert_array_equal(new[store.lists.id[store.rows_of("test")]], every)


def test_a_program_takes_the_ids(run: Run) -> None:
    release = release_of(run, inputs=("rotated",))
    (program,) = programs_of(release)
    assert program.inputs["id"].dtype == "uint32"
    rows = random_rows(program, run.inputs, 9)
    expected = expected_outputs(release, program, rows)["features"]
    assert relative_difference(program(rows)["features"], expected) < 1e-4
    other = program({**rows, "id": rows["id"] ^ 1})["features"]
    assert relative_difference(other, expected) > 1e-3
    with pytest.raises(UserError, match=r"draws by the ids of rows, .* take --format stablehlo"):
        model_of(program)


def test_finetuning_draws_anew(run: Run) -> None:
    """The view stays as it is in training, where its keys are those of the step."""
    assert dict(trained_spec(run.config, "rotated", probability=0.8))["name"] == "rotated"
