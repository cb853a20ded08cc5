"""`mmcl pretrain`: train an experiment, or continue it."""

import argparse
import os
from pathlib import Path

from mmcl_jax.api.pretrain import pretrain_to_result
from mmcl_jax.cli import types
from mmcl_jax.config import data_names, shipped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--config",
        required=True,
        help=f"a shipped experiment ({', '.join(shipped())}) or the path of a config file. Behind mmcl/NAME a colon "
        f"and the data, one of {', '.join(data_names())}: mmcl/mmcl:own chooses encoder, view and length from "
        "your store and device, and says so",
    )
    parser.add_argument("--workdir", type=Path, required=True, help="run to make or continue")
    parser.add_argument(
        "--distributed", action="store_true", help="this is one of several processes of a cluster's job; see launch/"
    )
    types.default_as(pretrain_to_result, parser)
    parser.epilog = "Override config keys with --config.KEY=VALUE, for example --config.batch_size=256."


def run(options: argparse.Namespace) -> int:
    """Train. Returns 75 (EX_TEMPFAIL) if it was asked to stop before the end: the same command continues."""
    result = pretrain_to_result(
        options.config, options.workdir, overrides=options.overrides, distributed=options.distributed
    )
    return 0 if result.finished else os.EX_TEMPFAIL
