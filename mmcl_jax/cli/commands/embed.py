"""`mmcl embed`: write embeddings of rows into a Parquet file."""

import argparse
import os

from mmcl_jax.api.commands.embed import embed
from mmcl_jax.cli import types
from mmcl_jax.export.embeddings.result import Embeddings
from mmcl_jax.training.processes import is_primary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--run", type=types.path, required=True, help="run whose encoders embed, such as runs/ads")
    add("--table", type=types.path, help="CSV, TSV or Parquet file of new rows, such as new.csv")
    add("--images", type=types.path, help="folder of their images; without --table, all files in it are embedded")
    add(
        "--image-column", type=types.names, help="column of image paths, or several; by default as in the training data"
    )
    add("--key-column", help="column of the keys; by default as in the training data, else the image path is the key")
    add("--follow-links", type=types.path, help="another folder that links in --images may point into")
    add("--separator", help="separator of cells; by default a comma, or a tab in .tsv files")
    add("--encoding", help="encoding of text files, such as latin-1")
    add(
        "--request",
        type=types.path,
        help="JSON file that names entries of any kinds, as for mmcl prepare, in place of --table and --images",
    )
    add("--store", type=types.path, help="store to embed, such as stores/ads, in place of new rows")
    add("--split", choices=["train", "val", "test"], help="split of the store; all by default")
    add("--checkpoint", type=types.checkpoint, help="latest (the default), best (by validation loss), or a step")
    add(
        "--input",
        type=types.names,
        help="what to embed: image, or image+table side by side; image,table gives each row two embeddings. By default "
        "the first encoder that the data suffice for",
    )
    add(
        "--output",
        choices=["features", "projection"],
        help="features of the encoder, or their projection, where --input image:HEAD names a projector",
    )
    add("--head", type=types.path, help="head that mmcl evaluate --keep saved, whose predictions are added")
    add("--dtype", choices=["float32", "float16"], help="type of the numbers in the file")
    add(
        "--out",
        type=types.path,
        required=True,
        help="Parquet file to make, such as new.parquet; new.unembedded.csv lists what is not in it",
    )
    add("--workers", type=types.count, help="processes that decode images")
    add("--distributed", action="store_true", help="join the other processes of a cluster's job; see launch/")
    types.set_defaults(parser, embed)
    parser.set_defaults(workers=os.cpu_count())


def run(options: argparse.Namespace) -> Embeddings:
    """Embed, and print what became of the rows."""
    embeddings = embed(**types.arguments_of(embed, options))
    if is_primary():
        print(embeddings.describe())
    return embeddings
