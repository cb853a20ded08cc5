"""Scalings of columns: the logarithm and normal quantiles, fitted once and equal for every later row."""

import dataclasses
import json
import re
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtr
from sklearn.preprocessing import QuantileTransformer

from mmcl_jax.data.schema import Column, ImageSpec, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.data.table.scaling import SCALINGS, landmarks, rescaled
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.audit import SKEWED, describe_columns, middle_share
from mmcl_jax.prepare.card.columns import distribution
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.make import prepare, preview
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.parse import parse
from mmcl_jax.prepare.table.rows import raw_rows

pytestmark = pytest.mark.core
COLUMNS = tuple(Column(name=scaling, kind="continuous", scaling=scaling) for scaling in SCALINGS)  # type: ignore[arg-type]
SCHEMA = Schema(columns=COLUMNS, image=ImageSpec(height=1, width=1, channels=1, fit=""))


def skewed(rows: int, seed: int, missing: float = 0.1) -> np.ndarray:
    """Return three columns with the same lognormal number."""
    rng = np.random.default_rng(seed)
    table = np.repeat(rng.lognormal(0, 2, rows)[:, None], 3, axis=1)
    return np.where(rng.random(table.shape) < missing, np.nan, table)


TRAIN, LATER = skewed(400, 0), skewed(100, 1)


def fitted(missing: str = "token", **options: str) -> Encoding:
    return Encoding.fit(TRAIN, SCHEMA, Statistics.fit(TRAIN, SCHEMA), missing=missing, **options)


def test_each_scale_is_standardised_over_the_training_rows() -> None:
    encoded = fitted().encode(TRAIN)
    np.testing.assert_allclose(np.nanmean(encoded, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(encoded, axis=0), 1, atol=1e-6)
    logs = np.log(TRAIN[:, 1])
    later = (np.log(LATER[:, 1]) - np.nanmean(logs)) / np.nanstd(logs)
    np.testing.assert_allclose(fitted().encode(LATER)[:, 1], later, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(encoded), np.isnan(TRAIN))


@pytest.mark.parametrize("kind", ["lognormal", "many zeros", "few values", "constant"])
def test_quantiles_are_scikit_learns(kind: str) -> None:
    rng = np.random.default_rng(0)
    train = {
        "lognormal": rng.lognormal(0, 2, 1500),
        "many zeros": rng.poisson(0.2, 700) * rng.lognormal(size=700),
        "few values": rng.integers(0, 4, 300).astype(float),
        "constant": np.full(20, 3.5),
    }[kind]
    reference = QuantileTransformer(n_quantiles=min(1000, len(train)), subsample=None, output_distribution="normal")
    reference.fit(train[:, None])
    np.testing.assert_allclose(landmarks(train), reference.quantiles_[:, 0], rtol=1e-12)
    asked = np.concatenate([train, rng.normal(0, 5, 200), [-1e9, 1e9]])
    expected, actual = reference.transform(asked[:, None])[:, 0], rescaled(asked, "quantile", landmarks(train))
    ends = [end for end in (train.min(), train.max()) if (train == end).sum() > 2]  # ties: ours has the middle rank
    np.testing.assert_allclose(actual[~np.isin(asked, ends)], expected[~np.isin(asked, ends)], atol=1e-6)
    for end in ends:
        below, above = ((train < end).mean(), (train <= end).mean())
        np.testing.assert_allclose(ndtr(actual[asked == end]), (below + above) / 2, atol=0.01)
    order = np.argsort(asked)
    assert (np.diff(actual[order]) >= 0).all()


@pytest.mark.parametrize("missing", ["mean", "iterative", "token", "indicator"])
@pytest.mark.parametrize("outside", ["clip", "missing"])
def test_a_run_encodes_any_row_alone_to_the_same_bits(tmp_path: Path, missing: str, outside: str) -> None:
    encoding = fitted(missing, outside=outside)
    encoding.write(tmp_path)
    again = Encoding.read(tmp_path)
    assert again.schema == SCHEMA
    later = np.concatenate([LATER, [[-1.0, -1.0, -1.0], [1e9, 1e9, 1e9]]])
    together = encoding.encode(later)
    assert np.concatenate([again.encode(row[None]) for row in later]).tobytes() == together.tobytes()
    if missing == "mean":
        np.testing.assert_allclose(together[:100][np.isnan(LATER)], 0, atol=1e-6)
    if missing == "iterative":  # two of three columns say what the third is
        rows = skewed(100, 1, missing=0)
        truth = encoding.encode(rows)[:, 1]
        lacks = np.isnan(LATER[:, 1]) & ~np.isnan(LATER[:, 2])
        assert np.abs(together[:100, 1] - truth)[lacks].max() < 0.5
    if outside == "clip":
        ends = np.stack([np.nanmin(TRAIN, axis=0), np.nanmax(TRAIN, axis=0)])
        np.testing.assert_array_equal(together[-2:], encoding.encode(ends))


def test_a_later_value_without_a_logarithm_is_refused_with_ways_out() -> None:
    with pytest.raises(UserError, match=r"'log' has the value -1, which has no logarithm; .*outside=clip .* missing"):
        fitted().encode(np.array([[-1.0, -1.0, -1.0]]))
    assert np.isnan(fitted(outside="missing").encode(np.array([[-1.0, -1.0, -1.0]]))).all()


def test_columns_without_a_value() -> None:
    table = np.full((5, 3), np.nan)
    encoding = Encoding.fit(table, SCHEMA, Statistics.fit(table, SCHEMA), missing="mean", outside="clip")
    assert np.isfinite(encoding.encode(table)).all()
    assert np.isfinite(encoding.encode(np.ones((2, 3)))).all()


def test_stores_and_runs_of_before_are_read(tmp_path: Path) -> None:
    schema = Schema(columns=COLUMNS[:1], image=SCHEMA.image)
    encoding = Encoding.fit(TRAIN[:, :1], schema, Statistics.fit(TRAIN[:, :1], schema), missing="mean")
    encoding.write(tmp_path)
    for name, key in (("schema.json", "scaling"), ("statistics.json", "quantiles")):
        raw = json.loads((tmp_path / name).read_text())
        (raw["entries"]["table"]["columns"][0] if name == "schema.json" else raw).pop(key)
        (tmp_path / name).write_text(json.dumps(raw))
    again = Encoding.read(tmp_path)
    assert again.schema == schema
    assert again.encode(LATER[:, :1]).tobytes() == encoding.encode(LATER[:, :1]).tobytes()


@pytest.fixture
def priced(raw: Request) -> Request:
    """Return the small table with a heavily skewed price."""
    price = np.exp(np.linspace(0, 60, 40))
    pl.read_csv(raw.table).with_columns(price=pl.Series(price)).write_csv(raw.table)
    return raw


def said(request: Request, column: str, **declared: object) -> Request:
    schema = Declaration.from_json({"columns": {column: {"kind": "continuous", **declared}}}, "schema")
    return dataclasses.replace(request, schema=schema)


@pytest.mark.parametrize("scaling", ["log", "quantile"])
def test_from_the_warning_to_the_store_and_back(priced: Request, tmp_path: Path, scaling: str) -> None:
    findings, _ = preview(priced)
    (sentence,) = [one for one in findings.warnings if "skewed" in one]
    assert re.search(r"'price' \(nine tenths of its values in [\d.]+ % of its range; log or quantile\)", sentence)
    assert "'seats'" not in sentence
    declared = said(priced, "price", scaling=scaling)
    store = prepare(declared, tmp_path / "store")
    assert not any("skewed" in one for one in Findings.of(store).warnings)
    assert store.schema.columns[0].scaling == Store.open(tmp_path / "store").schema.columns[0].scaling == scaling
    assert f"Standardised on the scale {scaling}" in (tmp_path / "store" / "card.html").read_text()
    rows = np.asarray(store.arrays("train")["table"])
    encoding = Encoding.fit(rows, store.schema, store.statistics, missing="refuse")
    assert np.corrcoef(encoding.encode(rows)[:, 0], np.log(rows[:, 0]))[0, 1] > 0.8  # of the numbers themselves, 0.4
    later, _ = raw_rows(pl.read_csv(priced.table), store.schema, store.declaration, "ads.csv")
    np.testing.assert_array_equal(np.sort(later[:, 0]), np.exp(np.linspace(0, 60, 40)))
    template = preview(declared)[1]
    assert template.columns["price"].scaling == scaling
    assert Declaration.from_json(template.to_json(), "again") == template


def test_what_has_no_logarithm_is_refused(priced: Request, tmp_path: Path) -> None:
    price = [0.0, -2.0, *np.exp(np.linspace(0, 60, 38))]
    pl.read_csv(priced.table).with_columns(price=pl.Series(price)).write_csv(priced.table)
    assert "of its range; quantile)" in " ".join(preview(priced)[0].warnings)
    with pytest.raises(UserError, match=r"'price' has 2 values without a logarithm, the first, 0, in row 1; declare"):
        prepare(said(priced, "price", scaling="log"), tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert prepare(said(priced, "price", scaling="quantile"), tmp_path / "quantile").sizes
    assert prepare(said(priced, "price", scaling="log", missing=["0.0", "-2.0"]), tmp_path / "log").sizes


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"kind": "continuous", "scaling": "root"}, "scaling 'root' is not one of standard, log, quantile"),
        ({"kind": "categorical", "scaling": "log"}, "only a feature of the kind continuous has a scaling"),
        ({"scaling": "log"}, 'add "kind": "continuous"'),
        ({"kind": "continuous", "role": "label", "scaling": "log"}, "only a feature"),
    ],
)
def test_declared_scales_that_are_refused(declared: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Declaration.from_json({"columns": {"x": declared}}, "schema")


SHAPES = {
    "lognormal": lambda rng: rng.lognormal(0, 3, 2000),
    "one outlier": lambda rng: np.append(rng.normal(37, 0.5, 999), 99999.0),
    "many zeros": lambda rng: np.where(rng.random(1000) < 0.96, 0, rng.lognormal(3, 2, 1000)),
    "both signs": lambda rng: rng.standard_cauchy(2000),
    "huge": lambda rng: np.append(rng.normal(size=500), 1e300),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_histogram_of_a_skewed_column_is_not_nearly_empty(shape: str) -> None:
    values = SHAPES[shape](np.random.default_rng(0))
    assert middle_share(values) < SKEWED
    parsed = parse(pl.Series("x", values), Declaration())
    schema = Schema(columns=(parsed.column(np.arange(3)),), image=SCHEMA.image)
    with np.errstate(over="ignore"), warnings.catch_warnings():
        statistics = Statistics(mean=(0.0,), std=(1.0,), fill=(0.0,), low=(-np.inf,), high=(np.inf,), counts=((),))
        (actual,) = describe_columns([parsed], schema, values[:, None], statistics, {"train": np.arange(3)}, {})
    counts, edges = np.array(actual.histogram["counts"]), np.array(actual.histogram["edges"])
    assert counts.sum() == len(values)
    assert (np.diff(edges) > 0).all()
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    distinct = len(np.unique(values[(values > np.quantile(values, 0.05)) & (values < np.quantile(values, 0.95))]))
    if distinct > 30:
        assert (counts > 0.01 * len(values)).sum() >= 5
        assert counts.max() < 0.6 * len(values)
    assert actual.axis in ("log", "middle")
    drawn = str(distribution(actual, len(values)))
    assert "logarithmic axis" in drawn or "outer bars" in drawn
    widths = [float(width) for width in re.findall(r'width="([\d.]+)"', drawn)]
    assert max(widths) - min(widths) < 0.1


def test_what_is_not_skewed() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=1000), rng.random(1000), rng.exponential(size=1000), np.arange(5.0), np.ones(100)):
        assert middle_share(values) >= SKEWED
