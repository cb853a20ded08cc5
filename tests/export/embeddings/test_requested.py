"""New rows of any kinds of entries are embedded as the same rows of a store are."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.training.runs.run import Run
from tests.evaluation.protocols.test_cohort import run, store

__all__ = ["run", "store"]  # fixtures


def test_a_request_gives_what_a_store_of_the_same_files_gives(run: Run, store: Store, tmp_path: Path) -> None:
    request = {name: store.made_by["request"][name] for name in ("key_column", "entries")}
    options = {"input": ["image", "pgs"], "output": "projection"}
    request |= {"cohort": "inner", "split_column": "eid", "max_bad": 0.0}  # leave out no row here
    new = mj.embed(run, request=request, out=tmp_path / "new.parquet", **options)
    stored = mj.embed(run, store=store, out=tmp_path / "stored.parquet", **options)
    assert new.lost == stored.lost == {"pgs": 10}
    frames = [made.to_frame().drop("split", strict=False).sort("row", "modality") for made in (new, stored)]
    assert frames[0].equals(frames[1])
    assert new.to_frame()["row"].is_sorted()
    lost = pl.read_csv(new.unembedded)
    assert lost["row"].to_list() == [row for row in range(40) if row % 4 == 3]
    assert set(lost["reason"]) == {"The row has no 'pgs'."}


def test_a_store_of_several_kinds_is_embedded_side_by_side(run: Run, store: Store, tmp_path: Path) -> None:
    both = mj.embed(run, store=store, split="test", input="image+pgs", out=tmp_path / "both.parquet").to_frame()
    one = mj.embed(run, store=store, split="test", input="pgs", out=tmp_path / "pgs.parquet").to_frame()
    assert both["row"].to_list() == one["row"].to_list()
    np.testing.assert_array_equal(both["features"].to_numpy()[:, 8:], one["features"].to_numpy())


def test_raw_data_of_a_run_on_several_files_needs_a_request(run: Run, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match="name the files of the new rows with --request"):
        mj.embed(run, images=tmp_path / "images", input="image", out=tmp_path / "e.parquet")
