"""`mmcl pretrain`: train an experiment, or continue a run of it."""

import argparse

from mmcl_jax.api.commands.pretrain import pretrain_to_result
from mmcl_jax.cli import types
from mmcl_jax.config import data_names, shipped
from mmcl_jax.training.loop import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--config",
        required=True,
        help=f"experiment ({', '.join(shipped())}), or path of a config file. mmcl/NAME may name its data set after a "
        f"colon, one of {', '.join(data_names())}, such as mmcl/simclr:digits; contig/NAME and taxonomy/NAME "
        "have data sets of their own. mmcl/NAME:own is for your own store: "
        "it chooses encoders, views and length from the store and the device, and prints its choices",
    )
    parser.add_argument(
        "--workdir", type=types.path, required=True, help="folder of the run to make or continue, such as runs/ads"
    )
    parser.add_argument(
        "--profile",
        metavar="STEPS",
        help="record these steps, such as 10:13 for steps 10 to 13, or a number of steps, such as 4, which begin with "
        "the third of this session: into profile/ of the run, for XProf and Perfetto",
    )
    parser.add_argument(
        "--distributed", action="store_true", help="join the other processes of a cluster's job; see launch/"
    )
    types.set_defaults(parser, pretrain_to_result)
    parser.epilog = (
        "Override any key of the config with --config.KEY=VALUE, for example --config.batch_size=256 or "
        "--config.objective.0.temperature=0.2. The run's config.json lists all keys."
    )


def run(options: argparse.Namespace) -> Result:
    """Train, and return the outcome, which is not finished after a stop, from which the same command continues."""
    return pretrain_to_result(
        options.config,
        options.workdir,
        overrides=options.overrides,
        profile=options.profile,
        distributed=options.distributed,
    )
