"""Missing values and the scale of vectors: fitted on training rows, and the same in every consumer."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mmcl_jax.config import input
from mmcl_jax.data.inputs import Inputs, entry_of
from mmcl_jax.data.kinds.vector import MISSING, modes
from mmcl_jax.data.schema import Column, Entry, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.sources.features import vector_features
from mmcl_jax.training.runs.renamed import translated
from mmcl_jax.views import vector
from tests.data.many import store_of

pytestmark = pytest.mark.core


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("many") / "store")


def calls(rows: int, features: int = 9) -> np.ndarray:
    rng = np.random.default_rng(rows)
    drawn = rng.integers(0, 3, (rows, features), dtype=np.int8)
    drawn[rng.random(drawn.shape) < 0.2] = MISSING
    drawn[:, 0] = MISSING
    return drawn


def most_frequent(drawn: np.ndarray) -> list[int]:
    """Return the mode of each column by SciPy, which returns the lowest of several; 0 for a column without values."""
    columns = [column[column != MISSING] for column in drawn.T]
    return [int(stats.mode(column).mode) if len(column) else 0 for column in columns]


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
@pytest.mark.parametrize("block", [1, 2**20])
def test_the_mode_is_the_most_frequent_present_value_and_the_lowest_of_several(
    rows: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmcl_jax.data.kinds.vector._BLOCK_BYTES", block)
    drawn = calls(rows)
    np.testing.assert_array_equal(modes(drawn, drawn.shape[1]), most_frequent(drawn))


@pytest.mark.parametrize("missing", ["mean", "mode"])
@pytest.mark.parametrize("scale", ["std", "none"])
def test_values_are_imputed_and_scaled_by_the_training_rows(
    store: Store, tmp_path: Path, missing: str, scale: str
) -> None:
    options = {"calls": input(missing=missing, scale=scale)}
    fitted = Inputs.fit(options, store)
    fitted.write(tmp_path)
    arrays = Inputs.read(tmp_path, options).fitted["calls"]
    stored = np.asarray(store.read("train", ["calls"])["calls"][:])
    train = np.where(stored == MISSING, np.nan, stored.astype(np.float64))
    there = ~np.isnan(train).all(axis=1)
    mean, std = np.nanmean(train[there], axis=0), np.nanstd(train[there], axis=0)
    fill = mean if missing == "mean" else most_frequent(stored)
    rows = np.asarray(store.read("test", ["calls"])["calls"][:])
    expected = np.where(rows == MISSING, np.asarray(fill)[None], rows)
    if scale == "std":
        expected = (expected - mean[None]) / np.where(std > 0, std, 1)[None]
    viewed = vector()(rows, train=False, **arrays).values
    np.testing.assert_allclose(viewed, expected, atol=1e-5)
    np.testing.assert_allclose(vector_features(rows, arrays), viewed, rtol=1e-6)
    assert (rows == MISSING).any()


def test_the_default_is_what_it_was(store: Store) -> None:
    fitted = Inputs.fit({"calls": input(missing="mean")}, store).fitted["calls"]
    assert set(fitted) == {"mean", "std"}
    missing = np.full((1, len(fitted["mean"])), MISSING, np.int8)
    assert not np.asarray(vector()(missing, train=False, **fitted).values).any()


@pytest.mark.foreign
@pytest.mark.parametrize("fill", [None, [1.0, 0.0]])
def test_pytorch_imputes_alike(fill: list[float] | None) -> None:
    torch = pytest.importorskip("torch")
    from tests.export.test_torch_inputs import export_of

    fitted = {"mean": np.array([0.5, 0.0], np.float32), "std": np.array([2.0, 1.0], np.float32)}
    fitted |= {} if fill is None else {"fill": np.array(fill, np.float32)}
    arrays = {f"snp/{name}": torch.from_numpy(array) for name, array in fitted.items()}
    rows = np.array([[2, MISSING], [MISSING, 1]], np.int8)
    found = export_of(torch, None, arrays, snp={"kind": "vector", "dtype": "int8", "shape": [2]}).view(
        "snp", torch.from_numpy(rows)
    )
    expected = vector()(rows, train=False, **{name: jnp.asarray(array) for name, array in fitted.items()}).values
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


SCHEMA = Schema(
    {
        "scores": Entry(kind="vector", shape=(2,), dtype="float32"),
        "calls": Entry(kind="vector", shape=(2,), dtype="int8"),
        "table": Entry.table((Column(name="a", kind="continuous"),)),
        "image": Entry(kind="image", shape=(4, 4, 3), dtype="uint8"),
    }
)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("scores", {"missing": "mode"}, "inputs.scores.missing: 'scores' is stored as float32, and mode"),
        ("calls", {"missing": "token"}, "a vector has no policy 'token'"),
        ("table", {"missing": "mode"}, "a table has no policy 'mode'"),
        ("table", {"scale": "none"}, "inputs.table.scale: the table 'table' has no such option"),
        ("image", {"scale": "none"}, "inputs.image.scale: the image 'image' has no such option"),
    ],
)
def test_options_that_do_not_fit_are_refused(name: str, options: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        entry_of(SCHEMA, name, input(**options))


def test_a_run_of_an_earlier_version_is_scaled() -> None:
    inputs = {"pgs": {"of": "", "missing": "mean"}}
    assert translated({"inputs": inputs, "encoders": {}, "stop": {}})["inputs"]["pgs"]["scale"] == "std"


def test_an_input_that_nobody_in_train_has_is_refused(store: Store) -> None:
    train = store.read("train", ["scores"])["scores"]
    assert train.present is not None
    with pytest.raises(UserError, match=r"config.inputs.scores: no training row .* has 'scores'; leave it out"):
        Inputs.fit({"scores": input(missing="mean")}, store, np.flatnonzero(~train.present))
