"""`mmcl report`: write a page that shows runs."""

import argparse

from mmcl_jax.api.commands.report import Report, report
from mmcl_jax.cli import types


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--run", type=types.path, nargs="+", required=True, help="runs to show; several are compared")
    add("--out", type=types.path, help="page to write; RUN/report.html by default for a single run")
    add(
        "--checkpoint",
        type=types.checkpoint,
        help="checkpoint of each run: latest (the default), best (by validation loss), or a step such as 2000",
    )
    add("--store", type=types.path, help="store whose rows are shown, or the new path of the runs' store")
    add(
        "--results",
        type=types.path,
        nargs="+",
        help="results files of mmcl evaluate --out; RUN/evaluation.json by default",
    )
    add("--colour", help="label or column whose values colour the map; the first label by default")
    add("--rows", type=types.count, help="most rows to encode for the map, the examples and the predictions")
    types.set_defaults(parser, report)


def run(options: argparse.Namespace) -> Report:
    """Write the page, print its address, and return it."""
    written = report(**types.arguments_of(report, options))
    print(written)
    return written
