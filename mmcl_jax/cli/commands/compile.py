"""`mmcl compile`: what an experiment needs on a machine, before it is sent there."""

import argparse

import jax

from mmcl_jax.aot.page import Page
from mmcl_jax.api.commands.compile import compile as compile_experiment
from mmcl_jax.cli import types
from mmcl_jax.config import shipped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--config", required=True, help=f"experiment ({', '.join(shipped())}), or path of a config file; see pretrain"
    )
    parser.add_argument(
        "--topology",
        metavar="CHIP:SIZE",
        help="machine to compile for, which need not be there: v5e:16x16, v5p:4x4x4, 2xv5e:16x16 (two slices), h100:8, "
        "h200:8x4 (four hosts of eight); by default the machine at hand",
    )
    parser.add_argument(
        "--image-size",
        type=types.size,
        help="size of the stored images where no --config.data is given: 128, or 16x15 (height x width)",
    )
    parser.add_argument(
        "--suggest", action="store_true", help="if the step does not fit, compile it with changes that may make it fit"
    )
    types.set_defaults(parser, compile_experiment)
    parser.epilog = (
        "Override any key of the config with --config.KEY=VALUE. Without --config.data, images and a table like those "
        "of DVM are assumed. Compiling a ResNet-50 takes minutes; the same command then answers at once."
    )


def run(options: argparse.Namespace) -> Page:
    """Compile, and return the page."""
    if options.topology:  # what this process computes itself needs no accelerator, which others may use
        jax.config.update("jax_platforms", "cpu")
    given = types.arguments_of(compile_experiment, options)
    return compile_experiment(**given)
