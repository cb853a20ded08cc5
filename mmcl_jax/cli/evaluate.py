"""`mmcl evaluate`: what runs are worth."""

import argparse
from pathlib import Path

from rich.console import Console

from mmcl_jax.api.evaluate import evaluate
from mmcl_jax.cli import types
from mmcl_jax.evaluation.protocols.options import PROTOCOLS
from mmcl_jax.evaluation.results.summary import show
from mmcl_jax.tasks import TASKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--run", type=Path, nargs="+", required=True, help="runs; those of one experiment differ by seed")
    add(
        "--checkpoint",
        type=types.checkpoint,
        help="of each run: latest (the default), best (by validation loss), or a step",
    )
    add("--store", type=Path, help="store to evaluate on, or where that has moved which the first run was trained on")
    add("--allow-overlap", action="store_true", help="test rows may be rows that a run was trained on")
    add("--protocol", type=types.names, help=f"how to evaluate, some of {','.join(PROTOCOLS)}")
    add("--input", type=types.names, help="what to predict from, such as image,table,image+table")
    add("--fraction", type=types.fractions, help="shares of the training labels, such as 1,0.1,0.01")
    add("--per-class", type=types.counts, help="labels per class, such as 5,20")
    add("--subset", type=types.names, help="named subsets of the store, such as train_10,train_balanced")
    add("--label", type=types.names, help="labels to predict, the first that is a class by default; a+b is one task")
    add("--task", help=f"what the labels are, where they can be several of {','.join(TASKS)}: an ordinal one, class")
    add("--seeds", type=types.count, help="random draws of labels and starts of training, per run and budget")
    add("--baselines", type=types.names, help="also evaluate these; empty for none")
    add("--learning-rates", type=types.rates, help="to choose from on validation, such as 1e-2,1e-3")
    add("--max-epochs", type=types.count, help="most epochs; in probe, one has at least 25 steps")
    add(
        "--out",
        type=Path,
        help="results file, which is added to; RUN/evaluation.json by default for a single run",
    )
    add(
        "--keep",
        type=Path,
        nargs="?",
        const=True,
        metavar="DIR",
        help="keep the heads that are trained, in RUN/heads, or in DIR; `load_head` reads them",
    )
    add("--again", action="store_true", help="compute what is in the results file already, and replace it")
    types.default_as(evaluate, parser)


def run(options: argparse.Namespace) -> None:
    """Evaluate, print the tables and write the results."""
    scores = evaluate(**types.given_to(evaluate, options))
    show(scores.grids, Console())
    print(scores.note)
