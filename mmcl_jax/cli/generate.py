"""`mmcl generate`: drawn data in the on-disk format of a data set that cannot be shipped."""

import argparse
from pathlib import Path

from mmcl_jax.api.generate import generate
from mmcl_jax.cli import types
from mmcl_jax.registry import Registry
from mmcl_jax.synthetic import GENERATORS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", choices=GENERATORS.names(), help="whose format")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.epilog = options_text(GENERATORS)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(options: argparse.Namespace) -> None:
    """Draw and write."""
    options.options = options.overrides
    generate(**types.given_to(generate, options))


def options_text(registry: Registry) -> str:
    """Return the options of every entry, as they are typed."""
    lines = ["options of each, with their defaults:"]
    for name in registry.names():
        lines.append(f"  {name}")
        lines += [f"    --dataset.{key}={parameter.default}" for key, parameter in registry.options(name).items()]
    return "\n".join(lines)
