"""How many of the planted variants a study of association finds in the embeddings of people whom no run has seen."""

import math
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.explain.planted import Truth
from mmcl_jax.genotypes import open_genotypes
from mmcl_jax.gwas.find import Found, Settings, find_regions
from mmcl_jax.gwas.people.cohort import checked, chosen_variants, cohort_of, phenotypes_of, with_components
from mmcl_jax.gwas.people.embeddings import PERSON, embedded_people
from mmcl_jax.gwas.people.tables import People, read_people
from mmcl_jax.gwas.statistics.p_values import inflation
from mmcl_jax.reproduce.analyses.raw import Raw
from mmcl_jax.reproduce.plan import Evaluation
from mmcl_jax.reproduce.spec import COUNTS, FALSE, INFLATION, PLANTED, REGIONS
from mmcl_jax.training.runs.run import Run

_EYE = r"left/[^/]*_0_0$"  # the keys of left eyes at the first visit, as the recipe `fundus` names them
_COVARIATES = ("sex", "age")
_ROUNDING = 1e-6  # of float32
_COMPONENTS = 15  # of the genotypes, as in ContIG
SETTINGS = Settings()


def associated(evaluation: Evaluation, run: Run, store: Store, raw: Raw) -> tuple[Score, dict[str, Any]]:
    """Return what the study of a run's embeddings finds.

    As in ContIG (Taleb et al., CVPR 2022, Section 4.2.5), the embeddings of the left eye of every person become ten
    principal components, sex, age and 15 genetic components are taken out, and every variant is tested (see
    `mmcl gwas`).

    Args:
      evaluation: of the row, whose untrained encoder is taken if it is a baseline.
      run: the pretraining.
      store: of the people, whom the run was not trained on.
      raw: their genotypes and covariates, and what was planted in them.

    Raises:
      UserError: the run was trained on some of them, or files have no person in common.
    """
    embedded = embedded_people(
        run, store, split="all", select=_EYE, person=PERSON, input=evaluation.input, allow_overlap=False,
        untrained=bool(evaluation.row.baseline),
    )  # fmt: skip
    genotypes = open_genotypes(raw.genotypes, where="--raw")
    cohort = cohort_of(embedded.people, [covariates_of(raw)], genotypes)
    cohort = checked(with_components(checked(cohort), genotypes, chosen_variants(genotypes)[0], _COMPONENTS))
    components, share = min(SETTINGS.components, dimensions(cohort.raw.values)), 0.0
    nothing = dict.fromkeys(COUNTS if raw.truth else (REGIONS,), 0.0)
    metrics = nothing | dict.fromkeys((INFLATION, "inflation_largest", "inflation_permuted"), math.nan)
    if components:
        phenotypes, shares = phenotypes_of(cohort, components=components, transform=SETTINGS.transform)
        share = float(np.sum(shares))
        with tempfile.TemporaryDirectory() as folder:
            metrics = counts(find_regions(cohort, phenotypes, genotypes, SETTINGS, Path(folder)), raw.truth)
    score = Score(
        method=evaluation.row.key,
        seed=run.config.seed,
        protocol=evaluation.protocol,
        input=evaluation.input,
        label="",
        budget="no labels",
        draw=0,
        metrics={**metrics, "people": len(cohort.raw.ids), "components": components, "variance": share},
        chosen={},
    )
    return score, {}


def dimensions(values: np.ndarray) -> int:
    """Return in how many dimensions embeddings `[N, D]` vary by more than rounding; 0 if all are the same.

    A collapsed encoder has fewer than ten, and then fewer components are tested.

    Example:
      >>> one = np.random.default_rng(0).normal(size=(20, 1))
      >>> dimensions(np.zeros((20, 4))), dimensions(np.hstack([one, 2 * one, 1 + 0 * one]))
      (0, 1)
    """
    spread = np.linalg.svd(values - values.mean(axis=0), compute_uv=False)
    least = max(_ROUNDING * spread[0], _ROUNDING * float(np.abs(values).max()) * math.sqrt(len(values)))
    return int((spread > least).sum())


def covariates_of(raw: Raw) -> People:
    """Return the sex and age of people.

    Raises:
      UserError: the file of covariates lacks one of these columns.
    """
    table = read_people(raw.covariates, "--raw")
    for name in _COVARIATES:
        check(name in table.names, f"--raw: {raw.covariates} has no column {name!r}.")
    kept = [table.names.index(name) for name in _COVARIATES]
    return People(table.source, table.families, table.ids, _COVARIATES, table.values[:, kept])


def counts(found: Found, truth: Truth | None) -> dict[str, float]:
    """Return the numbers of regions, and the inflation.

    With a truth, a region is planted if it holds a causal variant or a variant in linkage with it, and false if not;
    the planted variants are those that any region finds. The inflation is that of all phenotypes together, of variants
    that are neither causal nor in linkage: those that are have effects, and no calibrated test is blind to them.
    """
    associations = found.associations
    named: Collection[str] = () if truth is None else set().union(*truth.partners.values())
    noise = np.array([str(name) not in named for name in associations.variants.id.tolist()], bool)
    by_phenotype = [inflation(of_phenotype[noise]) for of_phenotype in associations.neg_log10_p]
    numbers: dict[str, float] = {
        REGIONS: len(found.regions),
        INFLATION: inflation(associations.neg_log10_p[:, noise].ravel()),
        "inflation_largest": max(by_phenotype),
        "inflation_permuted": inflation(associations.permuted),
    }
    if truth is None:
        return numbers
    hits = [
        {cause for cause, partners in truth.partners.items() if partners & found.variants_of(region)}
        for region in found.regions
    ]
    return {**numbers, PLANTED: len(set().union(*hits)), FALSE: sum(not hit for hit in hits)}
