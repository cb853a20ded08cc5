"""`mmcl upgrade`: a store or run of an earlier version becomes one of today's."""

import argparse
from pathlib import Path

from mmcl_jax.api.upgrade import upgrade
from mmcl_jax.cli import types


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("path", metavar="STORE|RUN", type=Path, help="folder of the store or run")
    parser.add_argument("--out", type=Path, help="of a store: make a copy there, and leave the old one as it is")
    types.default_as(upgrade, parser)


def run(options: argparse.Namespace) -> None:
    """Upgrade in place, or to `--out`, and say what was done."""
    upgrade(**types.given_to(upgrade, options))
