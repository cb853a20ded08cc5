"""`mmcl upgrade`: convert a store or run of an earlier version to the current format."""

import argparse
from typing import TYPE_CHECKING

from mmcl_jax.api.commands.upkeep.upgrade import upgrade
from mmcl_jax.cli import types
from mmcl_jax.data.store import Store

if TYPE_CHECKING:
    from mmcl_jax.training.runs.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "path", metavar="STORE|RUN", type=types.path, help="folder of the store or run, such as stores/ads"
    )
    parser.add_argument(
        "--out", type=types.path, help="folder for an upgraded copy of a store; by default the store itself is upgraded"
    )
    types.set_defaults(parser, upgrade)


def run(options: argparse.Namespace) -> "Store | Run":
    """Upgrade in place, or into `--out`, print a summary, and return the store or run."""
    return upgrade(**types.arguments_of(upgrade, options))
