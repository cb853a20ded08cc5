"""The files and command lines with which PLINK 2 and REGENIE test the same phenotypes.

REGENIE fits a ridge regression on the whole genome first, so that it also serves samples with relatives; its formats
follow its documentation, and no test here runs it.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmcl_jax.gwas.people.tables import People

_FLAGS = {".bed": ("--bfile", "--bed"), ".pgen": ("--pfile", "--pgen"), ".bgen": ("--bgen", "--bgen")}


def write_handover(
    folder: Path, phenotypes: People, covariates: People, genotypes: Sequence[Path], *, min_frequency: float
) -> dict[str, str]:
    """Write `plink2/` and `regenie/`, each with phenotypes, covariates and the command as `run.sh`.

    Args:
      folder: that gets both.
      phenotypes: of the people who are analysed.
      covariates: of the same people, genetic components among them; it may have no column.
      genotypes: the files, for the command lines; without one they say GENOTYPES.
      min_frequency: variants whose rarer allele is rarer are left out.

    Returns:
      The text of each command, by program.
    """
    commands = {}
    for program in ("plink2", "regenie"):
        (folder / program).mkdir()
        _write(folder / program / "phenotypes.txt", phenotypes)
        if covariates.names:
            _write(folder / program / "covariates.txt", recoded_sex(covariates) if program == "plink2" else covariates)
        make = _plink2 if program == "plink2" else _regenie
        text = make(list(genotypes), bool(covariates.names), min_frequency)
        (folder / program / "run.sh").write_text(f"#!/bin/sh\n# Run it in this folder.\nset -e\n{text}\n", "utf-8")
        commands[program] = text
    return commands


def recoded_sex(covariates: People) -> People:
    """Return the covariates with a column `sex` of 0 (female) and 1 (male) as PLINK writes it: 2 and 1."""
    values = covariates.values.copy()
    for index, name in enumerate(covariates.names):
        if name.lower() == "sex" and set(np.unique(values[:, index]).tolist()) <= {0.0, 1.0}:
            values[:, index] = 2 - values[:, index]
    return People(covariates.source, covariates.families, covariates.ids, covariates.names, values)


def _write(path: Path, people: People) -> None:
    """Write a table with the header `FID IID`, which both programs read; numbers keep all their digits."""
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(("FID", "IID", *people.names)) + "\n")
        for family, person, row in zip(people.families, people.ids, people.values.tolist(), strict=True):
            cells = (repr(value) if value == value else "NA" for value in row)
            file.write("\t".join((family, person, *cells)) + "\n")


def _plink2(genotypes: list[Path], with_covariates: bool, min_frequency: float) -> str:
    lines = []
    for number, path in enumerate(genotypes or [Path("GENOTYPES.bed")]):
        # A phenotype of the genotype files themselves would be tested, too, and often cannot be.
        words = ["plink2", *_input(path, 0), "--no-psam-pheno", "--pheno", "phenotypes.txt"]
        if with_covariates:
            # Scaling changes no result, and plink2 refuses covariates of very different scales without it.
            words += ["--covar", "covariates.txt", "--covar-variance-standardize"]
            words += ["--glm", "hide-covar", "cols=+a1freq"]
        else:
            words += ["--glm", "allow-no-covars", "cols=+a1freq"]
        words += ["--maf", f"{min_frequency:g}"] if min_frequency else []
        lines.append(shlex.join([*words, "--out", f"linear-{number + 1}"]))
    return "\n".join(lines)


def _regenie(genotypes: list[Path], with_covariates: bool, min_frequency: float) -> str:
    files = genotypes or [Path("GENOTYPES.bed")]
    tables = ["--phenoFile", "phenotypes.txt"] + (["--covarFile", "covariates.txt"] if with_covariates else [])
    step1 = ["regenie", "--step", "1", *_input(files[0], 1), *tables, "--bsize", "1000", "--lowmem", "--out", "fit"]
    lines = ["# Step 1 wants some 500,000 common variants of the whole genome in one file.", shlex.join(step1)]
    for number, path in enumerate(files):
        words = ["regenie", "--step", "2", *_input(path, 1), *tables, "--pred", "fit_pred.list", "--bsize", "400"]
        lines.append(shlex.join([*words, "--out", f"linear-{number + 1}"]))
    return "\n".join(lines)


def _input(path: Path, program: int) -> list[str]:
    kind = path.suffix if path.suffix in _FLAGS else ".bed"
    absolute = path.absolute() if path.is_absolute() or path.exists() else path
    if kind == ".bgen":
        sample = ["--sample", str(absolute.with_suffix(".sample"))]
        return ["--bgen", str(absolute), *(["ref-first"] if program == 0 else []), *sample]
    return [_FLAGS[kind][program], str(absolute.with_suffix("") if path.suffix == kind else absolute)]
