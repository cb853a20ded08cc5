"""`mmcl pretrain`: train an experiment, or continue it."""

import argparse
from pathlib import Path

from mmcl_jax.config import load, shipped
from mmcl_jax.training.loop import pretrain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--config", required=True, help=f"a shipped experiment ({', '.join(shipped())}) or the path of a config file"
    )
    parser.add_argument("--workdir", type=Path, required=True, help="run to make or continue")
    parser.epilog = "Override config keys with --config.KEY=VALUE, for example --config.batch_size=256."


def run(options: argparse.Namespace) -> None:
    """Trains."""
    print(pretrain(load(options.config, options.overrides), options.workdir).describe())
