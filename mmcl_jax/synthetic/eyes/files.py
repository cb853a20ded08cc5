"""Writing the genetics of drawn people in the formats of facts 3.3 of ContIG, and the truth about them.

pip install "mmcl_jax[genetics]"        # for burdens in HDF5
"""

import csv
import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mmcl_jax.errors import UserError
from mmcl_jax.genotypes import MISSING_CALL, Variants, write_bed
from mmcl_jax.synthetic.eyes.anatomy import TRAITS
from mmcl_jax.synthetic.eyes.genome import COMPONENTS, kinship
from mmcl_jax.synthetic.eyes.people import LINKED, People

UNCALLED = 0.01  # share of genotypes without a call
EMPTY = 0.02  # share of empty cells in the covariates that may have them


def write_genetics(root: Path, people: People, random: np.random.Generator) -> None:
    """Write genotypes, scores, burdens, covariates, relatives, ancestry and the truth into `root`.

    Raises:
      UserError: h5py is not installed.
    """
    iids = np.array(people.population.iids)
    _genotypes(root / "genotypes", people, random)
    with_scores = people.present["pgs"]
    (root / "scores").mkdir()
    for score in range(people.scores.shape[1]):
        _score(root / "scores" / f"{score_name(score)}.sscore", iids[with_scores], people.scores[with_scores, score])
    _burdens(root / "burdens", iids[people.present["burden"]], people.burdens[people.present["burden"]])
    _covariates(root / "covariates.csv", people, random)
    european = people.population.of_person(people.population.european)
    share = np.where(european > 0, random.uniform(0.991, 1, len(iids)), random.uniform(0, 0.2, len(iids)))
    rows = [{"IID": iid, "EUR": f"{eur:.4f}", "AFR": f"{1 - eur:.4f}"} for iid, eur in zip(iids, share, strict=True)]
    write_table(root / "ancestry.tsv", rows, "\t")
    _relatives(root / "relatives.kin0", people)
    _truth(root / "truth", people)


def score_name(score: int) -> str:
    """Return the name of a score, as in the PGS Catalog."""
    return f"PGS{score + 1:06d}"


def gene_name(gene: int) -> str:
    """Return the name of a gene."""
    return f"GENE{gene + 1:05d}"


def _genotypes(folder: Path, people: People, random: np.random.Generator) -> None:
    folder.mkdir()
    genome, present = people.genome, people.present["snp"]
    sexes = np.where(people.covariates["sex"][present] == 1, 1, 2)
    iids = [iid for iid, there in zip(people.population.iids, present, strict=True) if there]
    for chromosome in np.unique(genome.chromosome).tolist():
        of_it = np.flatnonzero(genome.chromosome == chromosome)
        calls = genome.calls[np.ix_(present, of_it)].copy()
        calls[random.random(calls.shape) < UNCALLED] = MISSING_CALL
        variants = Variants(
            chromosome=genome.chromosome[of_it].astype(str),
            position=genome.position[of_it],
            id=genome.name[of_it],
            counted=genome.counted[of_it],
            other=genome.other[of_it],
        )
        write_bed(folder / f"ukb_chr{chromosome}_v2.bed", calls, people=iids, variants=variants, sexes=sexes)


def _score(path: Path, iids: np.ndarray, values: np.ndarray) -> None:
    """Write a score as plink2 does: the average over alleles, which is small."""
    alleles = 4000
    averages = values / 1000
    rows = (
        {
            "#FID": iid,
            "IID": iid,
            "ALLELE_CT": alleles,
            "NAMED_ALLELE_DOSAGE_SUM": alleles // 2,
            "SCORE1_AVG": f"{value:.6g}",
        }
        for iid, value in zip(iids, averages, strict=True)
    )
    write_table(path, list(rows), "\t")


def _burdens(folder: Path, iids: np.ndarray, burdens: np.ndarray) -> None:
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise UserError('Burdens are written with h5py; install it with pip install "mmcl_jax[genetics]".') from error
    folder.mkdir()
    with h5py.File(folder / "combined_burdens.h5", "w", track_order=False) as file:
        file.create_dataset("G", data=burdens.astype(np.float32), compression="gzip", track_times=False)
    genes = [gene_name(gene) for gene in range(burdens.shape[1])]
    for name, words in (("iid", iids), ("colnames", genes)):
        (folder / f"combined_burdens_{name}.txt").write_text("".join(f"{word}\n" for word in words))


def _covariates(path: Path, people: People, random: np.random.Generator) -> None:
    rows = []
    for index, iid in enumerate(people.population.iids):
        row: dict[str, object] = {"IID": iid}
        for name, column in people.covariates.items():
            gap = name not in ("sex", "age") and random.random() < EMPTY
            row[name] = "" if gap else f"{column[index]:g}"
        row |= {f"pc{number + 1}": f"{people.components[index, number]:.4f}" for number in range(COMPONENTS)}
        rows.append(row)
    write_table(path, rows)


def _relatives(path: Path, people: People) -> None:
    """Write the pairs of relatives as KING does."""
    iids, calls = people.population.iids, people.genome.calls
    rows = []
    for one, other, _ in people.population.relatives:
        het_het, ibs0, coefficient = kinship(calls[one], calls[other])
        rows.append(
            {
                **{"FID1": iids[one], "ID1": iids[one], "FID2": iids[other], "ID2": iids[other]},
                **{"N_SNP": calls.shape[1], "HetHet": f"{het_het:.4f}", "IBS0": f"{ibs0:.4f}"},
                "Kinship": f"{coefficient:.4f}",
            }
        )
    names = ("FID1", "ID1", "FID2", "ID2", "N_SNP", "HetHet", "IBS0", "Kinship")
    write_table(path, rows, "\t", names)


def _truth(folder: Path, people: People) -> None:
    """Write the planted effects, the partners in linkage, and the traits of people."""
    folder.mkdir()
    genome, iids = people.genome, people.population.iids
    name_of = {"snp": lambda index: str(genome.name[index]), "pgs": score_name, "burden": gene_name}
    causes, linkage = [], []
    for cause in people.causes:
        name = name_of[cause.modality](cause.feature)
        causes.append(
            {"modality": cause.modality, "feature": name, "trait": cause.trait, "effect": f"{cause.effect:.4f}"}
        )
        if cause.modality == "snp":
            r2 = genome.linkage(cause.feature)
            linkage += [
                {"variant": genome.name[variant], "causal": name, "r2": f"{r2[variant]:.4f}"}
                for variant in np.flatnonzero(r2 >= LINKED).tolist()
                if variant != cause.feature
            ]
    write_table(folder / "causes.csv", causes)
    write_table(folder / "linkage.csv", linkage, names=("variant", "causal", "r2"))
    european = people.population.of_person(people.population.european)
    cline = people.population.of_person(people.population.cline)
    rows = [
        {
            "IID": iid,
            "european": int(european[index]),
            "cline": f"{cline[index]:.4f}",
            **{name: f"{column[index]:g}" for name, column in people.covariates.items()},
            **{trait: f"{people.traits[index, number]:.4f}" for number, trait in enumerate(TRAITS)},
            **{f"has_{name}": int(there[index]) for name, there in people.present.items()},
        }
        for index, iid in enumerate(iids)
    ]
    write_table(folder / "people.csv", rows)
    relatives = [
        {"one": iids[one], "other": iids[other], "kind": kind} for one, other, kind in people.population.relatives
    ]
    write_table(folder / "relatives.csv", relatives, names=("one", "other", "kind"))


def write_table(
    path: Path, rows: Sequence[Mapping[str, object]], separator: str = ",", names: Iterable[str] | None = None
) -> None:
    """Write a table; `names` are the columns of a table that may have no rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(names or rows[0]), delimiter=separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
