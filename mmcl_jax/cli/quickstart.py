"""`mmcl quickstart`: prepare, pretrain and evaluate on the digits that ship with the package."""

import argparse
from pathlib import Path

from mmcl_jax.cli import types
from mmcl_jax.quickstart import quickstart


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--out", type=Path, default=Path("mmcl_quickstart"), help="folder for everything it writes")
    parser.add_argument("--seeds", type=types.count, default=3, help="pretrainings of each method")
    parser.add_argument("--epochs", type=types.count, default=60, help="of each pretraining")


def run(options: argparse.Namespace) -> None:
    """Runs it."""
    quickstart(options.out, seeds=options.seeds, epochs=options.epochs)
