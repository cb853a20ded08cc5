"""The people of a study: those with phenotypes, covariates, genetic components and genotypes, in one order."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.genotypes import Genotypes
from mmcl_jax.gwas.chromosomes import plain_chromosome
from mmcl_jax.gwas.people.phenotypes import check_covariates, inverse_normal, principal_components, residuals
from mmcl_jax.gwas.people.tables import People
from mmcl_jax.gwas.statistics.components import genetic_components

_SEX_CHROMOSOMES = ("X", "Y", "MT")


@dataclasses.dataclass(frozen=True)
class Cohort:
    """The people of a study and what is known of them.

    Attributes:
      raw: their phenotypes as given, or their embeddings.
      covariates: `[N, C]`, genetic components among them.
      genotyped: indices of the people in the genotype files, `[N]`; None without such files.
      counts: why people are not among them, by sentence.
      pruned: the number of variants that computed components are made of; 0 if they were given, or there are none.
    """

    raw: People
    covariates: People
    genotyped: np.ndarray | None
    counts: Mapping[str, int]
    pruned: int = 0


def chosen_variants(genotypes: Genotypes) -> tuple[np.ndarray, dict[str, int]]:
    """Return the indices of the variants to test, and how many are left out, by reason.

    Chromosomes X, Y and MT are left out, of which men have one copy; and, as in PLINK, negative positions.
    """
    variants = genotypes.variants
    names = {name: plain_chromosome(name) in _SEX_CHROMOSOMES for name in set(variants.chromosome.tolist())}
    of_sex = np.array([names[name] for name in variants.chromosome.tolist()], bool)
    negative = ~of_sex & (variants.position < 0)
    counts = {"chromosome X, Y or MT": int(of_sex.sum()), "a negative position": int(negative.sum())}
    chosen = np.flatnonzero(~of_sex & ~negative)
    check(len(chosen) > 0, "--genotypes: no variant is left: all are on X, Y or MT, or have negative positions.")
    return chosen, {reason: count for reason, count in counts.items() if count}


def cohort_of(raw: People, tables: Sequence[People], genotypes: Genotypes | None) -> Cohort:
    """Return the people whom all sources have, with their covariates, in the order of the phenotypes.

    Args:
      raw: phenotypes or embeddings.
      tables: covariates, and genetic components of a file.
      genotypes: the opened files, if there are any.

    Raises:
      UserError: two columns of covariates have one name, or the sources have no person in common.
    """
    names = [name for table in tables for name in table.names]
    for name in names:
        check(names.count(name) == 1, f"--covariates: two files have a column {name!r}; rename one of them.")
    kept = np.isfinite(raw.values).any(axis=1)
    counts = {f"people of {raw.source}": len(kept), "without any phenotype": int((~kept).sum())}
    columns: list[np.ndarray] = []
    for table in tables:
        rows = table.rows_of(raw.ids)
        absent = rows < 0
        check(
            bool((kept & ~absent).any()),
            f"{table.source} and the sources before it have no person in common; compare the IIDs (such as "
            f"{raw.ids[0]!r} of {raw.source} and {table.ids[0]!r}).",
        )
        values = np.where(absent[:, None], np.nan, table.values[rows])
        lacking = ~absent & ~np.isfinite(values).all(axis=1)
        counts[f"not in {table.source}"] = int((kept & absent).sum())
        counts[f"with a missing value in {table.source}"] = int((kept & lacking).sum())
        kept = kept & ~absent & ~lacking
        columns.append(values)
    genotyped = None
    if genotypes is not None:
        index = {one: row for row, one in enumerate(genotypes.people)}
        genotyped = np.array([index.get(one, -1) for one in raw.ids], np.int64)
        check(
            bool((kept & (genotyped >= 0)).any()),
            f"--genotypes: {genotypes.files[0]} and the sources before it have no person in common; compare the IIDs "
            f"(such as {raw.ids[0]!r} of {raw.source} and {genotypes.people[0]!r}).",
        )
        counts["without genotypes"] = int((kept & (genotyped < 0)).sum())
        kept = kept & (genotyped >= 0)
    rows = np.flatnonzero(kept)
    check(len(rows) > 0, f"{tables[-1].source if tables else raw.source}: nobody has all values; fill some of them in.")
    people = raw.of(rows)
    if genotypes is not None and genotyped is not None:
        genotyped = genotyped[rows]
        families = tuple(genotypes.families[row] for row in genotyped.tolist())
        people = dataclasses.replace(people, families=families)
    values = np.concatenate([column[rows] for column in columns], axis=1) if columns else np.zeros((len(rows), 0))
    source = " and ".join(table.source for table in tables) or "no file"
    covariates = People(source, people.families, people.ids, tuple(names), values)
    return Cohort(people, covariates, genotyped, {reason: n for reason, n in counts.items() if n})


def checked(cohort: Cohort) -> Cohort:
    """Return the cohort after a check of its covariates and size.

    Raises:
      UserError: a covariate is constant or collinear, or there are fewer people than covariates + 3.
    """
    people, columns = len(cohort.raw.ids), len(cohort.covariates.names)
    check(
        people >= columns + 3,
        f"{people} people have phenotypes, covariates and genotypes; {columns} covariates need at least {columns + 3}.",
    )
    check_covariates(cohort.covariates.values, cohort.covariates.names, cohort.covariates.source)
    return cohort


def with_components(cohort: Cohort, genotypes: Genotypes, variants: np.ndarray, count: int) -> Cohort:
    """Return the cohort with genetic components that are computed of its genotypes."""
    assert cohort.genotyped is not None
    values, used = genetic_components(genotypes, cohort.genotyped, variants, count)
    names = tuple(f"GPC{index + 1}" for index in range(count))
    old = cohort.covariates
    for name in names:
        check(
            name not in old.names,
            f"--covariates: {old.source} has a column {name!r}, as a computed component; rename it.",
        )
    covariates = dataclasses.replace(old, names=(*old.names, *names), values=np.column_stack([old.values, values]))
    return dataclasses.replace(cohort, covariates=covariates, pruned=used)


def phenotypes_of(cohort: Cohort, *, components: int, transform: str) -> tuple[People, np.ndarray]:
    """Return the phenotypes of a cohort, and the share of variance of each component.

    Args:
      cohort: the people.
      components: principal components of the columns; 0 takes the columns themselves.
      transform: "inverse_normal" takes residuals on the covariates and ranks as normal scores; "none" leaves values.

    Raises:
      UserError: a column is constant, or components are asked for and a value is missing.
    """
    raw, shares = cohort.raw, np.zeros(0)
    values, names = raw.values, raw.names
    if components:
        column = np.isnan(values).any(axis=0)
        check(
            not column.any(),
            f"--pheno: {raw.source} lacks values of {names[int(column.argmax())]!r}, and principal components need "
            "all; add --components 0 to test the columns themselves.",
        )
        values, shares = principal_components(values, components)
        names = tuple(f"PC{index + 1}" for index in range(values.shape[1]))
    for name, one in zip(names, values.T, strict=True):
        present = one[np.isfinite(one)]
        check(
            len(present) > 0 and float(np.ptp(present)) > 1e-12 * max(1.0, float(np.abs(present).max())),
            f"--pheno: the phenotype {name!r} of {raw.source} is constant among the {len(present)} people who are "
            "analysed; leave it out.",
        )
    if transform == "inverse_normal":
        made = np.full(values.shape, np.nan)
        for index in range(values.shape[1]):
            rows = np.isfinite(values[:, index])
            left = residuals(values[rows, index : index + 1], cohort.covariates.values[rows])
            made[rows, index] = inverse_normal(left)[:, 0]
        values = made
    return dataclasses.replace(raw, names=tuple(names), values=values), shares
