"""`mmcl quickstart`: prepare, pretrain and evaluate on the digits that ship with the package."""

import argparse
import os
from pathlib import Path

from mmcl_jax.api.quickstart import quickstart
from mmcl_jax.cli import types


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, help="folder for everything it writes")
    parser.add_argument("--seeds", type=types.count, help="pretrainings of each method")
    parser.add_argument("--epochs", type=types.count, help="of each pretraining")
    types.default_as(quickstart, parser)


def run(options: argparse.Namespace) -> int:
    """Run it. Returns 75 (EX_TEMPFAIL) if it was asked to stop before the end: the same command continues."""
    return 0 if quickstart(**types.given_to(quickstart, options)) else os.EX_TEMPFAIL
