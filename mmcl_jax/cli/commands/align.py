"""`mmcl align`: how images and reports agree, and where sentences point."""

import argparse

from mmcl_jax.api.commands.align import Alignment, align
from mmcl_jax.cli import types
from mmcl_jax.data.schema import SPLITS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--run", type=types.path, required=True, help="run to analyse, such as runs/chest")
    add("--out", type=types.path, required=True, help="folder of the analysis, such as aligned/chest")
    add("--input", type=types.names, help="encoders, one of an image and one of a text; by default the first of each")
    add("--checkpoint", type=types.checkpoint, help="latest (the default), best (by validation loss), or a step")
    add("--store", type=types.path, help="store with the rows, in place of the run's own")
    add("--split", help=f"split whose rows are read, one of {','.join(SPLITS)}")
    add("--rows", type=types.count, help="most rows; of more, this many are drawn")
    add(
        "--prompts",
        type=types.names,
        help='labels told by pairs of prompts, each LABEL or "LABEL=PROMPT|PROMPT OF ABSENCE", such as edema',
    )
    add("--truth", type=types.path, help="CSV file of where findings are, such as raw/chest/truth/findings.csv")
    add("--subgroup", type=types.names, help="columns whose subgroups have scores of their own, such as sex,age,view")
    add("--map-rows", type=types.natural, help="most rows of the maps in two dimensions; 0 for no maps")
    add("--seed", type=types.natural, help="seed of drawn rows, intervals and maps")
    types.set_defaults(parser, align)


def run(options: argparse.Namespace) -> Alignment:
    """Write the analysis, print its result, and return it."""
    alignment = align(**types.arguments_of(align, options))
    print(alignment)
    return alignment
