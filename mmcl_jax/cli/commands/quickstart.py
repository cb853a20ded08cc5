"""`mmcl quickstart`: prepare, pretrain and evaluate on the digits that ship with the package."""

import argparse

from mmcl_jax.api.commands.quickstart import quickstart
from mmcl_jax.api.scores import Scores
from mmcl_jax.cli import types


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=types.path, help="folder for the store, the runs and the results")
    parser.add_argument("--seeds", type=types.count, help="number of pretraining seeds per method")
    parser.add_argument("--epochs", type=types.count, help="epochs of each pretraining")
    types.set_defaults(parser, quickstart)


def run(options: argparse.Namespace) -> Scores:
    """Run all steps, and return the scores, which are not finished after a stop: the same command continues."""
    return quickstart(**types.arguments_of(quickstart, options))
