"""What a table encoder asks of the encoding of its table is fitted on the fold's training rows and kept in the run."""

import json
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.encoders.table_input import TableInput
from mmcl_jax.evaluation.sources.new_rows import table_rows
from mmcl_jax.export.preprocessing import table_columns
from mmcl_jax.export.programs.cells import encoded_cells
from mmcl_jax.objectives.terms.masked_table import masked_table
from mmcl_jax.training.build import fit_inputs
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run
from mmcl_jax.views import Viewed
from tests.data.test_folds import FOLD, planted

BINS = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A colour and a size of the rows outside of the fold's training rows are in none of these."""
    return planted(tmp_path_factory.mktemp("planted") / "store", poisoned=True)


def config_of(store: Store, **options: object) -> ConfigDict:
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs, config.fold = "fold", str(store.directory), 8, 1, FOLD
    config.monitor.epochs, config.batch_norm.group_size, config.log_every = None, 8, 1
    config.inputs = {"table": input(missing="token")}
    config.views = {"table_1": view("rows"), "table_2": view("scarf", rate=0.5)}
    config.encoders = {"table": encoder("table_transformer", width=8, heads=2, blocks=1, **options)}
    config.projectors = {"table": projector("linear", out=8)}
    config.objective = (term("nt_xent", between=("table_1", "table_2")),)
    config.optimizer, config.schedule = optimizer("adam_l2"), schedule("warmup_cosine", warmup_epochs=0)
    return config


def rare_of(store: Store) -> int:
    """The least threshold by which the rarest colour of the fold's training rows is rare."""
    counts = fit_inputs(config_of(store), store).encoding.statistics.counts[0]
    assert len(counts) == 3
    return min(counts) + 1


def test_a_run_keeps_bins_and_rare_categories_and_trains_with_them(store: Store, tmp_path: Path) -> None:
    rare, lines = rare_of(store), list[str]()
    config = config_of(store, numbers="piecewise", bins=BINS, rare=rare)
    run = pretrain(config, tmp_path / "run", log=lines.append, devices=jax.devices()[:1]).run
    for inputs in (fit_inputs(config, store), Run.open(run.directory).inputs):
        rows = np.asarray(input_arrays(store, "train", inputs)["table"])
        widths = inputs.encoding.schema.widths
        assert widths == (3, 1, 2, 1, 1, 1)
        for column, edges in enumerate(inputs.specs["table"].bin_edges):
            expected = np.unique(np.quantile(rows[:, column], np.linspace(0, 1, BINS + 1)))
            np.testing.assert_allclose(edges, expected if widths[column] == 1 else (), rtol=1e-6, atol=1e-6)
        unknown = (rows[:, 0] == -1).sum()
        assert unknown == rare - 1 == inputs.encoding.unknown_counts["colour"]
        assert (np.asarray(input_arrays(store, "test", inputs)["table"])[:, 0] == -1).all()
    assert any(line.startswith(f"table: rare categories that are unknown, in training rows: colour {rare - 1}")
               for line in lines)  # fmt: skip
    encoder = Run.open(run.directory).model().encoders["table"]
    assert encoder.numbers.edges == tuple(edges for edges in inputs.specs["table"].bin_edges if edges)
    assert np.isfinite([step["loss"] for step in run.metrics()]).all()


def test_nothing_is_kept_that_no_encoder_asks_for(store: Store, tmp_path: Path) -> None:
    config = config_of(store)
    run = Run.begin(tmp_path / "run", config, store, fit_inputs(config, store))
    assert json.loads((run.directory / "encoding.json").read_text()) == {"missing": "token", "outside": "keep"}
    assert run.inputs.specs["table"].bin_edges == ()


@pytest.mark.parametrize("missing", ["token", "indicator", "mean"])
def test_an_unseen_category_of_new_rows_is_unknown_for_tokens_and_missing_otherwise(store: Store, missing: str) -> None:
    config = config_of(store)
    config.inputs.table.missing = missing
    inputs = fit_inputs(config, store)
    columns = {"flag": "true", "weight": 1.0, "price": 1.0, "length": 1.0}
    frame = pl.DataFrame([{"colour": colour, "size": "10", **columns} for colour in ("mauve", None, "red")])
    with pytest.warns(UserWarning, match="'colour': 1 cells are categories that no training row has"):
        rows = table_rows(frame, inputs, Declaration(), "table")
    filled = inputs.encoding.statistics.fill[0]
    expected = {"token": [-1, np.nan], "indicator": [np.nan, np.nan], "mean": [filled, filled]}[missing]
    np.testing.assert_array_equal(rows[:2, 0], expected)
    if missing == "token":  # which other encoders do not tell from a missing cell
        coded = TableInput(inputs.encoding.schema.widths, missing=missing)(jax.numpy.asarray(rows))
        np.testing.assert_array_equal(coded[0], coded[1])
        assert not np.array_equal(coded[0], coded[2])


@pytest.mark.parametrize("missing", ["token", "mean"])
def test_programs_encode_rare_and_unseen_categories_alike(store: Store, missing: str) -> None:
    rare = rare_of(store) if missing == "token" else 0
    config = config_of(store, rare=rare)
    config.inputs.table.missing = missing
    encoding = fit_inputs(config, store).encoding
    raw = np.array([[code, 1.0, 0.0, 1.0, 1.0, 1.0] for code in (-1, 0, 1, 2, np.nan)])
    with jax.enable_x64(True):
        cells, refused = jax.jit(lambda cells: encoded_cells(encoding, cells))(raw)
    np.testing.assert_allclose(cells, encoding.encode(raw), rtol=1e-6)
    assert not refused.any()
    assert (encoding.encode(raw)[:, 0] == -1).sum() == (2 if missing == "token" else 0)
    colour, size, *_ = (column["seen"] for column in table_columns(encoding))
    assert (colour.count(False), size.count(False)) == (1 if missing == "token" else 0, 0)


def test_an_unknown_category_is_no_target_of_reconstruction() -> None:
    """Its row counts by its number alone, and the loss is that of a row whose category is missing."""
    tokens = jax.numpy.ones((1, 3, 8))
    term = masked_table(widths=(1, 3))
    layers = term.init(nnx.Rngs(0), tokens)
    losses = {}
    for code in (2.0, -1.0, np.nan):
        rows = jax.numpy.array([[0.5, code]])
        masked = Viewed(jax.numpy.full((1, 2), np.nan), changed=jax.numpy.array([[True, not np.isnan(code)]]))
        losses[code] = float(term(tokens, layers=layers, views=masked, inputs=rows))
    assert losses[-1.0] == losses[np.nan] != losses[2.0]
