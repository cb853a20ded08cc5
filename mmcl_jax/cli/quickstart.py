"""`mmcl quickstart`: prepare, pretrain and evaluate on the digits that ship with the package."""

import argparse
import os
from pathlib import Path

from mmcl_jax.cli import types
from mmcl_jax.quickstart import quickstart


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--out", type=Path, default=Path("mmcl_quickstart"), help="folder for everything it writes")
    parser.add_argument("--seeds", type=types.count, default=3, help="pretrainings of each method")
    parser.add_argument("--epochs", type=types.count, default=60, help="of each pretraining")


def run(options: argparse.Namespace) -> int:
    """Run it. Returns 75 (EX_TEMPFAIL) if it was asked to stop before the end: the same command continues."""
    return 0 if quickstart(options.out, seeds=options.seeds, epochs=options.epochs) else os.EX_TEMPFAIL
