"""`mmcl check`: compare the files of a store or run with their checksums, and repair what can be repaired."""

import argparse

from mmcl_jax.api.commands.upkeep.check import check
from mmcl_jax.cli import types
from mmcl_jax.integrity.result import Check


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "path", metavar="STORE|RUN", type=types.path, help="folder of the store or run, such as stores/ads"
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="make damaged files again where others determine them, cut half lines, set damaged checkpoints aside and "
        "remove what killed processes left; without this option nothing is written",
    )
    types.set_defaults(parser, check)


def run(options: argparse.Namespace) -> Check:
    """Print what was found and repaired, and return it."""
    found = check(**types.arguments_of(check, options))
    print(found.describe())
    return found
