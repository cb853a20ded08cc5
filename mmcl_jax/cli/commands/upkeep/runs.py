"""`mmcl runs`: list the runs below a folder."""

import argparse

from mmcl_jax.api.commands.upkeep.runs import runs
from mmcl_jax.api.run_folders import STATES
from mmcl_jax.api.runs import SORTS, Runs
from mmcl_jax.cli import types


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("directory", metavar="DIR", type=types.path, nargs="?", help="folder of the runs")
    parser.add_argument("--sort", help=f"order, one of {', '.join(SORTS)}; the best or newest run comes first")
    parser.add_argument("--state", type=types.names, help=f"only runs in these states, some of {','.join(STATES)}")
    parser.add_argument("--most-folders", type=types.count, metavar="N", help="folders that are searched for runs")
    types.set_defaults(parser, runs)


def run(options: argparse.Namespace) -> Runs:
    """List the runs, and return them."""
    found = runs(**types.arguments_of(runs, options))
    print(found)
    return found
