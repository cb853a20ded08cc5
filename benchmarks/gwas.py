"""Time per variant of `mmcl gwas`, beside plink2, on the same drawn genotypes.

    python -m benchmarks gwas

Both test ten phenotypes with fifteen covariates, of genotypes with and without missing calls, and write what they find.
Ours are read, tested and mapped to disk in this process; plink2 is a program with as many threads as there are cores.
"""

import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import race
from mmcl_jax.genotypes import MISSING_CALL, Variants, open_genotypes, write_bed
from mmcl_jax.genotypes.variants import texts
from mmcl_jax.gwas.statistics.scan import associate

SIZES = {"small": (1_000, 8_000), "full": (20_000, 100_000)}  # people, variants
PHENOTYPES, COVARIATES = 10, 15


def run(size: str) -> list[dict[str, Any]]:
    """Return a row per share of missing calls: microseconds per variant and phenotype, peak memory and agreement."""
    people, variants = SIZES[size]
    return [_row(people, variants, missing) for missing in (0.0, 0.02)]


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as they are: their keys are short enough for a printed table."""
    return rows


def _row(people: int, variants: int, missing: float) -> dict[str, Any]:
    program = shutil.which("plink2")
    with tempfile.TemporaryDirectory() as name:
        folder, random = Path(name), np.random.default_rng(0)
        _draw(folder / "drawn.bed", people, variants, missing, random)
        phenotypes, covariates = random.normal(size=(people, PHENOTYPES)), random.normal(size=(people, COVARIATES))
        _table(folder / "phenotypes.txt", "P", phenotypes)
        _table(folder / "covariates.txt", "C", covariates)
        genotypes = open_genotypes([folder / "drawn.bed"], where="--genotypes")
        names = [f"P{index + 1}" for index in range(PHENOTYPES)]
        found: dict[str, Any] = {}

        def ours() -> None:
            everybody, all_of_them = np.arange(people), np.arange(variants)
            found["ours"] = associate(genotypes, everybody, all_of_them, phenotypes, covariates, names, folder)

        def theirs() -> None:
            words = [str(program), "--bfile", "drawn", "--pheno", "phenotypes.txt", "--covar", "covariates.txt"]
            subprocess.run([*words, "--glm", "hide-covar", "--out", "p"], cwd=folder, check=True, capture_output=True)

        contestants = {"ours": ours} if program is None else {"ours": ours, "plink2": theirs}
        began = time.perf_counter()
        seconds = race(contestants, rounds=2)
        tests = variants * PHENOTYPES
        return {
            "missing": missing,
            "people": people,
            "variants": variants,
            "us_per_test": 1e6 * seconds["ours"] / tests,
            "plink2_us_per_test": 1e6 * seconds["plink2"] / tests if program else None,
            "differing": _differing(folder, found["ours"]) if program else None,
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            "seconds": time.perf_counter() - began,
        }


def _draw(path: Path, people: int, variants: int, missing: float, random: np.random.Generator) -> None:
    calls = np.empty((people, variants), np.int8, order="F")
    for start in range(0, variants, 1000):
        block = calls[:, start : start + 1000]
        block[:] = random.binomial(2, random.uniform(0.05, 0.5, block.shape[1]), block.shape)
        block[random.random(block.shape) < missing] = MISSING_CALL
    where = Variants(
        texts(["1"] * variants),
        np.arange(1, variants + 1),
        texts(f"rs{number}" for number in range(variants)),
        texts("A" for _ in range(variants)),
        texts("G" for _ in range(variants)),
    )
    write_bed(path, calls, people=[f"p{number}" for number in range(people)], variants=where)


def _table(path: Path, letter: str, values: np.ndarray) -> None:
    header = "\t".join(["FID", "IID", *(f"{letter}{index + 1}" for index in range(values.shape[1]))])
    lines = ["\t".join([f"p{row}", f"p{row}", *map(repr, one)]) for row, one in enumerate(values.tolist())]
    path.write_text("\n".join([header, *lines]) + "\n")


def _differing(folder: Path, found: Any) -> int:
    """Return how many effects and standard errors of the first phenotype differ from the digits that plink2 prints."""
    lines = [line.split("\t") for line in (folder / "p.P1.glm.linear").read_text().splitlines()]
    at = {name: lines[0].index(name) for name in ("ID", "A1", "BETA", "SE")}
    count = 0
    for line in lines[1:]:
        row = int(line[at["ID"]][2:])
        sign = 1 if line[at["A1"]] == "A" else -1
        for ours, text in ((sign * found.beta[0, row], line[at["BETA"]]), (found.error[0, row], line[at["SE"]])):
            unit = 10.0 ** (np.floor(np.log10(abs(float(text)))) - 5)
            count += abs(ours - float(text)) > 0.501 * unit
    return int(count)
