"""The tables as data: they agree with the shipped configs and with one another."""

import dataclasses

import pytest

from mmcl_jax.config import OwnData, load
from mmcl_jax.config.load import experiments
from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.evaluation.sources.source import BASELINES
from mmcl_jax.reproduce.configure import configure
from mmcl_jax.reproduce.tables import TABLES, VARIANTS

ROWS = {(row.config, row.overrides): row for table in TABLES.values() for row in table.rows if row.config}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_row_has_a_config_with_the_encoders_it_is_evaluated_on(variant: str, digits_store: Store) -> None:
    names = set()
    store = f"data={digits_store.directory}"
    for table in TABLES.values():
        for row in table.rows:
            if not row.config:
                assert row.rival in RIVALS or row.baseline in BASELINES
                continue
            if f"{row.config}:{variant}" not in experiments() or variant not in (table.variants or [variant]):
                continue
            config = load(f"{row.config}:{variant}", [store, *row.overrides])
            names.add((row.key, config.name))
            for given in [row.reads] if row.reads else row.inputs:
                assert set(modalities_of(given)) <= set(config.encoders), row.key
    # Runs are told apart by the key, evaluations within a run by the config's name.
    assert all(key == name for key, name in names)


def test_contrasts_of_a_claim_have_labels_of_their_own() -> None:
    """The page names them by their labels, and results.json has a key for each."""
    for table in TABLES.values():
        for claim in table.claims:
            labels = [one.label for one in claim.contrasts]
            assert len(set(labels)) == len(labels), (table.name, claim.text)
    claims = {claim.text: claim for claim in TABLES["taxonomy/two_view_mnist"].claims}
    labels = [one.label for one in claims["On the noisy view, CR is the last"].contrasts]
    assert labels[0] == "CC − CR"  # of one column
    first = claims["Agreement between modalities (XX, RR) is above agreement within each (CR)"]
    assert [one.label for one in first.contrasts][:2] == ["Rotated: XX − CR", "Noisy: XX − CR"]


def test_a_key_is_the_same_pretraining_in_every_table() -> None:
    keys = {}
    for table in TABLES.values():
        for row in table.rows:
            assert keys.setdefault(row.key, (row.config, row.overrides)) == (row.config, row.overrides)


def test_claims_and_published_numbers_are_of_cells_that_are_there() -> None:
    for table in TABLES.values():
        cells = {(row.key, column.key) for row in table.rows for column in table.columns if row.has(column)}
        for claim in table.claims:
            for contrast in claim.contrasts:
                above_chance = {column.startswith("pointing_") for _, column, _ in contrast.weights} == {True}
                total = sum(weight for *_, weight in contrast.weights)
                assert total == pytest.approx(0, abs=1e-12) or (above_chance and len(contrast.weights) == 1)
                assert {(row, column) for row, column, _ in contrast.weights} <= cells
        for row in table.rows:
            for by_column in row.published.values():
                assert {(row.key, column) for column in by_column} <= cells


def test_overrides_are_set_where_there_is_such_a_key(digits_store: Store) -> None:
    rows = [row for row in TABLES["mmcl/table1"].rows if row.key in ("mmcl", "simclr")]
    configs, said = configure(
        rows,
        variant="digits",
        store=digits_store,
        epochs=20,
        overrides=["encoders.image.name=resnet18", "encoders.image.width=0.25", "encoders.table.hidden=16"],
    )
    assert {config.encoders.image.width for config in configs.values()} == {0.25}
    assert configs["mmcl"].encoders.table.hidden == 16
    assert said == ["--config.encoders.table.hidden=16 applies to mmcl; the others have no such key"]
    assert {(config.epochs, config.schedule.warmup_epochs) for config in configs.values()} == {(20, 2)}


def test_runs_of_ones_own_data_are_chosen_alike(digits_store: Store) -> None:
    """By the description that earlier runs of the table keep, and else from the store."""
    rows = [row for row in TABLES["mmcl/table1"].rows if row.key in ("mmcl", "simclr")]
    how = {"variant": "own", "store": digits_store, "epochs": 20, "overrides": ["encoders.table.hidden=16"]}
    configs, _ = configure(rows, **how)
    assert {config.encoders.image.channels for config in configs.values()} == {(32, 64, 128)}
    assert {config.epochs for config in configs.values()} == {20}
    assert {config.schedule.warmup_epochs for config in configs.values()} == {2}
    elsewhere = dataclasses.replace(OwnData(**configs["mmcl"].own), device="gpu", rows=50_000)
    configs, _ = configure(rows, **how, described=elsewhere)
    assert {config.encoders.image.name for config in configs.values()} == {"resnet50"}
