"""The same calls from every format, of one file or several, and of chosen people and variants."""

from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.genotypes import MISSING_CALL, open_genotypes, write_bed
from tests.genotypes import drawn


def test_bed_gives_what_was_written(tmp_path: Path) -> None:
    called = drawn.calls(13, 7)
    genotypes = open_genotypes([drawn.bed(tmp_path / "a.bed", called)], where="snp")
    assert not genotypes.dosages
    assert genotypes.people == tuple(drawn.people(13))
    np.testing.assert_array_equal(genotypes.read(), called)
    described = drawn.variants(7)
    for name in ("chromosome", "position", "id", "counted", "other"):
        np.testing.assert_array_equal(getattr(genotypes.variants, name), getattr(described, name))


def test_pgen_gives_the_calls_of_bed(tmp_path: Path) -> None:
    called = drawn.calls(13, 7)
    genotypes = open_genotypes([drawn.pgen(tmp_path / "a.pgen", called)], where="snp")
    assert not genotypes.dosages
    assert genotypes.sexes is not None
    assert genotypes.sexes.tolist() == [1 + number % 2 for number in range(13)]
    np.testing.assert_array_equal(genotypes.read(), called)
    assert genotypes.variants.counted[0] == "A"


@pytest.mark.parametrize("form", ["pgen", "bgen"])
def test_dosages(tmp_path: Path, form: str) -> None:
    dosages = np.random.default_rng(1).uniform(0, 2, (11, 5)).astype(np.float32)
    dosages[3, 2] = np.nan
    path = getattr(drawn, form)(tmp_path / f"a.{form}", dosages)
    genotypes = open_genotypes([path], where="snp")
    assert genotypes.dosages
    read = genotypes.read(np.array([4, 3, 3]), np.array([2, 0]))
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, dosages[[4, 3, 3]][:, [2, 0]], atol=1e-4)
    assert genotypes.variants[[2]].counted[0] == "A"


def test_people_and_variants_in_any_order(tmp_path: Path) -> None:
    called = drawn.calls(13, 7)
    for path in (drawn.bed(tmp_path / "a.bed", called), drawn.pgen(tmp_path / "a.pgen", called)):
        genotypes = open_genotypes([path], where="snp")
        rows, columns = np.array([9, 2, 2, 0]), np.array([6, 1, 3])
        np.testing.assert_array_equal(genotypes.read(rows, columns), called[rows][:, columns])
        mask = np.arange(7) % 2 == 0
        np.testing.assert_array_equal(genotypes.read(variants=mask), called[:, mask])
        assert genotypes.read(np.array([], int)).shape == (0, 7)
        with pytest.raises(IndexError, match=r"0\.\.12"):
            genotypes.read(np.array([13]))


def test_several_files_join_their_people(tmp_path: Path) -> None:
    first, second = drawn.calls(6, 4), drawn.calls(5, 3, seed=1)
    paths = [
        drawn.bed(tmp_path / "chr1.bed", first, names=["a", "b", "c", "d", "e", "f"]),
        drawn.bed(tmp_path / "chr2.bed", second, names=["f", "x", "c", "a", "b"], chromosome="2"),
    ]
    genotypes = open_genotypes(paths, where="snp")
    assert genotypes.people == ("a", "b", "c", "f")
    assert genotypes.left_out == 3
    joined = np.concatenate([first[[0, 1, 2, 5]], second[[3, 4, 2, 0]]], axis=1)
    np.testing.assert_array_equal(genotypes.read(), joined)
    np.testing.assert_array_equal(genotypes.read(variants=np.array([6, 0, 4])), joined[:, [6, 0, 4]])
    assert genotypes.variants.chromosome.tolist() == ["1"] * 4 + ["2"] * 3


def test_calls_beside_dosages_become_dosages(tmp_path: Path) -> None:
    called, dosages = drawn.calls(4, 2), np.full((4, 3), 0.5, np.float32)
    genotypes = open_genotypes(
        [drawn.bed(tmp_path / "a.bed", called), drawn.pgen(tmp_path / "b.pgen", dosages)], where="snp"
    )
    expected = np.where(called == MISSING_CALL, np.nan, called)
    np.testing.assert_allclose(genotypes.read(), np.concatenate([expected, dosages], axis=1))


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="int8"):
        write_bed(tmp_path / "a.bed", np.zeros((2, 3)), people=["a", "b"], variants=drawn.variants(3))
    with pytest.raises(ValueError, match="int8"):
        write_bed(tmp_path / "a.bed", np.zeros((2, 2), np.int8), people=["a", "b"], variants=drawn.variants(3))
