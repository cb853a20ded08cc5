"""Linkage of haplotypes, clumps beside plink1.9, pruning and genetic components."""

import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mmcl_jax.data.kinds.vector import MISSING
from mmcl_jax.errors import UserError
from mmcl_jax.genotypes import open_genotypes
from mmcl_jax.gwas.statistics.association import Regression
from mmcl_jax.gwas.statistics.clump import clump
from mmcl_jax.gwas.statistics.components import genetic_components
from mmcl_jax.gwas.statistics.ld import r2, r2_of_dosages, r2_of_haplotypes
from mmcl_jax.gwas.statistics.p_values import inflation
from tests.gwas.drawn import CAUSAL, PLINK1, Drawn, draw, needs_plink1


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return draw(tmp_path_factory.mktemp("drawn"))


def by_expectation_maximisation(first: np.ndarray, second: np.ndarray) -> float:
    """Return r2 of the haplotype frequencies of the largest likelihood, of many starts."""
    kept = (first != MISSING) & (second != MISSING)
    counts = np.zeros((3, 3))
    np.add.at(counts, (first[kept], second[kept]), 1)
    total, both = 2 * counts.sum(), counts[1, 1]
    certain = np.array([
        2 * counts[2, 2] + counts[2, 1] + counts[1, 2], 2 * counts[2, 0] + counts[2, 1] + counts[1, 0],
        2 * counts[0, 2] + counts[0, 1] + counts[1, 2], 2 * counts[0, 0] + counts[0, 1] + counts[1, 0],
    ])  # fmt: skip
    best = (-np.inf, np.nan)
    for share in (0.02, 0.5, 0.98):
        for _ in range(5000):
            f = (certain + both * np.array([share, 1 - share, 1 - share, share])) / total
            share = f[0] * f[3] / (f[0] * f[3] + f[1] * f[2])
        likelihood = (certain * np.log(np.maximum(f, 1e-300))).sum() + both * np.log(f[0] * f[3] + f[1] * f[2])
        a, b = f[0] + f[1], f[0] + f[2]
        best = max(best, (likelihood, (f[0] - a * b) ** 2 / (a * (1 - a) * b * (1 - b))))
    return best[1]


@pytest.mark.core
def test_r2_is_that_of_the_most_likely_haplotypes(drawn: Drawn) -> None:
    calls = drawn.calls[:, 100:112]
    found = r2_of_haplotypes(calls[:, 0], calls)
    right = [by_expectation_maximisation(calls[:, 0], calls[:, other]) for other in range(1, 12)]
    assert found[0] == pytest.approx(1)
    assert found[1:] == pytest.approx(right, abs=1e-6)
    assert max(right) > 0.2


def test_a_constant_variant_has_no_linkage_and_dosages_have_a_correlation() -> None:
    calls = np.array([[0, 2], [1, 2], [2, 2], [2, MISSING]], np.int8)
    assert np.isnan(r2(calls[:, 0], calls[:, 1:])[0])
    dosages = np.random.default_rng(0).uniform(0, 2, (50, 3)).astype(np.float32)
    dosages[3, 1] = np.nan
    kept = np.isfinite(dosages[:, 1])
    right = np.corrcoef(dosages[kept, 0], dosages[kept, 1])[0, 1] ** 2
    assert r2(dosages[:, 0], dosages[:, 1:])[0] == pytest.approx(right, rel=1e-5)
    assert np.isnan(r2_of_dosages(dosages[:, 0], np.ones((50, 1), np.float32)))


def test_a_clump_takes_linked_neighbours_that_no_other_has() -> None:
    random = np.random.default_rng(0)
    calls = random.binomial(2, 0.4, (300, 6)).astype(np.int8)
    calls[:, 1], calls[:, 5] = calls[:, 0], calls[:, 0]
    chromosome = np.array(["1", "1", "1", "1", "2", "1"], object)
    position = np.array([1000, 2000, 3000, 4000, 2000, 900_000])
    value = np.array([9.0, 12.0, 8.0, 5.0, np.nan, 9.0])
    regions = clump(value, chromosome, position, lambda at: calls[:, at], p1=1e-8, p2=1e-7)
    assert [(one.index, one.members, one.start, one.end) for one in regions] == [
        (1, (0,), 1000, 2000), (5, (), 900_000, 900_000), (2, (), 3000, 3000),
    ]  # fmt: skip


@needs_plink1
@pytest.mark.parametrize(("r2", "window"), [(0.1, 150), (0.5, 30)])
def test_plink_makes_the_same_clumps(drawn: Drawn, tmp_path: Path, r2: float, window: float) -> None:
    path = drawn.files[0]
    genotypes = open_genotypes([path], where="--genotypes")
    values = Regression(drawn.trait[:, None], np.zeros((len(drawn.people), 0)))(genotypes.read()).neg_log10_p[0]
    names = [str(one) for one in genotypes.variants.id]
    pl.DataFrame({"SNP": names, "P": 10**-values}).write_csv(tmp_path / "assoc.txt", separator="\t")
    options = ["--clump-p1", "1e-4", "--clump-p2", "1e-2", "--clump-r2", str(r2), "--clump-kb", str(window)]
    subprocess.run(
        [str(PLINK1), "--bfile", str(path.with_suffix("")), "--allow-no-sex", "--clump", "assoc.txt", *options],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    lines = [line.split() for line in (tmp_path / "plink.clumped").read_text().splitlines()[1:] if line.strip()]
    theirs = [(line[2], {one.partition("(")[0] for one in line[11].split(",")} - {"NONE"}) for line in lines]
    regions = clump(
        values, genotypes.variants.chromosome, genotypes.variants.position,
        lambda at: genotypes.read(variants=at), p1=1e-4, p2=1e-2, r2=r2, window=window,
    )  # fmt: skip
    ours = [(names[one.index], {names[member] for member in one.members}) for one in regions]
    assert ours == theirs
    assert len(ours) > 1
    assert any(members for _, members in ours)


def test_genetic_components_find_the_populations_and_are_those_of_a_decomposition(drawn: Drawn) -> None:
    genotypes = open_genotypes(drawn.files, where="--genotypes")
    people, variants = np.arange(len(drawn.people)), np.arange(len(genotypes.variants))
    components, used = genetic_components(genotypes, people, variants, 3)
    assert 30 < used < len(variants)
    assert abs(np.corrcoef(components[:, 0], drawn.population)[0, 1]) > 0.98
    assert components.T @ components / len(people) == pytest.approx(np.eye(3), abs=1e-6)
    whole, used = genetic_components(genotypes, people, variants, 3, r2=1.0)  # nothing is pruned
    filled = np.where(drawn.calls < 0, np.nan, drawn.calls)
    frequency, lacking = np.nanmean(filled, axis=0) / 2, np.isnan(filled).mean(axis=0)
    kept = (np.minimum(frequency, 1 - frequency) >= 0.01) & (lacking <= 0.05)
    assert used == kept.sum() > 0.9 * len(variants)
    filled = filled[:, kept]
    centred = np.nan_to_num(filled - np.nanmean(filled, axis=0))
    left = np.linalg.svd(centred / np.linalg.norm(centred, axis=0))[0][:, :3] * np.sqrt(len(people))
    assert np.abs((whole * left).mean(axis=0)) == pytest.approx(1, abs=1e-4)


def test_structure_inflates_without_components_and_not_with_them(drawn: Drawn) -> None:
    genotypes = open_genotypes(drawn.files, where="--genotypes")
    people, variants = np.arange(len(drawn.people)), np.arange(len(genotypes.variants))
    components, _ = genetic_components(genotypes, people, variants, 2)
    confounded = (drawn.population + np.random.default_rng(5).normal(0, 0.7, len(people)))[:, None]
    without = inflation(Regression(confounded, np.zeros((len(people), 0)))(drawn.calls).neg_log10_p[0])
    with_them = inflation(Regression(confounded, components)(drawn.calls).neg_log10_p[0])
    assert without > 3
    assert with_them < 1.35
    assert {CAUSAL[0], CAUSAL[1]} < set(variants.tolist())


def test_more_components_than_variants_are_refused(drawn: Drawn) -> None:
    genotypes = open_genotypes(drawn.files, where="--genotypes")
    with pytest.raises(UserError, match=r"\d+ variants are left after pruning for linkage"):
        genetic_components(genotypes, np.arange(100), np.arange(20), 15, r2=1.0)
    with pytest.raises(UserError, match="9 components need at least 11 people, and 10 are analysed"):
        genetic_components(genotypes, np.arange(10), np.arange(200), 9)
