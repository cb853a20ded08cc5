"""`mmcl generate`: drawn data in the on-disk format of a data set that cannot be shipped."""

import argparse
import shlex
from pathlib import Path

from mmcl_jax import datasets as recipes
from mmcl_jax.errors import check
from mmcl_jax.files import whole
from mmcl_jax.registry import Registry
from mmcl_jax.synthetic import GENERATORS
from mmcl_jax.targets import check_folder
from mmcl_jax.text import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("name", choices=GENERATORS.names(), help="whose format")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.epilog = options_text(GENERATORS)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(options: argparse.Namespace) -> None:
    """Draws and writes."""
    out: Path = options.out
    check(not out.exists(), f"{out} exists already; choose another --out, or remove it first.")
    check_folder(out, "--out")
    with whole(out) as partial:
        recipes.call(GENERATORS, options.name, options.overrides, root=partial)
    known = recipes.RECIPES.options(options.name)
    shared = "".join(f" --dataset.{word}" for word in options.overrides if word.partition("=")[0] in known)
    root = visible(shlex.quote(str(out)))
    print(
        f"Written to {visible(out)}. Next: "
        f"mmcl prepare --dataset {options.name} --root {root}{shared} --out stores/{options.name}"
    )


def options_text(registry: Registry) -> str:
    """The options of every entry, as they are typed."""
    lines = ["options of each, with their defaults:"]
    for name in registry.names():
        lines.append(f"  {name}")
        lines += [f"    --dataset.{key}={parameter.default}" for key, parameter in registry.options(name).items()]
    return "\n".join(lines)
