"""`mmcl evaluate`: what runs are worth."""

import argparse
import shlex
import sys
from pathlib import Path

from rich.console import Console

from mmcl_jax.cli import types
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.kept import heads_of
from mmcl_jax.evaluation.protocols.options import PROTOCOLS, EvaluationOptions
from mmcl_jax.evaluation.results.file import ResultsFile
from mmcl_jax.evaluation.results.provenance import provenance
from mmcl_jax.evaluation.results.summary import grids, show
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.source import BASELINES, sources
from mmcl_jax.targets import check_file, check_folder
from mmcl_jax.tasks import TASKS
from mmcl_jax.text import visible
from mmcl_jax.training.runs.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add = parser.add_argument
    add("--run", type=Path, nargs="+", required=True, help="runs; those of one experiment differ by seed")
    add(
        "--checkpoint",
        type=types.checkpoint,
        default="latest",
        help="of each run: latest, best (by validation loss), or a step",
    )
    add("--store", type=Path, help="store to evaluate on, or where that has moved which the first run was trained on")
    add("--allow-overlap", action="store_true", help="test rows may be rows that a run was trained on")
    add("--protocol", type=types.names, default="probe", help=f"how to evaluate, some of {','.join(PROTOCOLS)}")
    add("--input", type=types.names, default="image", help="what to predict from, such as image,table,image+table")
    add("--fraction", type=types.fractions, default=None, help="shares of the training labels, such as 1,0.1,0.01")
    add("--per-class", type=types.counts, default=(), help="labels per class, such as 5,20")
    add("--subset", type=types.names, default=(), help="named subsets of the store, such as train_10,train_balanced")
    add("--label", type=types.names, help="labels to predict, the first that is a class by default; a+b is one task")
    add("--task", help=f"what the labels are, where they can be several of {','.join(TASKS)}: an ordinal one, class")
    add(
        "--seeds", type=types.count, default=5, help="random draws of labels and starts of training, per run and budget"
    )
    add("--baselines", type=types.names, default=",".join(BASELINES), help="also evaluate these; empty for none")
    add("--learning-rates", type=types.rates, default=None, help="to choose from on validation, such as 1e-2,1e-3")
    add("--max-epochs", type=types.count, default=None, help="most epochs; in probe, one has at least 25 steps")
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
        default=False,
        metavar="DIR",
        help="keep the heads that are trained, in RUN/heads, or in DIR; `load_head` reads them",
    )
    add("--again", action="store_true", help="compute what is in the results file already, and replace it")


def run(options: argparse.Namespace) -> None:
    """Evaluates, prints the tables and writes the results."""
    runs = [Run.open(path).at(options.checkpoint) for path in options.run]
    check(options.out is not None or len(runs) == 1, "Say where the results of several runs go, with --out FILE.")
    out = options.out or runs[0].directory / "evaluation.json"
    check_file(out, "--out")
    for one in runs if options.keep else ():
        check_folder(heads_of(one, options.keep), "--keep")
    store = Store.open(options.store) if options.store else runs[0].store()
    steps = {str(one.directory): one.step() for one in runs}
    results = ResultsFile(
        out,
        store=store.fingerprint,
        sources=[source.of() for source in sources(runs, BASELINES)],
        head={
            **provenance(shlex.join(["mmcl", *sys.argv[1:]])),
            "runs": steps,
            "store": str(store.directory),
        },
        again=options.again,
    )
    for directory, step in steps.items():
        print(f"{visible(directory)}: the checkpoint of step {step}")
    fractions = options.fraction or (() if options.per_class or options.subset else (1.0,))
    budgets = [Budget(per_class=n) for n in options.per_class] + [Budget(fraction=f) for f in fractions]
    budgets += [Budget(subset=name) for name in options.subset]
    asked = EvaluationOptions(
        protocols=options.protocol,
        inputs=options.input,
        budgets=budgets,
        draws=options.seeds,
        baselines=options.baselines,
        label=options.label,
        task=options.task,
        learning_rates=options.learning_rates,
        max_epochs=options.max_epochs,
        allow_overlap=options.allow_overlap,
        keep=options.keep,
    )
    scores = evaluate_runs(runs, store, asked, records=results)
    show(grids(scores), Console())
    print(results.finish())
