"""Attributions beside what was planted: the AUROC of causal features, and the files of the truth."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmcl_jax.errors import UserError
from mmcl_jax.explain.planted import Truth, auroc_of_causal, over_drawings

pytestmark = pytest.mark.core

CAUSES = (
    "modality,feature,trait,effect\nsnp,rs1,cup,0.3\nsnp,rs5,calibre,-0.2\nsnp,rs5,cup,0.1\npgs,PGS000002,cup,0.5\n"
)
LINKAGE = "variant,causal,r2\nrs2,rs1,0.7\nrs5,rs1,0.06\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "causes.csv").write_text(CAUSES)
    (tmp_path / "linkage.csv").write_text(LINKAGE)
    return tmp_path


def test_the_truth_is_read_and_a_causal_variant_in_linkage_stays_causal(folder: Path) -> None:
    truth = Truth.read(folder)
    assert truth.causal == {"snp": {"rs1", "rs5"}, "pgs": {"PGS000002"}}
    assert truth.linked == {"snp": {"rs2"}}
    assert truth.partners == {"rs1": {"rs1", "rs2", "rs5"}, "rs5": {"rs5"}}


def test_the_auroc_is_that_of_scikit_learn_without_variants_in_linkage(folder: Path) -> None:
    rng = np.random.default_rng(0)
    columns = [{"name": f"rs{index}", "importance": float(round(rng.random(), 1))} for index in range(40)]
    found = auroc_of_causal(columns, Truth.read(folder), "snp")
    kept = [column for column in columns if column["name"] != "rs2"]
    expected = roc_auc_score([c["name"] in ("rs1", "rs5") for c in kept], [c["importance"] for c in kept])
    assert found == {"auroc": pytest.approx(expected), "causal": 2, "noise": 37, "neither": 1}
    with pytest.raises(UserError, match="0 are causal and 40 are noise; the truth is of other data"):
        auroc_of_causal([{**column, "name": f"x{column['name']}"} for column in columns], Truth.read(folder), "snp")


def test_files_of_the_truth_that_are_missing_or_wrong(folder: Path) -> None:
    (folder / "linkage.csv").write_text("rs,causal\n")
    with pytest.raises(UserError, match=r"linkage\.csv has no column 'variant'; it has rs, causal"):
        Truth.read(folder)
    (folder / "linkage.csv").unlink()
    with pytest.raises(UserError, match=r"linkage\.csv does not exist; the truth is the folder"):
        Truth.read(folder)


def test_a_single_drawing_has_no_interval() -> None:
    assert over_drawings([0.7])["mean"] == 0.7
    assert np.isnan(over_drawings([0.7])["low"])
