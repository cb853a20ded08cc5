"""`mmcl generate`: write artificial data in the files of a data set that cannot be shipped."""

import argparse
from pathlib import Path

from mmcl_jax.api.commands.generate import generate
from mmcl_jax.cli import types
from mmcl_jax.registry import Registry
from mmcl_jax.synthetic import GENERATORS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", choices=GENERATORS.names(), help="data set whose format to write")
    parser.add_argument("--out", type=types.path, required=True, help="folder to make, such as raw/dvm")
    parser.epilog = options_text(GENERATORS)


def run(options: argparse.Namespace) -> Path:
    """Draw the data, write them, and return their folder."""
    options.options = options.overrides
    return generate(**types.arguments_of(generate, options))


def options_text(registry: Registry) -> str:
    """Return the options of every data set, in the form of the command line."""
    lines = ["Options of each data set, with their defaults:"]
    for name in registry.names():
        lines.append(f"  {name}")
        lines += [f"    --dataset.{key}={parameter.default}" for key, parameter in registry.options(name).items()]
    return "\n".join(lines)
