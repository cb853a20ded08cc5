"""Genotypes are embedded from new files as from the store, also where a file counts the other allele."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.config import encoder, experiment, input, projector, term, view
from mmcl_jax.errors import UserError
from mmcl_jax.genotypes import MISSING_CALL, Variants, write_bed
from mmcl_jax.prepare.entries.variants import read_variants
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.runs.run import Run
from tests.export.untrained import untrained_run
from tests.genotypes import drawn

PEOPLE, SWAPPED = [f"p{number}" for number in range(24)], 4
CALLS = drawn.calls(24, 9)


def request_of(folder: Path, genotypes: str) -> dict[str, Any]:
    entries = {
        "snp": {"kind": "genotypes", "file": str(folder / genotypes), "by": "person"},
        "pgs": {"kind": "vector", "file": str(folder / "scores.csv"), "key": "person", "by": "person"},
    }
    return {"table": str(folder / "people.csv"), "key_column": "person", "entries": entries}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People with genotypes; `new.bed` has the same, with the other allele of four variants counted."""
    root = tmp_path_factory.mktemp("people")
    drawn.bed(root / "old.bed", CALLS, names=PEOPLE)
    found = drawn.variants(9)
    counted, other, calls = found.counted.copy(), found.other.copy(), CALLS.copy()
    counted[:SWAPPED], other[:SWAPPED] = found.other[:SWAPPED], found.counted[:SWAPPED]
    part = calls[:, :SWAPPED]
    calls[:, :SWAPPED] = np.where(part == MISSING_CALL, part, 2 - part)
    write_bed(
        root / "new.bed", calls, people=PEOPLE, variants=Variants(**{**vars(found), "counted": counted, "other": other})
    )
    pl.DataFrame({"person": PEOPLE, "x": np.arange(24.0)}).write_csv(root / "people.csv")
    pl.DataFrame({"person": PEOPLE, "a": np.arange(24.0), "b": np.arange(24.0) % 5}).write_csv(root / "scores.csv")
    return root


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    store = prepare(Request.from_json(request_of(folder, "old.bed")), folder / "store")
    config = experiment()
    config.name, config.data, config.batch_size, config.batch_norm.group_size = "genetics", str(folder / "store"), 8, 8
    config.inputs = {"snp": input(missing="mode", scale="none"), "pgs": input(missing="mean", scale="std")}
    config.views = {name: view("vector", modality=name) for name in ("snp", "pgs")}
    config.encoders = {name: encoder("genetics_mlp", hidden=6, layers=1) for name in ("snp", "pgs")}
    config.projectors = {name: projector("mlp", hidden=4, out=4) for name in ("snp", "pgs")}
    config.objective = (term("clip", between=("snp", "pgs")),)
    return untrained_run(config, store, folder / "run")


def test_new_genotypes_are_embedded_as_those_of_the_store_by_the_run_alone(folder: Path, run: Run) -> None:
    options = {"input": "snp", "output": "features"}
    stored = mj.embed(run, store=folder / "store", out=folder / "stored.parquet", **options).to_frame().sort("key")
    assert stored["features"].to_numpy().std(axis=0).max() > 0
    shutil.move(folder / "store", folder / "elsewhere")
    new = mj.embed(run, request=request_of(folder, "new.bed"), out=folder / "new.parquet", **options)
    assert new.lost == {}
    found = new.to_frame().sort("key")
    assert found["key"].to_list() == stored["key"].to_list()
    np.testing.assert_array_equal(found["features"].to_numpy(), stored["features"].to_numpy())


def test_an_export_says_which_allele_of_each_variant_is_counted(folder: Path, run: Run) -> None:
    mj.export(run, out=folder / "export", format="safetensors", input="snp")
    card = json.loads((folder / "export" / "card.json").read_text())["preprocessing"]["snp"]
    variants = read_variants(folder / "export" / card["variants"], "")
    for name in ("id", "counted", "other", "chromosome", "position"):
        assert getattr(variants, name).tolist() == getattr(drawn.variants(9), name).tolist()
    assert (folder / "export" / card["names"]).read_text().split() == drawn.variants(9).id.tolist()
    assert "`snp.variants.tsv`: The variants, with both alleles" in (folder / "export" / "README.md").read_text()


def test_a_genotype_file_that_lacks_a_variant_of_the_run_is_refused(folder: Path, run: Run) -> None:
    drawn.bed(folder / "fewer.bed", np.ascontiguousarray(CALLS[:, :8]), names=PEOPLE)
    with pytest.raises(UserError, match=r"the files lack 1 variant that .* has: 'rs1_8'"):
        mj.embed(run, request=request_of(folder, "fewer.bed"), out=folder / "no.parquet", input="snp")
