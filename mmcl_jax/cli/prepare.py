"""`mmcl prepare`: raw data to store."""

import argparse
from pathlib import Path

from mmcl_jax.cli import types
from mmcl_jax.data.prepare import Request, prepare
from mmcl_jax.progress import track


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add = parser.add_argument
    add("--table", type=Path, required=True, help="CSV, TSV or Parquet file with a header")
    add("--images", type=Path, required=True, help="folder the image paths are relative to")
    add("--image-column", required=True, help="column with the image path")
    add("--out", type=Path, required=True, help="store to make")
    add("--label", help="column with the class to predict; not used as a feature")
    add("--key-column", help="column that identifies a row; the image path by default")
    add("--ignore", type=types.names, default=(), help="columns to leave out, comma-separated")
    add("--categorical", type=types.names, default=(), help="number columns that are categories, comma-separated")
    add("--image-size", type=types.size, help="stored size, 128 or 96x128 (height x width); by default as they are")
    add("--split-column", help="column that holds train, val or test")
    add("--split", type=types.three_fractions, default="0.7,0.1,0.2", help="shares of train, val and test")
    add("--seed", type=int, default=0, help="of the random split, which is stratified by the label")
    add("--max-bad", type=float, default=0.0, help="share of rows that may be quarantined")


def run(options: argparse.Namespace) -> None:
    """Prepares and prints a summary."""
    fields = {name: getattr(options, name) for name in Request.__dataclass_fields__}
    print(prepare(Request(**fields), options.out, track=track).describe())
