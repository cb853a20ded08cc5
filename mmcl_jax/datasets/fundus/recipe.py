"""The eyes of UK Biobank with genetics, as ContIG prepares them (Taleb et al., CVPR 2022).

root/left/.../1000001_21015_0_0.jpg     photographs; the text before the first underscore is the person
root/right/.../1000001_21016_0_0.jpg
root/left/qc_paths_left.txt             names of the files to use, one per line; the same for right
root/genotypes/*.bed                    PLINK 1 triples (or .pgen, .bgen), one file per chromosome
root/scores/*.sscore                    a polygenic score each, as plink2 --score writes it
root/burdens/combined_burdens.h5        G [people, genes]; combined_burdens_iid.txt and combined_burdens_colnames.txt
root/covariates.csv                     IID, sex, age, dbp, sbp, smoking, bmi, and genetic components
root/relatives.kin0                     pairs of relatives, as KING writes them
root/ancestry.tsv                       IID, EUR
root/withdrawn.txt                      people who have withdrawn, one per line
"""

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.datasets.fundus.photographs import SIDES, photographs, split_people
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.circle import Crop, opencv, read_eye
from mmcl_jax.prepare.join.keys import canonical
from mmcl_jax.prepare.join.people import People
from mmcl_jax.prepare.join.people import relatives as relatives_of
from mmcl_jax.prepare.recipe import Recipe, Step
from mmcl_jax.prepare.request import Ancestry, Request
from mmcl_jax.prepare.sources import INPUTS, read_sources
from mmcl_jax.prepare.table.cells import canonical_integers
from mmcl_jax.text import words_of

SIZE = (448, 448)
NUMBERS = ("age", "bmi", "sbp", "dbp")  # the targets of regression
BINARY = ("sex", "smoking")  # the targets of classification
_UNITS = {"age": "years", "bmi": "kg/m2", "sbp": "mmHg", "dbp": "mmHg"}
_GENOTYPES = (".bed", ".pgen", ".bgen")


def fundus(
    *,
    root: Path,
    sides: tuple[str, ...] = SIDES,
    folder: str = "",
    crop: Crop = "circle",
    dark_and_bright: float | None = None,
    genotypes: Path | None = None,
    every: int = 100,
    min_frequency: float = 0.0,
    max_missing: float = 1.0,
    scores: Path | None = None,
    burdens: Path | None = None,
    min_carriers: float = 1,
    covariates: Path | None = None,
    relatives: Path | None = None,
    kinship: float = Request.kinship,
    ancestry: Path | None = None,
    withdrawn: Path | None = None,
) -> Recipe:
    """Return the photographs of left and right eyes with up to four modalities of their people.

    A row is a photograph, `group` is its person, and both eyes share the person's `snp` (genotypes), `pgs` (scores),
    `burden` and `covariates`, any of which a person may lack (`--cohort inner` keeps people who have all of them). A
    modality whose files do not exist is left out, and the card says so. Labels are the numbers `age`, `bmi`, `sbp` and
    `dbp` and the binary `sex` (1 for men) and `smoking` from the table of covariates.

    People of European ancestry who have not withdrawn are divided 70/10/20 as in the released code. Where there is a
    table of relatives, a family is in one split, which the released code does not see to.

    Args:
      root: the folder of all files, as above.
      sides: "left", "right" or both.
      folder: of the photographs, below that of their side; by default the one that has any.
      crop: "circle", "middle" or "none"; see `read_eye`. Photographs without a circle are quarantined.
      dark_and_bright: the share of the darkest, and of the brightest, photographs of a side that are left out; by
        default .005 where a side has no quality list, which is the result of this filter.
      genotypes: a folder with one file per chromosome, or a file.
      every: keep every so many variants of a chromosome; 100 in the released code.
      min_frequency: smallest frequency of the rarer allele.
      max_missing: largest share of missing calls of a variant.
      scores: a folder of `.sscore` files.
      burdens: an HDF5 file with the data set G.
      min_carriers: of a gene: a number of people from 1 on, or a share below 1.
      covariates: a table with the column IID.
      relatives: a table of KING.
      kinship: pairs of a lower coefficient are no relatives.
      ancestry: a table with the columns IID and EUR; people below .99 are left out.
      withdrawn: a list of people.

    Raises:
      UserError: a file is missing or wrong, or OpenCV is needed and not installed.
    """
    check(
        bool(sides) and set(sides) <= set(SIDES),
        f"--dataset.sides must be ('left', 'right') or one of them, like ('left',), not {sides!r}.",
    )
    check(
        dark_and_bright is None or 0 <= dark_and_bright < 0.5,
        f"--dataset.dark_and_bright={dark_and_bright} is not a share from 0 to below 0.5.",
    )
    if crop == "circle":
        opencv()
    rows, steps = photographs(root, sides, folder, dark_and_bright, crop)
    given = {
        "genotypes": (genotypes, "genotypes"),
        "scores": (scores, "scores"),
        "burdens": (burdens, "burdens/combined_burdens.h5"),
        "covariates": (covariates, "covariates.csv"),
        "relatives": (relatives, "relatives.kin0"),
        "ancestry": (ancestry, "ancestry.tsv"),
        "withdrawn": (withdrawn, "withdrawn.txt"),
    }
    paths = {name: _path(root, name, *choice) for name, choice in given.items()}
    options = {
        "every": every,
        "min_frequency": min_frequency,
        "max_missing": max_missing,
        "min_carriers": min_carriers,
    }
    entries = _entries(paths, options)
    if absent := [name for name in ("genotypes", "scores", "burdens", "covariates") if paths[name] is None]:
        steps.append(Step(f"not among the files: {', '.join(absent)}", len(rows), len(rows)))
    labels = {name: Declared(role="label", kind="continuous", unit=_UNITS[name]) for name in NUMBERS}
    labels |= {name: Declared(role="label", kind="boolean") for name in BINARY}
    if paths["covariates"] is None:
        labels = {}
    else:
        rows = rows.join(_traits(paths["covariates"]), on="person", how="left", maintain_order="left")
    steps.append(Step(f"photographs of {rows['person'].n_unique():,} people", len(rows), len(rows)))
    fields = _lists(paths, kinship)
    people = _divided(rows["person"].unique(maintain_order=True).to_list(), fields)
    split_of = {person: split for split, members in people.items() for person in members}
    of_row = [split_of.get(person, "") for person in rows["person"]]
    return Recipe(
        name="fundus",
        rows=rows,
        images=root,
        image_columns=("file",),
        image_size=SIZE,
        declaration=Declaration(
            columns={
                "photograph": Declared(role="identifier", verbatim=True),
                "file": Declared(role="image"),
                "person": Declared(role="group", verbatim=True),
                **labels,
            },
            others="ignore",
        ),
        entries=read_sources(entries, "--dataset: entries", INPUTS),
        fields=fields,
        required=("image",),
        splits={
            split: [key for key, own in zip(rows["photograph"], of_row, strict=True) if own == split]
            for split in people
        },
        steps=tuple(steps),
        read=functools.partial(read_eye, crop=crop),
    )


def _path(root: Path, name: str, given: Path | None, usual: str) -> Path | None:
    """Return a path that was given, or the usual one if it exists. Raises `UserError` if the given one does not."""
    if given is None:
        return root / usual if (root / usual).exists() else None
    path = given if given.exists() else root / given
    check(path.exists(), f"--dataset.{name}: neither {given} nor {root / given} exists.")
    return path


def _lists(paths: Mapping[str, Path | None], kinship: float) -> dict[str, Any]:
    """Return the fields of a request that name lists of people."""
    fields: dict[str, Any] = {}
    if (path := paths["relatives"]) is not None:
        fields |= {"relatives": path, "kinship": kinship}
    if (path := paths["ancestry"]) is not None:
        fields["ancestry"] = Ancestry(file=path, column="EUR")
    if (path := paths["withdrawn"]) is not None:
        fields["withdrawn"] = (path,)
    return fields


def _divided(people: Sequence[str], fields: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the people of each split, without those whom the lists exclude.

    Raises:
      UserError: a list cannot be read, or nobody is left.
    """
    lists = People.read(Request(**fields))
    names = canonical(pl.Series(people, dtype=pl.String))
    kept = [person for person, name in zip(people, names, strict=True) if not lists.excluded(name)]
    check(bool(kept), "--root: no person with a photograph is of the ancestry and has not withdrawn.")
    families: dict[int, list[str]] = {}
    if "relatives" in fields:
        numbers, _ = relatives_of(fields["relatives"], fields["kinship"], canonical(pl.Series(kept, dtype=pl.String)))
        for person, number in zip(kept, numbers.tolist(), strict=True):
            families.setdefault(number, []).append(person)
    return split_people(kept, list(families.values()))


def _entries(paths: Mapping[str, Path | None], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entries of a request, by modality."""
    entries: dict[str, dict[str, Any]] = {}
    if (path := paths["genotypes"]) is not None:
        files = (
            [path]
            if path.is_file()
            else sorted((file for file in path.iterdir() if file.suffix.lower() in _GENOTYPES), key=_natural)
        )
        check(bool(files), f"--dataset.genotypes: {path} has no file that ends in {', '.join(_GENOTYPES)}.")
        selection = {name: options[name] for name in ("every", "min_frequency", "max_missing")}
        entries["snp"] = {"kind": "genotypes", "file": [str(file) for file in files], **selection}
    if (path := paths["scores"]) is not None:
        entries["pgs"] = {"kind": "scores", "folder": str(path)}
    if (path := paths["burdens"]) is not None:
        beside = {"keys": f"{path.stem}_iid.txt", "names": f"{path.stem}_colnames.txt"}
        entries["burden"] = {
            "kind": "burdens",
            "file": str(path),
            "dataset": "G",
            **{name: str(path.with_name(file)) for name, file in beside.items()},
            "min_carriers": options["min_carriers"],
        }
    if (path := paths["covariates"]) is not None:
        entries["covariates"] = {"kind": "vector", "file": str(path), "key": "IID"}
    return {name: {**entry, "by": "person"} for name, entry in entries.items()}


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts chromosome 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]


def _traits(path: Path) -> pl.DataFrame:
    """Return the labels in the table of covariates, with the column `person`.

    Raises:
      UserError: the table cannot be read, lacks a column, or has a person more than once.
    """
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read: {words_of(error)}.") from error
    names = ("IID", *NUMBERS, *BINARY)
    for name in names:
        check(name in table.columns, f"{path} has no column {name}; it needs {', '.join(names)}.")
    table = table.select(pl.col(names).str.strip_chars().replace("", None))
    table = table.with_columns(canonical_integers(table["IID"]).alias("person")).drop("IID")
    twice = table.filter(pl.col("person").is_duplicated())["person"]
    check(twice.is_empty(), f"{path} has the person {next(iter(twice), '')} more than once; keep one row.")
    return table
