"""Tables of people, and phenotypes of their numbers."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mmcl_jax.errors import UserError
from mmcl_jax.gwas.people.phenotypes import check_covariates, inverse_normal, principal_components, residuals
from mmcl_jax.gwas.people.tables import read_people
from mmcl_jax.gwas.results.handover import recoded_sex

pytestmark = pytest.mark.core


@pytest.mark.parametrize("text", [
    "FID IID a b\nf 1 0.5 NA\nf  2   -9 1e3\n",
    "#FID\tIID\ta\tb\nf\t1\t0.5\t\nf\t2\tnan\t1000\n\n",
    "\ufeffFID,IID,a,b\nf,1,.5,.\nf,2,-9,1000\n",
    "## a comment\n#FID IID a b\r\nf 1 0.5 NA\r\nf 2 NA 1000\r\n",
])  # fmt: skip
def test_tables_of_all_separators_are_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text(text)
    people = read_people(tmp_path / "people.txt", "--pheno")
    assert (people.families, people.ids, people.names) == (("f", "f"), ("1", "2"), ("a", "b"))
    assert people.values == pytest.approx(np.array([[0.5, np.nan], [np.nan, 1000]]), nan_ok=True)


def test_a_table_of_components_without_families_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.eigenvec").write_text("#IID\tPC1\tPC2\n7\t0.1\t-0.2\n")
    people = read_people(tmp_path / "c.eigenvec", "--genetic-components")
    assert (people.families, people.ids, people.values.tolist()) == (("0",), ("7",), [[0.1, -0.2]])
    assert people.rows_of(["8", "7"]).tolist() == [-1, 0]


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "is empty; it needs a header with FID and IID"),
    ("id a\n1 2\n", "begins with the columns 'id a'; its header must begin with FID and IID"),
    ("FID a IID\n1 2 3\n", "begins with the columns 'FID a'"),
    ("FID IID\n1 1\n", "has no column behind IID"),
    ("FID IID a a\n1 1 2 3\n", "has two columns 'a'"),
    ("FID IID a\n", "has a header and no person"),
    ("FID IID a\n1 1 2\n1 2\n", "line 3 of .* has 2 columns, and its header 3"),
    ("FID IID a\n1 1 2\n2 1 2\n", "has the person '1' in lines 2 and 3"),
    ("FID IID a\n1 1 high\n", "line 2 of .*, column 'a': 'high' is no finite number"),
    ("FID IID a\n1 1 inf\n", "'inf' is no finite number"),
])  # fmt: skip
def test_another_table_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_people(tmp_path / "people.txt", "--pheno")


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "people.bin").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UserError, match="is no text in UTF-8"):
        read_people(tmp_path / "people.bin", "--pheno")
    with pytest.raises(UserError, match="does not exist"):
        read_people(tmp_path / "nowhere.txt", "--pheno")


def test_ranks_become_the_scores_of_blom() -> None:
    values = np.array([[5.0], [1.0], [np.nan], [3.0], [3.0], [9.0]])
    ranks = np.array([4, 1, np.nan, 2.5, 2.5, 5])
    right = stats.norm.ppf((ranks - 3 / 8) / (5 + 1 / 4))
    assert inverse_normal(values)[:, 0] == pytest.approx(right, nan_ok=True)


def test_components_and_residuals_are_those_of_linear_algebra() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(60, 5)) * np.array([5, 3, 2, 1, 0.1])
    scores, shares = principal_components(values, 3)
    left, sizes, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    assert np.abs(scores) == pytest.approx(np.abs(left * sizes)[:, :3])
    assert shares == pytest.approx((sizes**2 / (sizes**2).sum())[:3])
    assert principal_components(values, 10)[0].shape == (60, 5)
    covariates = np.column_stack([random.normal(1e6, 1, 60), random.integers(0, 2, 60)])
    columns = np.column_stack([np.ones(60), covariates - covariates.mean(axis=0)])
    right = values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
    assert residuals(values, covariates) == pytest.approx(right, abs=1e-9)


def test_constant_and_collinear_covariates_are_named() -> None:
    random = np.random.default_rng(0)
    age, height = random.normal(50, 5, 40), random.normal(1.7, 0.1, 40)
    check_covariates(np.column_stack([age, height, age + random.normal(0, 0.1, 40)]), ["age", "height", "c"], "f")
    with pytest.raises(UserError, match="the covariate 'clinic' of f is constant among the 40 people"):
        check_covariates(np.column_stack([age, np.full(40, 0.3)]), ["age", "clinic"], "f")
    with pytest.raises(UserError, match="the covariate 'sum' of f is a linear combination of those before it"):
        check_covariates(np.column_stack([age, height, 2 * age - height + 3]), ["age", "height", "sum"], "f")


def test_sex_is_written_as_plink_has_it(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("FID IID Sex age\n1 1 0 50\n2 2 1 60\n")
    people = recoded_sex(read_people(tmp_path / "c.txt", "--covariates"))
    assert people.values.tolist() == [[2, 50], [1, 60]]
    (tmp_path / "c.txt").write_text("FID IID sex age\n1 1 1 50\n2 2 2 60\n")
    assert recoded_sex(read_people(tmp_path / "c.txt", "--covariates")).values.tolist() == [[1, 50], [2, 60]]
