"""`mmcl import`: make a run of a checkpoint of MMCL's or TIP's released code."""

import argparse

from mmcl_jax.api.commands.import_weights import import_weights
from mmcl_jax.cli import types
from mmcl_jax.training.runs.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--checkpoint", type=types.path, required=True, help="file of PyTorch Lightning (.ckpt); no code of it runs"
    )
    parser.add_argument(
        "--config",
        required=True,
        help="experiment with the encoders and projectors of the checkpoint, such as mmcl/mmcl:dvm; its data, with "
        "--config.data=STORE, describe the images and columns",
    )
    parser.add_argument(
        "--out", type=types.path, required=True, help="folder of the run to make, such as runs/released"
    )
    types.set_defaults(parser, import_weights)
    parser.epilog = (
        "Override any key of the config with --config.KEY=VALUE. ImageNet weights of torchvision or timm begin a "
        "training with mmcl pretrain --config.encoders.image.weights=FILE."
    )


def run(options: argparse.Namespace) -> Run:
    """Import, print a summary, and return the run."""
    return import_weights(options.checkpoint, options.config, options.out, overrides=options.overrides)
