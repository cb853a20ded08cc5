"""`mmcl export`: the encoders of a run, for use without mmcl_jax."""

import argparse

from mmcl_jax.api.commands.export import Exported, export
from mmcl_jax.cli import types
from mmcl_jax.export.formats import FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--run", type=types.path, required=True, help="run to export, such as runs/ads")
    add("--out", type=types.path, required=True, help="folder to make; an earlier export in it is replaced")
    add("--format", type=types.names, help=f"formats, some of {','.join(FORMATS)}, such as safetensors,orbax")
    add("--input", type=types.names, help="inputs whose encoders are exported, such as image,image+table")
    add("--head", type=types.path, metavar="DIR", help="head of mmcl evaluate --keep to export with its encoders")
    add(
        "--checkpoint",
        type=types.checkpoint,
        help="checkpoint: latest (the default), best (by validation loss), or a step such as 2000",
    )
    add(
        "--average",
        action=argparse.BooleanOptionalAction,
        help="averages of the weights, or the last weights; averages by default if the run has them",
    )
    add("--license", help="license of the weights for the README, as hubs write it, such as apache-2.0")
    add("--push", metavar="REPO", help="repository OWNER/NAME of a model hub to upload the folder to")
    add("--public", action="store_true", help="make a new repository public")
    types.set_defaults(parser, export)


def run(options: argparse.Namespace) -> Exported:
    """Write the export, upload it if asked, print its files, and return it."""
    exported = export(**types.arguments_of(export, options))
    print(exported)
    return exported
