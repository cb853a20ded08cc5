"""The estimator: its embeddings are those of the run, and it does what scikit-learn's users expect."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars as pl
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks as checks

import mmcl_jax as mj
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.source import Source

N = 40
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (N, 8, 8, 3), np.uint8)
TINY = {
    "epochs": 1, "schedule.warmup_epochs": 0, "batch_size": 8, "batch_norm.group_size": 8,
    "encoders.image.channels": (4, 8), "encoders.table.hidden": 8, "encoders.table.features": 4,
    "projectors.image.hidden": 8, "projectors.table.hidden": 8, "inputs.table.missing": "mean",
}  # fmt: skip
FRAME = pl.DataFrame(
    {
        "file": [f"{i}.png" for i in range(N)],
        "price": [None if i % 7 == 3 else 10.5 * i for i in range(N)],
        "gearbox": ["manual", "manual", "automatic", "automatic"] * (N // 4),
        "model": [f"m{i % 2}" for i in range(N)],
    }
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def fitted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> mj.ContrastiveEmbedder:
    workdir = tmp_path_factory.mktemp("kept")
    return mj.fit(
        FRAME, photos, image_column="file", label="model", config="digits_mmcl", overrides=TINY, input="image+table",
        workdir=workdir,
    )  # fmt: skip


@pytest.fixture(scope="module")
def embedded(fitted: mj.ContrastiveEmbedder) -> np.ndarray:
    return fitted.transform(FRAME)


def test_embeddings_are_the_features_that_the_run_is_evaluated_by(
    fitted: mj.ContrastiveEmbedder, embedded: np.ndarray
) -> None:
    run, store = mj.Run.open(fitted.workdir_ / "run"), mj.Store.open(fitted.workdir_ / "store")
    assert embedded.shape == (N, 8 + 4)
    assert sum(store.sizes.values()) == N
    data, source = LabelledStore.of(store, "model", None), Source("run", run)
    of = {modality: source.features(data, modality) for modality in ("image", "table")}
    for split in store.sizes:
        expected = np.concatenate([of[modality][split] for modality in of], axis=1)
        np.testing.assert_allclose(embedded[store.arrays(split)["id"]], expected, atol=1e-5)


def test_a_row_does_not_depend_on_those_beside_it(fitted: mj.ContrastiveEmbedder, embedded: np.ndarray) -> None:
    rows = [8, 5, 3, 3]
    np.testing.assert_allclose(fitted.transform(FRAME[rows]), embedded[rows], atol=1e-6)
    np.testing.assert_allclose(fitted.transform(FRAME.drop("model")[:1]), embedded[:1], atol=1e-6)
    np.testing.assert_allclose(fitted.transform(FRAME, images=PIXELS), embedded, atol=1e-6)


def test_a_pickle_needs_neither_folders_nor_this_process(
    fitted: mj.ContrastiveEmbedder, embedded: np.ndarray, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "embed.pickle").write_bytes(pickle.dumps(fitted))
    FRAME.write_parquet(tmp_path / "rows.parquet")
    code = (
        "import pickle, sys, numpy, polars\n"
        "folder = sys.argv[1]\n"
        "embed = pickle.load(open(f'{folder}/embed.pickle', 'rb'))\n"
        "rows = polars.read_parquet(f'{folder}/rows.parquet')\n"
        "numpy.save(f'{folder}/embedded.npy', embed.transform(rows))\n"
        "print(embed.get_params())"
    )
    fitted.workdir_.rename(tmp_path / "elsewhere")  # the run that it came from is gone
    try:
        ran = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    finally:
        (tmp_path / "elsewhere").rename(fitted.workdir_)
    np.testing.assert_allclose(np.load(tmp_path / "embedded.npy"), embedded, atol=1e-6)
    assert ran.stdout.strip() == str(fitted.get_params())
    state = pickle.dumps(fitted.snapshot_)
    assert b"flax" not in state
    assert b"jax._src" not in state


class Indexed:
    """As much of pandas as scikit-learn asks for where an output is put into a frame."""

    index = [8, 5, 3]  # noqa: RUF012

    def __init__(self, table: pl.DataFrame) -> None:
        self._table = table

    def reset_index(self, *, drop: bool) -> pl.DataFrame:
        return self._table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise AssertionError("with its index as a column")


def test_an_index_is_no_column(fitted: mj.ContrastiveEmbedder, embedded: np.ndarray) -> None:
    rows = Indexed(FRAME[[8, 5, 3]])
    np.testing.assert_allclose(fitted.transform(rows), embedded[[8, 5, 3]], atol=1e-6)


def test_pandas_keeps_its_index(fitted: mj.ContrastiveEmbedder, embedded: np.ndarray) -> None:
    rows = pandas.DataFrame(FRAME[[8, 5, 3]].to_dict(as_series=False), index=[8, 5, 3])
    found = pickle.loads(pickle.dumps(fitted)).set_output(transform="pandas").transform(rows)
    assert found.index.tolist() == [8, 5, 3]
    assert found.columns.tolist() == fitted.get_feature_names_out().tolist()
    np.testing.assert_allclose(found.to_numpy(), embedded[[8, 5, 3]], atol=1e-6)


def test_set_output_gives_named_columns(fitted: mj.ContrastiveEmbedder, embedded: np.ndarray) -> None:
    found = pickle.loads(pickle.dumps(fitted)).set_output(transform="polars").transform(FRAME)
    assert found.columns == [f"contrastiveembedder{i}" for i in range(12)] == fitted.get_feature_names_out().tolist()
    np.testing.assert_allclose(found.to_numpy(), embedded, atol=1e-6)


def test_clone_keeps_every_parameter(fitted: mj.ContrastiveEmbedder) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "snapshot_")
    with pytest.raises(NotFittedError):
        copy.transform(FRAME)


APPLY = {
    "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types", "check_estimator_repr",
    "check_no_attributes_set_in_init", "check_estimators_unfitted", "check_do_not_raise_errors_in_init_or_set_param",
    "check_do_not_raise_errors_in_init_or_set_params", "check_mixin_order", "check_transformers_unfitted",
    "check_parameters_default_constructible", "check_get_params_invariance", "check_set_params",
}  # fmt: skip


def test_scikit_learns_own_checks() -> None:
    """All others call `fit` with a 2-D array of numbers alone, and a row of `X` has a picture, or is one.

    What they are about is tested above and below, with pictures: order and subsets of rows, pickling, unchanged
    parameters, unreadable rows, a fit again, names of outputs.
    """
    ran = set()
    for estimator, check in checks.estimator_checks_generator(mj.ContrastiveEmbedder()):
        name = getattr(check, "func", check).__name__
        if name in APPLY:
            check(estimator)
            ran.add(name)
    assert len(ran) >= 10


WRONG: dict[str, tuple[Any, str]] = {
    "a column that is absent": (FRAME.drop("price"), "There is no column 'price'"),
    "a cell that is no number": (FRAME.with_columns(price=pl.lit("cheap")), "Row 1 of the data frame: .*price"),
    "a picture that is absent": (FRAME.with_columns(file=pl.lit("no.png")), "Row 1 of the data frame: .*no.png does"),
    "no picture": (FRAME.with_columns(file=pl.lit(None, pl.String)), "Row 1 of the data frame has no image"),
    "a path that leaves the folder": (FRAME.with_columns(file=pl.lit("../x.png")), "leaves the image folder"),
    "no frame": ([[1, 2]], "X must be a data frame, not list"),
    "no rows": (FRAME[:0], "X has no rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_embedded_is_one_sentence(fitted: mj.ContrastiveEmbedder, case: str) -> None:
    rows, sentence = WRONG[case]
    with pytest.raises(mj.UserError, match=sentence):
        fitted.transform(rows)


def test_unknown_categories_are_said(fitted: mj.ContrastiveEmbedder) -> None:
    with pytest.warns(UserWarning, match="Column 'gearbox': 1 cells are categories that no training row has"):
        fitted.transform(FRAME[:1].with_columns(gearbox=pl.lit("lever")))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"input": "report"}, "input: digits_mmcl has no encoder of 'report'; it has those of image, table"),
        ({"held_out": 1.5}, "held_out: 1.5 is not between 0 and 1"),
        ({"random_state": None}, "random_state must be a whole number"),
        ({"image_column": ()}, "image-column"),
        ({"images": "nowhere"}, "nowhere does not exist"),
    ],
)
def test_wrong_parameters_are_one_sentence(photos: Path, given: dict[str, Any], sentence: str) -> None:
    parameters = {"images": photos, "image_column": "file", "config": "digits_mmcl", "overrides": TINY, **given}
    with pytest.raises(mj.UserError, match=sentence):
        mj.ContrastiveEmbedder(**parameters).fit(FRAME)


def test_pipelines_columns_and_searches(photos: Path) -> None:
    embed = mj.ContrastiveEmbedder(
        images=photos, image_column="file", config="digits_mmcl", overrides=TINY, input="table"
    )
    columns = ColumnTransformer(
        [("embed", embed, ["file", "price", "gearbox"]), ("as it is", "passthrough", ["price"])]
    )
    model = make_pipeline(columns, SimpleImputer(), LogisticRegression(max_iter=1000))
    search = GridSearchCV(
        model,
        {"columntransformer__embed__random_state": [3]},
        cv=[(np.arange(24), np.arange(24, N))],
        error_score="raise",
    )
    search.fit(FRAME, FRAME["model"].to_numpy())
    found = search.best_estimator_[0].named_transformers_["embed"]
    assert found.get_params() == {**embed.get_params(), "random_state": 3}
    assert search.predict(FRAME[::-1]).tolist() == search.predict(FRAME)[::-1].tolist()
