"""OASIS-3 as the taxonomy prepares it (Fedorov et al.): pairs of a T1-weighted volume and a map of fALFF.

root/fold_0/train.csv, valid.csv, infer.csv     subject, filename_1 (T1), filename_2 (fALFF), target, M/F, ageAtEntry
root/fold_1/...                                 infer.csv, the hold-out, is the same in every fold

or one table `root/pairs.csv` with these columns, whose splits are drawn; or a BIDS tree with `root/participants.tsv`.
"""

from pathlib import Path
from typing import Any, Literal

import polars as pl

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.datasets.oasis.bids import read_bids
from mmcl_jax.datasets.oasis.pairs import Pairs, read_folds, read_table
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.recipe import Recipe, Step
from mmcl_jax.prepare.sources import INPUTS, read_sources

SPLIT = (0.7, 0.15, 0.15)  # of subjects, where none are given
CLASSES = ("HC", "AD", "other")
_FILES = ("t1", "falff")


def oasis(
    *,
    root: Path,
    scans: Path | None = None,
    table: str = "pairs.csv",
    size: int | None = None,
    grid: str = "same",
    brain_mask: Path | None = None,
    functional: Literal["falff", "bold"] = "falff",
    tr: float | None = None,
    band: tuple[float, float] = (0.01, 0.1),
    max_days: float | None = None,
    unpaired: bool = False,
) -> Recipe:
    """Return pairs of the volumes `t1` and `falff`, a row each; `group` is the subject, who has several.

    The store holds the intensities of the files as float16, on axes towards right, front and top: histograms are
    standardised, and values normalised, by views, with statistics of the training rows of each fold.

    Labels are `diagnosis`, HC or AD on the first pair of each subject and missing elsewhere, so that a probe compares
    the two classes on one pair per subject, as the paper does; `diagnosis_of_all`, HC, AD or other on every pair;
    `age`; `sex`; and `scanner`, where the files name it.

    Folds are those of the files: `config.fold=K` validates on `fold_K/valid.csv`, and tests on `infer.csv`. The splits
    without a fold are those of fold 0. Splits that are drawn have 70/15/15 % of subjects.

    Args:
      root: the folder of the tables, or of the BIDS tree.
      scans: the folder that file names are relative to; by default `root`.
      table: name of the table, if `root` has neither folds nor participants.tsv.
      size: of the stored volumes, along each axis; by default that of the files.
      grid: "same" refuses volumes on another grid than the first T1; "resample" resamples them to it; and the path of a
        NIfTI file to its grid.
      brain_mask: a NIfTI file on that grid, whose path may be relative to `root`; voxels where it is 0 are stored as 0.
      functional: "bold" computes fALFF from preprocessed 4-D series in place of maps.
      tr: the repetition time of the series in seconds; by default that of their headers.
      band: the lowest and highest frequency of fALFF, in Hz.
      max_days: of BIDS: functional scans with no T1-weighted image so near have no partner.
      unpaired: of BIDS: whether scans without a partner are rows, too, which lack an entry.

    Raises:
      UserError: a file is missing or wrong, or a subject is in two splits.
    """
    check(functional in ("falff", "bold"), f"--dataset.functional={functional} is neither falff nor bold.")
    check(size is None or 4 <= size <= 512, f"--dataset.size={size} is not between 4 and 512.")
    if functional == "falff" and (tr is not None or tuple(band) != (0.01, 0.1)):
        raise UserError("--dataset.tr and --dataset.band are for --dataset.functional=bold; leave them out.")
    if brain_mask is not None:
        mask = brain_mask if brain_mask.exists() else root / brain_mask
        check(mask.exists(), f"--dataset.brain_mask: neither {brain_mask} nor {mask} exists.")
        brain_mask = mask
    pairs, steps = _read(root, table, functional, max_days, unpaired)
    rows = _rows(pairs)
    for label in ("age", "sex", "scanner"):
        if rows[label].null_count() == rows.height:
            steps.append(Step(f"no {label} among the files", rows.height, rows.height))
            rows = rows.drop(label)
    steps.append(Step(f"pairs of {rows['subject'].n_unique():,} subjects", rows.height, rows.height))
    labels = {
        "diagnosis": Declared(role="label", kind="categorical", categories=CLASSES[:2]),
        "diagnosis_of_all": Declared(role="label", kind="categorical", categories=CLASSES),
        "age": Declared(role="label", kind="continuous", unit="years"),
        "sex": Declared(role="label", kind="categorical", categories=("F", "M")),
        "scanner": Declared(role="label", kind="categorical"),
    }
    series: dict[str, Any] = {} if functional == "falff" else {"derive": "falff", "band": list(band)}
    series |= {} if tr is None or functional == "falff" else {"tr": tr}
    folder = root if scans is None else scans
    tables = {Path(f"{name} of {root}"): _of(pairs, name) for name in _FILES}
    entries = {
        name: {
            "kind": "volume",
            "folder": str(folder),
            "file": str(path),
            "key": "pair",
            "column": "file",
            "dtype": "float16",
            "duplicates": "keep",
            "grid": grid if name == "t1" or grid != "resample" else _first(folder, pairs),
            **({} if size is None else {"size": size}),
            **({} if brain_mask is None else {"brain_mask": str(brain_mask)}),
            **(series if name == "falff" else {}),
        }
        for name, path in zip(_FILES, tables, strict=True)
        if tables[path].height
    }
    return Recipe(
        name="oasis",
        rows=rows,
        images=root,
        image_columns=(),
        declaration=Declaration(
            columns={
                "pair": Declared(role="identifier", verbatim=True),
                "subject": Declared(role="group", verbatim=True),
                **{name: declared for name, declared in labels.items() if name in rows.columns},
            },
            others="ignore",
        ),
        splits=pairs.splits,
        folds=pairs.folds,
        steps=tuple(steps),
        entries=read_sources(entries, "--dataset: entries", INPUTS),
        tables=tables,
        fields={"split": SPLIT},
    )


def _read(root: Path, table: str, functional: str, max_days: float | None, unpaired: bool) -> tuple[Pairs, list[Step]]:
    """Return the pairs by the layout that `root` has."""
    check(root.is_dir(), f"--root: the folder {root} does not exist.")
    if any(root.glob("fold_*")):
        return read_folds(root), []
    if (root / table).is_file():
        return read_table(root / table), []
    if (root / "participants.tsv").is_file():
        return read_bids(root, functional=f"_{functional}.nii", max_days=max_days, unpaired=unpaired)
    raise UserError(f"--root: {root} has neither fold_0 nor {table} nor participants.tsv.")


def _rows(pairs: Pairs) -> pl.DataFrame:
    """Return the rows with their labels."""
    seen = set[str]()
    first = []
    for pair in pairs.pairs.values():
        complete = pair.t1 is not None and pair.falff is not None
        first.append(pair.diagnosis if complete and pair.subject not in seen and pair.diagnosis != "other" else None)
        seen |= {pair.subject} if complete else set()
    columns = {
        name: [getattr(pair, name) for pair in pairs.pairs.values()] for name in ("subject", "age", "sex", "scanner")
    }
    everyone = [pair.diagnosis for pair in pairs.pairs.values()]
    types = {"age": pl.Float64}
    return pl.DataFrame(
        {
            "pair": list(pairs.pairs),
            "diagnosis": pl.Series(first, dtype=pl.String),
            "diagnosis_of_all": pl.Series(everyone, dtype=pl.String),
            **{name: pl.Series(values, dtype=types.get(name, pl.String)) for name, values in columns.items()},
        }
    )


def _of(pairs: Pairs, name: str) -> pl.DataFrame:
    """Return the files of one modality, by key."""
    files = {key: getattr(pair, name) for key, pair in pairs.pairs.items() if getattr(pair, name) is not None}
    return pl.DataFrame(
        {"pair": list(files), "file": list(files.values())}, schema={"pair": pl.String, "file": pl.String}
    )


def _first(folder: Path, pairs: Pairs) -> str:
    """Return the path of the first T1, to whose grid fALFF is resampled, too; "resample" if there is none."""
    first = next((pair.t1 for pair in pairs.pairs.values() if pair.t1 is not None), None)
    return "resample" if first is None else str(folder / first)
