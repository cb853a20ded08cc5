"""The estimators of tables: what they predict is what the run's heads predict, and they are scikit-learn's."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks as checks

import mmcl_jax as mj
from mmcl_jax.evaluation.protocols.kept import load_head

N = 60
RNG = np.random.default_rng(0)
FRAME = pl.DataFrame(
    {
        "price": [None if i % 7 == 3 else 10.5 * i for i in range(N)],
        "gearbox": ["manual", "manual", "automatic", "automatic"] * (N // 4),
        "age": RNG.normal(size=N),
        "model": [f"m{i % 3}" for i in range(N)],
        "power": RNG.normal(size=N),
    }
)
MODELS = FRAME["model"].to_numpy()
TINY = {
    "epochs": 1, "schedule.warmup_epochs": 0, "batch_size": 16, "batch_norm.group_size": 8,
    "encoders.table.hidden": 8, "encoders.table.features": 4, "projectors.table.hidden": 8,
}  # fmt: skip
FAST = {"learning_rates": 1e-2, "max_epochs": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mj.Run:
    """A run on the table alone, hardly trained."""
    folder, pixels = tmp_path_factory.mktemp("table"), np.zeros((N, 4, 4, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(N)
    store = mj.prepare(FRAME, pixels, label=["model", "power"], out=folder / "store")
    return mj.pretrain("mmcl/scarf:own", data=store, workdir=folder / "run", overrides=TINY)


@pytest.fixture(scope="module")
def fitted(run: mj.Run) -> mj.TableClassifier:
    return mj.TableClassifier(run, **FAST).fit(FRAME, MODELS)


def test_kept_heads_are_estimators_to_the_bit(run: mj.Run, tmp_path: Path) -> None:
    store = run.store()
    options = {"input": "table", "label": ["model", "power"], "seeds": 1, "baselines": "random", "out": tmp_path / "s"}
    mj.evaluate(run, protocol=["probe", "finetune"], keep=tmp_path / "heads", **options, **FAST)
    rows = FRAME[store.arrays("test")["id"]]
    heads = sorted((tmp_path / "heads").iterdir())
    assert len(heads) == 8  # two labels by two protocols, of the run and of its encoder before training
    for head in heads:
        kept, made = load_head(head), mj.load_estimator(head)
        expected = kept.outputs({"table": kept.source.inputs(store, "test", "table")})
        if isinstance(made, mj.TableRegressor):
            np.testing.assert_array_equal(made.predict(rows), expected[:, 0])
            continue
        assert made.classes_.tolist() == ["m0", "m1", "m2"]
        shares = np.exp(expected.astype(np.float64))
        np.testing.assert_allclose(made.predict_proba(rows), shares / shares.sum(axis=1, keepdims=True), rtol=1e-12)
        assert made.score(rows, rows["model"].to_numpy()) == pytest.approx(kept.score.metrics["top1"])


def test_what_is_fitted_predicts_rows_alone_in_any_order_and_library(fitted: mj.TableClassifier) -> None:
    shares = fitted.predict_proba(FRAME)
    assert shares.shape == (N, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert fitted.predict(FRAME).tolist() == fitted.classes_[shares.argmax(axis=1)].tolist()
    np.testing.assert_allclose(fitted.predict_log_proba(FRAME), np.log(shares))
    rows = [8, 5, 3, 3]
    other = FRAME.select("power", "gearbox", "age", "price")[rows]  # columns are matched by name
    for X in (other, pandas.DataFrame(other.to_dict(as_series=False), index=rows), other.to_arrow()):
        np.testing.assert_array_equal(fitted.predict_proba(X), shares[rows])
    again = pickle.loads(pickle.dumps(fitted))
    assert again.get_params() == fitted.get_params() | {"run": again.run}
    np.testing.assert_array_equal(again.predict_proba(FRAME), shares)
    before = dict(fitted.__dict__)
    fitted.predict(FRAME)
    assert fitted.__dict__ == before


def test_a_fit_depends_on_its_rows_labels_and_seed_alone(fitted: mj.TableClassifier, run: mj.Run) -> None:
    again = clone(fitted)
    assert not hasattr(again, "head_")
    with pytest.raises(NotFittedError):
        again.predict(FRAME)
    again.set_params(run=str(run.directory)).fit(FRAME.to_pandas(), pandas.Series(MODELS))
    np.testing.assert_array_equal(again.predict_proba(FRAME), fitted.predict_proba(FRAME))
    scratch = again.set_params(pretrained=False).fit(FRAME, MODELS).predict_proba(FRAME)
    assert np.abs(scratch - fitted.predict_proba(FRAME)).max() > 1e-3
    other = again.set_params(random_state=1).fit(FRAME, MODELS).predict_proba(FRAME)
    assert np.abs(scratch - other).max() > 1e-3  # from scratch, the seed draws the encoder


def test_numbers_of_any_scale_are_learnt_alike(run: mj.Run) -> None:
    """A mean that float32 holds to 65,536 alone, and a spread far below 1."""
    y = FRAME["age"].to_numpy()  # which the table has
    options = {"schedule": "one_cycle", "max_epochs": 30, "frozen": True, "pretrained": False}
    plain = mj.TableRegressor(run, **options).fit(FRAME, y)
    assert plain.score(FRAME, y) > 0.1
    for shift, scale in ((1e12, 1e3), (0.0, 1e12), (0.0, 1e-12), (1e-9, 1e-12)):
        found = clone(plain).fit(FRAME, shift + scale * y).predict(FRAME)
        np.testing.assert_allclose((found - shift) / scale, plain.predict(FRAME), atol=2e-3)
    with pytest.raises(mj.UserError, match=r"y is 0\.1 in every row, so there is nothing to learn"):
        clone(plain).fit(FRAME, np.full(N, 0.1))


def test_cross_validation_and_pipelines(run: mj.Run) -> None:
    model = mj.TableClassifier(run, frozen=True, **FAST)
    scores = cross_val_score(model, FRAME.to_pandas(), MODELS, cv=3, error_score="raise")
    assert scores.shape == (3,)
    halved = FunctionTransformer(lambda frame: frame.with_columns(pl.col("price") / 2))
    pipeline = make_pipeline(halved, clone(model)).fit(FRAME, MODELS)
    expected = pipeline[-1].predict_proba(FRAME.with_columns(pl.col("price") / 2))
    np.testing.assert_array_equal(pipeline.predict_proba(FRAME), expected)


# The others call `fit` with arrays whose columns no run has; what they are about is tested here with the run's columns.
APPLY = {
    "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types", "check_estimator_repr",
    "check_no_attributes_set_in_init", "check_estimators_unfitted",
    "check_mixin_order", "check_parameters_default_constructible", "check_get_params_invariance", "check_set_params",
}  # fmt: skip


@pytest.mark.parametrize("estimator", [mj.TableClassifier(), mj.TableRegressor()])
def test_scikit_learns_own_checks(estimator: Any) -> None:
    ran = set()
    for made, check in checks.estimator_checks_generator(estimator):
        name = getattr(check, "func", check).__name__
        if name in APPLY:
            check(made)
            ran.add(name)
    assert ran == APPLY


WRONG: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "no run": (FRAME, MODELS, {"run": None}, "run: name the run whose table encoder is to be trained"),
    "an image": (FRAME, MODELS, {"input": "image"}, "input: scarf has no encoder of 'image'"),
    "no label": (FRAME, [None, *MODELS[1:]], {}, r"y has no label for row 1 \(1 in all\)"),
    "too few labels": (FRAME, MODELS[1:], {}, "y has 59 labels, and X has 60 rows"),
    "one class": (FRAME, ["m0"] * N, {}, "y has one class, 'm0'"),
    "numbers": (FRAME, RNG.normal(size=N), {}, "no whole numbers, which are no classes"),
    "a class each": (FRAME, [f"m{i}" for i in range(N)], {}, "none of which can be held out"),
    "an absent column": (FRAME.drop("age"), MODELS, {}, "There is no column 'age'"),
    "an array": (FRAME["age", "power"].to_numpy(), MODELS, {}, "an array of 2 columns without names"),
    "no rows": (FRAME[:0], [], {}, "X has no rows"),
    "no share": (FRAME, MODELS, {"held_out": 0}, "held_out: 0 is not between 0 and 1"),
    "the label as input": (FRAME, FRAME["age"], {"label": "age"}, "was trained with 'age' as a column of 'table'"),
    "a schedule": (FRAME, MODELS, {"schedule": "onecycle"}, "no schedule 'onecycle' .did you mean 'one_cycle'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_fitted_is_one_sentence(run: mj.Run, case: str) -> None:
    X, y, parameters, sentence = WRONG[case]
    with pytest.raises(mj.UserError, match=sentence):
        mj.TableClassifier(**{"run": run, **FAST, **parameters}).fit(X, y)


def test_texts_are_no_numbers(run: mj.Run) -> None:
    with pytest.raises(mj.UserError, match="y is not made of numbers; predict classes with TableClassifier"):
        mj.TableRegressor(run, **FAST).fit(FRAME, MODELS)
