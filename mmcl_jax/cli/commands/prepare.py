"""`mmcl prepare`: make a store from raw data."""

import argparse
import os
from typing import Any

from rich.console import Console

from mmcl_jax import datasets as recipes
from mmcl_jax.api.commands.prepare import prepare
from mmcl_jax.cli import types
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.card.summary import show
from mmcl_jax.prepare.images.files import FILTERS
from mmcl_jax.text import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    what = parser.add_argument_group("files to read")
    what.add_argument("--table", type=types.path, help="CSV, TSV or Parquet file with a header, such as ads.csv")
    what.add_argument(
        "--images", type=types.path, help="folder of the images, such as photos/; image paths are relative to it"
    )
    what.add_argument("--follow-links", type=types.path, help="another folder that links in --images may point into")
    what.add_argument(
        "--image-column", type=types.names, help="column of image paths, such as file, or several: front,side"
    )
    what.add_argument(
        "--dataset", choices=recipes.RECIPES.names(), help="named data set, in place of --table and --images"
    )
    what.add_argument(
        "--root",
        type=types.path,
        help="folder of the named data set (for tfds, its name there; for measured, a folder to write its images into)",
    )
    what.add_argument("--separator", help="separator of cells; by default a comma, or a tab in .tsv files")
    what.add_argument("--encoding", help="encoding of text files, such as latin-1")
    what.add_argument("--decimal", help="decimal mark of numbers in text files, such as ,; a point by default")
    what.add_argument("--thousands", help="mark between groups of three digits (, . ' or a blank); none by default")
    what.add_argument(
        "--missing", type=types.names, help="words for missing values, such as NA,-99; by default NA, NaN, null, ..."
    )
    what.add_argument(
        "--request",
        type=types.path,
        help="JSON file with these options, and with further entries and targets (docs/data.md); a store's store.json "
        "is one, too",
    )
    what.add_argument(
        "--cohort", choices=["outer", "inner"], help="rows to keep: with any entry (outer), or with all entries (inner)"
    )

    columns = parser.add_argument_group("meaning of the columns")
    columns.add_argument(
        "--schema", type=types.path, help="JSON file that declares columns, from --write-schema; see docs/data.md"
    )
    columns.add_argument(
        "--like",
        type=types.path,
        help="run or store, such as runs/ads, whose columns, categories, classes and image size the new store has, to "
        "evaluate the run on new rows",
    )
    columns.add_argument("--label", type=types.names, help="columns to predict, such as model; they are no features")
    columns.add_argument("--key-column", help="column that identifies a row; by default the image path")
    columns.add_argument("--group-column", help="column of subjects, such as owner; a subject is never in two splits")
    columns.add_argument("--ignore", type=types.names, help="columns to leave out, such as notes,url")
    columns.add_argument("--categorical", type=types.names, help="columns of numbers that are categories, such as year")

    images = parser.add_argument_group("stored images")
    images.add_argument(
        "--image-size",
        type=types.size,
        help="size to store, 128 or 96x128 (height x width); by default the files' size",
    )
    images.add_argument("--channels", type=types.count, help="1 or 3; by default the channels of the files")
    images.add_argument("--bits", type=int, choices=[8, 16], help="16 stores pixels of 16 bits without loss")
    images.add_argument(
        "--stack",
        choices=["channels", "views", "varying"],
        help="store several image columns as channels of one image, or as separate views, of which a row may "
        "have fewer than others (varying), where its cells are empty",
    )
    images.add_argument("--resize", choices=FILTERS, help="filter for resizing")
    images.add_argument(
        "--no-antialias", action="store_false", dest="antialias", help="resize by interpolation at points"
    )
    images.add_argument("--equalise", action="store_true", help="equalise the histogram of each image")
    images.add_argument(
        "--aspect",
        choices=["stretch", "crop", "pad"],
        help="treatment of other aspect ratios than that of --image-size",
    )
    images.add_argument("--transparent", choices=["white", "black"], help="background behind transparent pixels")
    images.add_argument(
        "--intensity",
        type=types.intensity,
        help="range of pixels of more than 8 bits: minmax (of each image), full (of the type), or numbers: 0:4095",
    )
    images.add_argument(
        "--nan",
        choices=["refuse", "background"],
        help="treatment of values that are not finite: quarantine the row (refuse), or make them black (background)",
    )
    images.add_argument("--max-pixels", type=types.count, help="limit of pixels per image file; larger images are bad")
    images.add_argument("--max-voxels", type=types.count, help="limit of voxels per volume; larger volumes are bad")
    images.add_argument(
        "--duplicates", choices=["quarantine", "keep"], help="treatment of images that are equal, pixel by pixel"
    )

    people = parser.add_argument_group("people")
    people.add_argument("--keep", type=types.path, help="list of the people to keep, an IID or FID and IID per line")
    people.add_argument(
        "--withdrawn", type=types.paths, help="lists of people who withdrew; the store has no row of them"
    )
    people.add_argument(
        "--relatives",
        type=types.path,
        help="table of relatives, of KING or plink2 --make-king-table; a family is never in two splits",
    )
    people.add_argument("--kinship", type=float, help="least kinship of relatives; by default the third degree")

    rows = parser.add_argument_group("splits")
    rows.add_argument("--split-column", help="column with the words train, val and test")
    rows.add_argument("--split-ids", type=types.paths, help="three files of identifiers: train.txt,val.txt,test.txt")
    rows.add_argument("--split", type=types.three_fractions, help="shares of train, val and test")
    rows.add_argument(
        "--group-near-duplicates", action="store_true", help="never put near-duplicate images into different splits"
    )
    rows.add_argument("--folds", type=types.count, help="number of folds for cross-validation, such as 5")
    rows.add_argument("--subsets", type=types.fractions, help="shares of train for few labels, as nested subsets")
    rows.add_argument("--seed", type=int, help="seed of the random draws")
    rows.add_argument(
        "--max-bad", type=float, help="largest share of rows that may be bad; with more, the command stops"
    )

    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-columns", type=types.count, help="limit of columns of a table; more are refused")
    limits.add_argument("--max-cell", type=types.count, help="limit of characters of a cell; a longer cell is bad")
    limits.add_argument("--max-categories", type=types.count, help="limit of categories of a column or label")
    limits.add_argument("--max-features", type=types.count, help="limit of columns of a vector, such as genotypes")
    limits.add_argument(
        "--max-values", type=types.count, help="limit of rows x columns of a table, and of rows x tokens of texts"
    )
    limits.add_argument("--max-tokens", type=types.count, help="limit of tokens of a text that no length cuts")

    parser.add_argument("--out", type=types.path, help="folder of the store to make, such as stores/ads")
    parser.add_argument("--workers", type=types.count, help="number of processes")
    parser.add_argument(
        "--beam",
        type=types.names,
        metavar="OPTIONS",
        help="decode the images and write the shards by a pipeline of Apache Beam with these options, such as "
        "runner=DirectRunner,direct_num_workers=4 (docs/data.md)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="print how the columns are read, and a random forest's score; write nothing",
    )
    parser.add_argument(
        "--write-schema", type=types.path, help="write how the columns are read as a file for --schema, to edit"
    )
    types.set_defaults(parser, prepare)
    parser.set_defaults(workers=os.cpu_count() or 1)  # the function has 1: its caller may be unable to start processes
    keys = {name: ", ".join(recipes.RECIPES.options(name)) for name in recipes.RECIPES.names()}
    sets = [f"{name} ({options})" for name, options in keys.items() if options]
    parser.epilog = f"Options of a named data set are --dataset.KEY=VALUE, with these keys: {'; '.join(sets)}."


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Prepare, print a summary, and return the findings and, unless it was a check, the store."""
    options.options = options.overrides
    result = prepare(**types.arguments_of(prepare, options))
    if isinstance(result, Findings):
        show(result, Console())
        return {"findings": result}
    findings, card = Findings.of(result), result.directory / "card.html"
    show(findings, Console())
    print(result.describe())
    print(f"Look at {visible(card)}.")
    return {"store": result, "card": card, "findings": findings}
