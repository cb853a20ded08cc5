"""Inputs: their arrays in a batch, the cohort of rows that take part, and the rows that statistics are fitted on."""

from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from mmcl_jax.config import encoder, experiment, input, projector, term, view
from mmcl_jax.data.cohort import cohort_rows
from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.input import Batches
from mmcl_jax.data.inputs import Inputs, input_arrays, with_shared
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.encoded import EncodedRows
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.errors import UserError
from mmcl_jax.training.build import Experiment, build_experiment, fit_inputs, participating_rows
from mmcl_jax.training.step.train_step import make_step
from tests.data.many import LACKS, store_of
from tests.training.walk import begin, compiled, walk

pytestmark = pytest.mark.core

VIEWS = {
    "image": "resized", "deep": "resized", "scan": "resized_volume", "table": "rows", "lab": "rows",
    "scores": "vector", "calls": "vector", "report": "tokens",
}  # fmt: skip
ENCODERS = {
    "resized": encoder("cnn", channels=(4,)),
    "resized_volume": encoder("cnn3d", channels=(4,)),
    "rows": encoder("table_mlp", hidden=4, features=4),
    "vector": encoder("vector_mlp", hidden=4, features=4),
    "tokens": encoder("text_embedding", features=4),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("many") / "store")


def config_of(store: Store, *names: str, **inputs: ConfigDict) -> ConfigDict:
    """Return an experiment on entries and on further inputs, which contrasts the first modality with each other one."""
    config = experiment()
    config.data, config.batch_size, config.epochs, config.batch_norm.group_size = str(store.directory), 4, 1, 4
    config.schedule.warmup_epochs = 0
    for name, options in {**{name: input() for name in names}, **inputs}.items():
        kind = VIEWS[options.of or name]
        config.inputs[name], config.views[name] = options, view(kind, modality=name)
        config.encoders[name], config.projectors[name] = ENCODERS[kind], projector("mlp", hidden=4, out=4)
    first, *others = config.inputs
    config.objective = tuple(term("clip", between=(first, other)) for other in others)
    return config


def build(config: ConfigDict, store: Store) -> Experiment:
    return build_experiment(config, store, jax.devices()[:1])


def test_a_batch_has_an_array_of_every_input_and_says_who_is_there(store: Store) -> None:
    config = config_of(store, *(name for name in VIEWS if name != "calls"), calls=input(missing="mean"))
    config.objective = (*config.objective, term("clip", between=("image", "table"), labels="attract"))
    batches = build(config, store).batches
    rows, batch = batches.rows_of(0), batches[0]
    assert {name: (array.shape[1:], array.dtype.name) for name, array in batch.items()} == {
        "id": ((), "uint32"),
        "group": ((), "int32"),
        "image": ((8, 8, 1), "uint8"),
        "deep": ((6, 8, 2), "uint16"),
        "scan": ((4, 8, 8, 1), "float16"),
        "table": ((3,), "float32"),
        "lab": ((2,), "float32"),
        "scores": ((10,), "float32"),
        "calls": ((10,), "int8"),
        "report": ((4, 2), "int32"),
        "present/lab": ((), "bool"),
        "present/scores": ((), "bool"),
        "present/calls": ((), "bool"),
        "target/grade": ((), "int32"),
    }
    np.testing.assert_array_equal(batch["id"], 100 + rows)
    np.testing.assert_array_equal(batch["group"], rows // 2)
    for name, lacking in LACKS.items():
        np.testing.assert_array_equal(batch[f"present/{name}"], ~np.isin(rows, lacking))
    np.testing.assert_array_equal(batch["target/grade"], np.where(rows == 5, -1, rows % 3))


def test_targets_are_labels_and_entries_by_name(store: Store) -> None:
    inputs = Inputs.fit({"image": input()}, store)
    arrays = input_arrays(store, "train", inputs, targets=["weight", "organ"])
    assert {name for name in arrays if name.startswith("target/")} == {"target/weight", "target/organ"}
    assert arrays["target/weight"].dtype == np.float32
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(arrays["target/weight"])), [5])
    assert arrays["target/organ"][np.arange(2)].shape == (2, 8, 8, 1)


@pytest.mark.parametrize("cohort", ["outer", "inner"])
@pytest.mark.parametrize("names", [("scores", "lab"), ("scores", "calls", "lab"), ("image", "lab"), ("image", "deep")])
def test_the_cohort_is_who_has_all_or_any(store: Store, names: tuple[str, ...], cohort: str) -> None:
    has = np.array([~np.isin(np.arange(16), LACKS.get(name, [])) for name in names])
    expected = np.flatnonzero(has.all(axis=0) if cohort == "inner" else has.any(axis=0))
    config = config_of(store, *(name for name in names if name != "calls"))
    config.inputs.update({name: input(missing="mean") for name in names if name == "calls"})
    config.cohort, config.batch_size = cohort, 1
    rows = participating_rows(config, store, "train")
    np.testing.assert_array_equal(np.arange(16) if rows is None else rows, expected)
    assert (rows is None) == (len(expected) == 16)  # so that what all rows take part in is as it was


def test_statistics_are_those_of_the_training_rows_that_take_part_and_are_there(store: Store) -> None:
    config = config_of(store, "scores", "lab")
    config.cohort = "inner"
    inputs, raw = fit_inputs(config, store), store.read("train", ["scores", "lab"])
    keep = np.setdiff1d(np.arange(16), LACKS["scores"] + LACKS["lab"])
    np.testing.assert_allclose(inputs.fitted["scores"]["mean"], raw["scores"][keep].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(inputs.fitted["scores"]["std"], raw["scores"][keep].std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(inputs.tables["lab"].statistics.mean, raw["lab"][keep].mean(axis=0))
    config.cohort, config.fold = "outer", 1
    fold, rows = fit_inputs(config, store), store.read("train", ["lab"], fold=1)["lab"]
    np.testing.assert_allclose(fold.tables["lab"].statistics.mean, np.nanmean(np.asarray(rows), axis=0))
    batches = build(config, store).batches
    assert set(batches.arrays["id"] - 100) == set(store.rows_of("train", 1))
    assert not set(batches[0]["id"] - 100) & set(store.rows_of("test", 1))


def test_who_takes_part_is_asked_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(entries: dict, store: Store, split: str, **how: object) -> np.ndarray | None:
        asked.append(split)
        return cohort_rows(entries, store, split, **how)

    monkeypatch.setattr("mmcl_jax.training.build.cohort_rows", counted)
    config = config_of(store, "scores", "lab")
    config.cohort, config.validation.epochs = "inner", 1
    made = build(config, store)
    assert asked == ["train", "val"]
    assert made.fitted_inputs is not None
    assert made.batches.take is not None


def test_a_batch_holds_an_entry_of_several_inputs_once(store: Store) -> None:
    config = config_of(store, "image", "report", also=input(of="image"), half=input(of="table", columns="all"))
    config.inputs.read = input(of="report")
    config.views.read, config.encoders.read = view("tokens", modality="read"), ENCODERS["tokens"]
    batches = build(config, store).batches
    gathers: list[int] = []

    class Counting(MappedRows):
        def __getitem__(self, rows: object) -> np.ndarray:
            gathers.append(1)
            return super().__getitem__(rows)

    rows = batches.arrays["also"]
    arrays = {**batches.arrays, "also": Counting(rows.values, rows.at, fill=0)}
    batch = Batches(arrays, batch_size=4, epochs=1, seed=0)[0]
    assert batch.keys() == {"id", "group", "also", "half", "read"}  # the names that come first, of each entry
    assert len(gathers) == 1
    assert batch["half"].shape == (4, 3)
    whole = with_shared(batch, build(config, store).inputs)
    assert whole["image"] is whole["also"]
    assert whole["report"] is whole["read"]


def test_two_inputs_of_one_image_train_as_on_two_copies_of_it_with_one_buffer(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", twin="image")
    losses, sizes = [], []
    for twin in (input(), input(of="image")):
        config = config_of(store, "image")
        config.inputs.twin, config.views.twin = twin, view("resized", modality="twin")
        config.encoders.twin, config.projectors.twin = ENCODERS["resized"], projector("mlp", hidden=4, out=4)
        config.objective = (term("clip", between=("image", "twin")),)
        made = build(config, store)
        step = compiled(made)
        sizes.append(step.memory_analysis().argument_size_in_bytes)
        losses.append(walk(step, *begin(made, 3)))
    assert losses[0] == losses[1]
    assert sizes[0] - sizes[1] == 4 * 8 * 8 * 1  # a batch of the stored pixels


def test_large_tables_are_encoded_as_batches_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(store, "image", "table", lab=input(missing="mean"))
    config.views.table = view("scarf", modality="table")
    eager = build(config, store)
    monkeypatch.setattr("mmcl_jax.data.table.encoded.EAGER_BYTES", 4 * 3 * 16 - 1)
    lazy = build(config, store)
    assert isinstance(lazy.batches.arrays["table"], EncodedRows)
    assert isinstance(lazy.batches.arrays["lab"], np.ndarray)  # 4 x 2 x 16 bytes
    asked: list[int] = []
    encode = Encoding.encode

    def counted(self: Encoding, table: np.ndarray) -> np.ndarray:
        asked.append(len(table))
        return encode(self, table)

    monkeypatch.setattr(Encoding, "encode", counted)
    for step in range(4):
        batch = lazy.batches[step]
        for name, array in eager.batches[step].items():
            np.testing.assert_array_equal(batch[name], array)
    assert asked == [4] * 4
    np.testing.assert_array_equal(lazy.fitted["table"]["population"], eager.fitted["table"]["population"])


@pytest.mark.parametrize("population", [False, True])
def test_the_step_holds_training_rows_only_for_a_view_that_draws_from_them(store: Store, population: bool) -> None:
    config = config_of(store, *(name for name in VIEWS if name != "calls"), calls=input(missing="mean"))
    if population:
        config.views.table = view("scarf", modality="table")
    made = build(config, store)
    lines = jax.jit(make_step(made)).lower(*made.shapes()).as_text().splitlines()
    held = [line for line in lines if "@main(" in line or "stablehlo.constant" in line]
    assert any(f"tensor<{store.sizes['train']}x" in line for line in held) == population


def test_vectors_are_read_a_batch_at_a_time_and_devices_hold_no_more_than_a_sample(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(store, "image", "scores")
    assert build(config, store).constants()["fitted"]["scores"].keys() == {"mean", "std"}
    config.views.scores = view("vector_scarf", modality="scores", population=5)
    sample = build(config, store).constants()["fitted"]["scores"]["population"]
    every = np.asarray(store.read("train", ["scores"])["scores"])
    present = np.setdiff1d(np.arange(16), LACKS["scores"])
    indices = [np.flatnonzero((every == row).all(axis=1)).item() for row in sample]
    assert len(set(indices)) == 5
    assert set(indices) <= set(present)
    asked: list[int] = []
    read = MappedRows.__getitem__

    def counted(self: MappedRows, rows: np.ndarray) -> np.ndarray:
        asked.append(np.size(rows))
        return read(self, rows)

    made = build(config, store)
    monkeypatch.setattr(MappedRows, "__getitem__", counted)
    made.batches[0]
    assert max(asked) == 4


def test_all_rows_are_the_population_of_a_small_table(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(store, "image", "table")
    config.views.table = view("scarf", modality="table")
    made = build(config, store)
    np.testing.assert_array_equal(made.fitted["table"]["population"], made.batches.arrays["table"])
    monkeypatch.setattr("mmcl_jax.data.population.MOST_BYTES", 4 * 3 * 7)
    assert build(config, store).fitted["table"]["population"].shape == (7, 3)


def test_what_was_fitted_is_read_as_it_was_written(store: Store, tmp_path: Path) -> None:
    options = {"scores": input(), "lab": input(), "table": input(), "some": input(of="table"), "report": input()}
    inputs = Inputs.fit(options, store)
    inputs.write(tmp_path)
    again = Inputs.read(tmp_path, options)
    assert again.specs == inputs.specs
    assert again.specs["report"].widths == (5,)
    assert again.fitted["report"]["tokens"].tolist() == [False, True, True, True, False]
    for name, arrays in inputs.fitted.items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(again.fitted[name][key], array)
    for split in ("train", "test"):
        one, other = (input_arrays(store, split, which) for which in (inputs, again))
        for name in ("lab", "table", "some"):
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"inputs": {"genes": input()}, "encoders": {"genes": ENCODERS["vector"]},
          "views": {"genes": view("vector", modality="genes")}},
         "config.inputs.genes: 'genes' is no input of the store; its inputs are image, deep"),
        ({"inputs": {"image": input(of="photo")}}, "config.inputs.image.of: 'photo' is no input of the store"),
        ({"inputs": {"image": input(of="organ")}}, "config.inputs.image.of: 'organ' is no input of the store"),
        ({"inputs": {"image": input(missing="mean")}}, "config.inputs.image.missing: the image 'image' has no"),
        ({"inputs": {"scores": input(columns="x")}}, "config.inputs.scores.columns: the vector 'scores' has"),
        ({"inputs": {"scores": input(missing="token")}}, "scores.missing: a vector has no policy 'token'"),
        ({"inputs": {"image": input(of="lab", columns="x")}}, "config.inputs.image.columns: no column has the tag 'x'"),
        ({"inputs": {"scores": input(missing="best")}}, "config.inputs.scores.missing: 'best' must be one of refuse"),
        ({"inputs": {"scores": ConfigDict({"of": ""})}}, r"config.inputs.scores: this is not a complete input; "),
        ({"inputs": {"table": input()}}, "config.inputs.table: no view has the modality 'table'"),
        ({"views": {"scores": view("rows", modality="scores")}}, "config.views.scores: the view 'rows' takes the kind"),
        ({"views": {"lab": view("rows", modality="lab")}}, "config.views.lab.modality: there is no input 'lab'"),
        ({"views": {"image": view("resized", picture=2)}}, "config.views.image: picture is 2, and rows have"),
        ({"views": {"scores": view("vector_scarf", modality="scores", population=13)}},
         "config.views.scores.population: a sample of 13 rows is too large, since 12 training rows have the input"),
        ({"views": {"scores": view("vector_scarf", modality="scores"),
                    "two": view("vector_scarf", modality="scores", population=3)}},
         "config.views.two.population: this is 3, and the view 'scores' of the same input has None"),
        ({"cohort": "left"}, "config.cohort: 'left' must be one of outer, inner"),
        ({"fold": 4}, "config.fold: 4 is no fold of .*, which has 4, numbered from 0"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_by_its_key(store: Store, change: dict, sentence: str) -> None:
    config = config_of(store, "image", "scores")
    for key, value in change.items():
        if isinstance(value, dict):
            for name, entry in value.items():
                config[key][name] = entry
        else:
            config[key] = value
    with pytest.raises(UserError, match=sentence):
        build(config, store)


def test_a_cohort_of_nobody_and_missing_values_are_refused(store: Store) -> None:
    config = config_of(store, "image", "calls")
    made = build(config, store)  # of the six rows that have it, one lacks a value
    with pytest.raises(UserError, match=r"config.inputs.calls.missing: 1 of the values that were read are missing"):
        [made.batches[step] for step in range(len(made.batches))]
    for cohort, what in (("inner", "all"), ("outer", "any")):
        with pytest.raises(UserError, match=f"config.cohort: no row of the split 'val' of .* has {what} of the inputs"):
            cohort_rows({"calls": "calls"}, store, "val", cohort=cohort)
