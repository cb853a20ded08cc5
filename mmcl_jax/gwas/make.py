"""A study from its sources to its folder: phenotypes, associations, regions, tables and the page."""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax import __version__
from mmcl_jax.border import to_json
from mmcl_jax.export.folder import check_out
from mmcl_jax.files import atomic, write_checksums, write_text
from mmcl_jax.genotypes import Genotypes
from mmcl_jax.gwas.find import Found, Settings, find_regions
from mmcl_jax.gwas.people.cohort import Cohort, phenotypes_of
from mmcl_jax.gwas.results.catalog import Catalog
from mmcl_jax.gwas.results.handover import write_handover
from mmcl_jax.gwas.results.page import Study, render_page
from mmcl_jax.gwas.results.ssf import write_combined, write_ssf
from mmcl_jax.gwas.statistics.p_values import inflation
from mmcl_jax.lock import locked

ABOUT, PAGE = "gwas.json", "gwas.html"
INFLATED = 1.1  # the inflation above which the page warns of a phenotype


def check_study(out: Path) -> None:
    """Raise `UserError` unless a study can be written to a folder, which may hold an earlier one."""
    check_out(out, what="a study", card=ABOUT)


def write_study(
    cohort: Cohort,
    genotypes: Genotypes | None,
    settings: Settings,
    out: Path,
    *,
    title: str,
    command: str,
    catalog: Catalog | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the folder of a study atomically, and return what `gwas.json` says.

    A kill leaves no part of a study; the same call writes the same bytes again.

    Args:
      cohort: the people, checked.
      genotypes: the opened files; without any, the phenotypes are handed over and nothing is tested.
      settings: of the phenotypes and tests.
      out: the folder; an earlier study in it is replaced.
      title: of the page.
      command: that makes the study, for the page.
      catalog: associations of others, to look up regions in.
      warnings: sentences that the page begins with.

    Raises:
      UserError: see `check_study` and `phenotypes_of`; nothing is written.
    """
    phenotypes, shares = phenotypes_of(cohort, components=settings.components, transform=settings.transform)
    out = Path(os.path.abspath(out))
    with contextlib.ExitStack() as resources:
        resources.enter_context(locked(out.with_name(f".{out.name}.lock"), what=f"writes the study {out}"))
        check_study(out)
        partial = resources.enter_context(atomic(out))
        partial.mkdir(parents=True)
        files = () if genotypes is None else genotypes.files
        commands = write_handover(partial, phenotypes, cohort.covariates, files, min_frequency=settings.min_frequency)
        about: dict[str, Any] = {
            "mmcl_jax": __version__,
            "command": command,
            "settings": dataclasses.asdict(settings),
            "people": len(phenotypes.ids),
            "left_out": dict(cohort.counts),
            "covariates": list(cohort.covariates.names),
            "pruned_variants": cohort.pruned,
            "phenotypes": list(phenotypes.names),
            "variance": [float(share) for share in shares],
        }
        study = Study(title, command, about, commands, list(warnings))
        if genotypes is not None:
            (partial / ".arrays").mkdir()
            found = find_regions(cohort, phenotypes, genotypes, settings, partial / ".arrays")
            about |= _summarised(found, genotypes, phenotypes.names, partial)
            study = dataclasses.replace(study, found=found.associations, combined=found.combined, regions=found.regions)
            traits = _look_up(catalog, study, settings.window)
            _write_regions(partial / "regions.tsv", study, traits, found.best)
            study = dataclasses.replace(study, traits=traits, best=found.best)
            about["catalog"] = None if catalog is None else {"file": str(catalog.source), "rows": catalog.rows}
            inflated = [name for name, value in about["inflation"].items() if value > INFLATED]
            study.warnings.extend(_inflated(inflated, about["inflation"]))
        about["warnings"] = study.warnings
        write_text(partial / PAGE, render_page(study, p1=settings.p1))
        write_text(partial / ABOUT, to_json(about, indent=1) + "\n")
        shutil.rmtree(partial / ".arrays", ignore_errors=True)
        write_checksums(partial, [path for path in partial.rglob("*") if path.is_file()])
    return about


def _summarised(found: Found, genotypes: Genotypes, names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write the summary statistics, and return what `gwas.json` says of the tests."""
    associations = found.associations
    (folder / "summary").mkdir()
    for index, name in enumerate(names):
        write_ssf(folder / "summary" / f"{index + 1:02d}-{_file_name(name)}.tsv.gz", associations, index)
    write_combined(folder / "combined.tsv.gz", associations, found.combined, found.best)
    return {
        "genotypes": [str(path) for path in genotypes.files],
        "variants": int(np.isfinite(found.combined).sum()),
        "untested": {**found.excluded, **associations.untested()},
        "inflation": {name: inflation(associations.neg_log10_p[index]) for index, name in enumerate(names)},
        "inflation_of_permuted": inflation(associations.permuted),
        "regions": len(found.regions),
    }


def _look_up(catalog: Catalog | None, study: Study, window: float) -> list[list[tuple[str, int]]] | None:
    if catalog is None or study.found is None:
        return None
    variants = study.found.variants
    return [
        catalog.near(
            str(variants.chromosome[region.index]),
            region.start,
            region.end,
            [str(variants.id[one]) for one in (region.index, *region.members)],
            window=window,
        )
        for region in study.regions
    ]


def _write_regions(path: Path, study: Study, traits: list[list[tuple[str, int]]] | None, best: np.ndarray) -> None:
    """Write a row per region."""
    found, regions = study.found, study.regions
    assert found is not None
    assert study.combined is not None
    index = np.array([region.index for region in regions], np.int64)
    of = best[index]
    variants, groups = found.variants[index], found.group[of]
    columns: Mapping[str, Any] = {
        "chromosome": [str(one) for one in variants.chromosome],
        "base_pair_location": variants.position,
        "variant": [str(one) for one in variants.id],
        "effect_allele": [str(one) for one in variants.counted],
        "other_allele": [str(one) for one in variants.other],
        "effect_allele_frequency": found.frequency[groups, index],
        "phenotype": [found.names[one] for one in of.tolist()],
        "beta": found.beta[of, index],
        "standard_error": found.error[of, index],
        "neg_log_10_p_value": study.combined[index],
        "n": found.count[groups, index],
        "start": [region.start for region in regions],
        "end": [region.end for region in regions],
        "members": [",".join(str(found.variants.id[one]) for one in region.members) for region in regions],
    }
    if traits is not None:
        columns = {**columns, "catalog": ["; ".join(f"{name} ({count})" for name, count in one) for one in traits]}
    pl.DataFrame(columns).write_csv(path, separator="\t")


def _inflated(names: Sequence[str], values: Mapping[str, float]) -> list[str]:
    if not names:
        return []
    worst = max(names, key=lambda name: values[name])
    return [
        f"The statistics of {', '.join(names)} are inflated (up to {values[worst]:.2f} for {worst}, where a calibrated "
        "test has 1): their regions may come from population structure, relatives or linkage over long distances. Add "
        "genetic components, or test with REGENIE; regions of inflated phenotypes should not be counted as found."
    ]


def _file_name(name: str) -> str:
    return "".join(mark if mark.isalnum() or mark in "-_" else "_" for mark in name)[:60]
