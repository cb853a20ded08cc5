"""`mmcl reproduce`: a table of a paper in one command; the same command continues."""

import argparse
import os
from pathlib import Path

from mmcl_jax.api.reproduce import reproduce
from mmcl_jax.cli import types
from mmcl_jax.reproduce.tables import TABLES, VARIANTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("table", metavar="TABLE", help=f"one of {', '.join(TABLES)}")
    what = parser.add_argument_group("what to train")
    what.add_argument("--data", type=Path, required=True, help="store to train and evaluate on")
    what.add_argument("--out", type=Path, required=True, help="folder of all tables of this store; they share runs")
    what.add_argument("--variant", choices=VARIANTS, help="size and settings of the configs")
    what.add_argument("--seeds", type=types.count, help="pretrainings of each method")
    what.add_argument("--epochs", type=types.count, help="of each pretraining; by default as the config says")
    what.add_argument("--methods", type=types.names, help="rows of the table; all by default, and the reference always")
    how = parser.add_argument_group("how to evaluate")
    how.add_argument("--label", help="label to predict; the store's first that is a class by default")
    how.add_argument("--draws", type=types.count, help="of labels, per pretraining; 3 for probes, else 1 by default")
    how.add_argument("--learning-rates", type=types.fractions, help="to choose from; by default the protocol's own")
    how.add_argument("--max-epochs", type=types.count, help="of probes and fine-tuning; by default the protocol's own")
    parser.add_argument("--title", help="of the page; by default the table's and the store's name")
    types.default_as(reproduce, parser)
    parser.epilog = (
        "Override keys of every pretraining with --config.KEY=VALUE, for example --config.dtype=bfloat16. A key that "
        "only some methods have is set in these."
    )


def run(options: argparse.Namespace) -> int:
    """Reproduce. Returns 75 (EX_TEMPFAIL) if it was asked to stop before the end: the same command continues."""
    return 0 if reproduce(**types.given_to(reproduce, options)).finished else os.EX_TEMPFAIL
