"""`mmcl prepare`: raw data to store."""

import argparse
import os
from pathlib import Path

from rich.console import Console

from mmcl_jax import datasets as recipes
from mmcl_jax.api.prepare import prepare
from mmcl_jax.cli import types
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.card.summary import show
from mmcl_jax.prepare.images.files import FILTERS
from mmcl_jax.text import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    what = parser.add_argument_group("what to read")
    what.add_argument("--table", type=Path, help="CSV, TSV or Parquet file with a header")
    what.add_argument("--images", type=Path, help="folder the image paths are relative to")
    what.add_argument("--follow-links", type=Path, help="another folder that links in --images may lead into")
    what.add_argument("--image-column", type=types.names, help="column with the image path, or several")
    what.add_argument("--dataset", choices=recipes.RECIPES.names(), help="a named data set instead of a table")
    what.add_argument("--root", type=Path, help="its folder (of tfds, the name; of measured, where its pictures go)")
    what.add_argument("--separator", help="between cells; by default a comma, or a tab in .tsv")
    what.add_argument("--encoding", help="of the table")
    what.add_argument("--decimal", help="mark before the fraction of numbers, in text files; a point by default")
    what.add_argument("--thousands", help="mark between groups of three digits (, . ' or a blank); none by default")
    what.add_argument("--missing", type=types.names, help="words for no value; by default NA, NaN, null and so on")
    what.add_argument(
        "--request",
        type=Path,
        help="JSON file of options, and of any number of entries and targets (docs/data.md); store.json holds it, too",
    )
    what.add_argument("--cohort", choices=["outer", "inner"], help="of several entries: any, or all of them")

    columns = parser.add_argument_group("what the columns are")
    columns.add_argument("--schema", type=Path, help="JSON file that declares columns; see docs/data.md")
    columns.add_argument(
        "--like",
        type=Path,
        help="run or store: columns, categories, classes and pictures as there, to evaluate the run",
    )
    columns.add_argument("--label", type=types.names, help="columns to predict; not used as features")
    columns.add_argument("--key-column", help="column that identifies a row; the image path by default")
    columns.add_argument("--group-column", help="column of the subject; a subject is never in two splits")
    columns.add_argument("--ignore", type=types.names, help="columns to leave out")
    columns.add_argument("--categorical", type=types.names, help="number columns that are categories")

    pictures = parser.add_argument_group("how images are stored")
    pictures.add_argument("--image-size", type=types.size, help="128, or 96x128 (height x width); else as they are")
    pictures.add_argument("--channels", type=types.count, help="1 or 3; else what the images have")
    pictures.add_argument("--bits", type=int, choices=[8, 16], help="16 keeps deep pixels without loss")
    pictures.add_argument("--stack", choices=["channels", "views"], help="several image columns")
    pictures.add_argument("--resize", choices=FILTERS, help="filter")
    pictures.add_argument("--no-antialias", action="store_false", dest="antialias", help="interpolate at points")
    pictures.add_argument("--aspect", choices=["stretch", "crop", "pad"], help="if it differs")
    pictures.add_argument("--transparent", choices=["white", "black"], help="becomes this")
    pictures.add_argument(
        "--intensity",
        type=types.intensity,
        help="range of deep pixels: minmax, full, 0:4095",
    )
    pictures.add_argument("--nan", choices=["refuse", "background"], help="pictures with values that are not finite")
    pictures.add_argument("--max-pixels", type=types.count, help="larger ones are bad")
    pictures.add_argument("--duplicates", choices=["quarantine", "keep"], help="same pixels")

    rows = parser.add_argument_group("how rows are divided")
    rows.add_argument("--split-column", help="column that holds train, val or test")
    rows.add_argument("--split-ids", type=types.paths, help="files of identifiers: TRAIN,VAL,TEST")
    rows.add_argument("--split", type=types.three_fractions, help="shares of train, val, test")
    rows.add_argument(
        "--group-near-duplicates", action="store_true", help="nearly equal pictures are never in two splits"
    )
    rows.add_argument("--folds", type=types.count, help="also divide all rows into so many folds, for cross-validation")
    rows.add_argument("--subsets", type=types.fractions, help="nested shares of train with labels")
    rows.add_argument("--seed", type=int, help="of the draws")
    rows.add_argument("--max-bad", type=float, help="share of rows that may be quarantined")

    parser.add_argument("--out", type=Path, help="store to make")
    parser.add_argument("--workers", type=types.count, help="processes")
    parser.add_argument("--check", action="store_true", help="only say what is understood, and what a forest gets")
    parser.add_argument("--write-schema", type=Path, help="write what is understood as a --schema file to edit")
    types.default_as(prepare, parser)
    parser.set_defaults(workers=os.cpu_count() or 1)  # a function is called where processes may not be begun
    sets = [f"{name} ({', '.join(recipes.RECIPES.options(name))})" for name in recipes.RECIPES.names()]
    parser.epilog = f"Options of a data set are given as --dataset.KEY=VALUE: {'; '.join(sets)}."


def run(options: argparse.Namespace) -> None:
    """Prepare and print a summary."""
    options.options = options.overrides
    made = prepare(**types.given_to(prepare, options))
    if isinstance(made, Findings):
        show(made, Console())
        return
    show(Findings.of(made), Console())
    print(made.describe())
    print(f"Look at {visible(made.directory / 'card.html')}.")
