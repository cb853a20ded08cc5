"""The folder of files of people that analyses read beside a store: genotypes, covariates and the truth."""

import dataclasses
from pathlib import Path

import polars as pl

from mmcl_jax.border.checksum import digest
from mmcl_jax.errors import check
from mmcl_jax.explain.planted import CAUSES, LINKAGE, Truth
from mmcl_jax.files import sha256
from mmcl_jax.reproduce.spec import ALIGNMENT, ASSOCIATION, ATTRIBUTION, PaperTable

COVARIATES, GENOTYPES, TRUTH, FINDINGS = "covariates.csv", "genotypes", "truth", "findings.csv"
_FORMATS = (".bed", ".pgen", ".bgen")


@dataclasses.dataclass(frozen=True)
class Raw:
    """A folder in the layout of the recipe `fundus`, or of `mmcl generate chest`.

    Attributes:
      folder: with `genotypes/`, `covariates.csv` and maybe `truth/`.
      truth: what was planted; None if nobody knows.
      findings: the table of the boxes of findings in images; None of eyes.
    """

    folder: Path
    truth: Truth | None
    findings: Path | None = None

    @classmethod
    def open(cls, folder: Path, table: PaperTable) -> "Raw":
        """Read the truth, and check that the folder has what the columns of a table need.

        Raises:
          UserError: a file is missing or damaged.
        """
        check(folder.is_dir(), f"--raw: {folder} is no folder; name the one that mmcl prepare --root was given.")
        if all(column.protocol == ALIGNMENT for column in table.columns):
            path = folder / TRUTH / FINDINGS
            check(path.is_file(), f"--raw: {path} does not exist; name the folder that mmcl generate chest wrote.")
            return cls(folder, None, path)
        truth = Truth.read(folder / TRUTH) if (folder / TRUTH).is_dir() else None
        raw, protocols = cls(folder, truth), {column.protocol for column in table.columns}
        if ASSOCIATION in protocols:
            check(bool(raw.genotypes), f"--raw: {folder / GENOTYPES} has no .bed, .pgen or .bgen file.")
            check(raw.covariates.is_file(), f"--raw: {folder} has no {COVARIATES}, with the sex and age of people.")
        check(
            truth is not None or ATTRIBUTION not in protocols,
            f"--raw: {folder} has no folder {TRUTH!r}, and {table.name} judges attributions by what was planted; it is "
            "a table of drawn eyes.",
        )
        return raw

    @property
    def genotypes(self) -> list[Path]:
        """The files of genotypes, sorted."""
        return sorted(path for path in (self.folder / GENOTYPES).glob("*") if path.suffix in _FORMATS)

    @property
    def covariates(self) -> Path:
        """The file of covariates."""
        return self.folder / COVARIATES

    @property
    def fingerprint(self) -> str:
        """A digest of the covariates, the truth, and the names and sizes of the files of genotypes."""
        if self.findings is not None:
            return str(digest(sha256(self.findings)))
        texts = [self.covariates, *(self.folder / TRUTH / name for name in (CAUSES, LINKAGE))]
        content = {path.name: sha256(path) for path in texts if path.is_file()}
        return str(digest([content, [(path.name, path.stat().st_size) for path in self.genotypes]]))

    def most(self, trait: str) -> list[str]:
        """Return the people of the truth, the one with the largest value of a trait first.

        Raises:
          UserError: the truth has no such table.
        """
        path = self.folder / TRUTH / "people.csv"
        check(path.is_file(), f"--raw: {path} does not exist; mmcl generate fundus writes it.")
        people = pl.read_csv(path, schema_overrides={"IID": pl.String})
        check(trait in people.columns, f"--raw: {path} has no column {trait!r}.")
        return people.sort(trait, descending=True)["IID"].to_list()
