"""`mmcl upgrade`: a store or run of an earlier version becomes one of today's."""

import argparse
from pathlib import Path

from mmcl_jax.data.format.upgrade import upgrade_store
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.text import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("path", metavar="STORE|RUN", type=Path, help="folder of the store or run")
    parser.add_argument("--out", type=Path, help="of a store: make a copy there, and leave the old one as it is")


def run(options: argparse.Namespace) -> None:
    """Upgrades in place, or to `--out`, and says what was done."""
    path: Path = options.path
    is_run = (path / "config.json").is_file()
    check(
        is_run or (path / "store.json").is_file(),
        f"{path} is neither a store (it has no store.json) nor a run (it has no config.json).",
    )
    if is_run:
        check(options.out is None, "--out: a run is upgraded in its folder; leave --out away, or copy the run first.")
        from mmcl_jax.training.runs.upgrade import upgrade_run  # loads JAX, which a store does not need

        done = upgrade_run(path)
        print(f"{visible(path)} is {'now' if done else 'already'} a run of today's version.")
        return
    done = upgrade_store(path, options.out)
    made = options.out if done and options.out else path
    print(f"{visible(made)} is {'now' if done else 'already'} of today's format.")
    if done:
        print(Store.open(made).describe())
