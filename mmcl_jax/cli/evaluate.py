"""`mmcl evaluate`: what runs are worth."""

import argparse
import json
from pathlib import Path

from rich.console import Console

from mmcl_jax.cli import types
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.budgets import Budget
from mmcl_jax.evaluation.protocol import BASELINES, probe_runs
from mmcl_jax.evaluation.summary import render
from mmcl_jax.training.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add = parser.add_argument
    add("--run", type=Path, nargs="+", required=True, help="runs; those of one experiment differ by seed")
    add("--store", type=Path, help="store to evaluate on; by default the one the first run was trained on")
    add("--protocol", choices=["probe"], default="probe", help="how to evaluate")
    add("--fraction", type=types.fractions, default=None, help="shares of the training labels, such as 1,0.1,0.01")
    add("--per-class", type=types.counts, default=(), help="labels per class, such as 5,20")
    add("--subset", type=types.names, default=(), help="named subsets of the store, such as train_10,train_balanced")
    add("--label", help="label to predict, where the store has several; the first that is a class by default")
    add("--seeds", type=types.count, default=5, help="random draws of labels, per run and budget")
    add("--baselines", type=types.names, default=",".join(BASELINES), help="also probe these; empty for none")
    add("--out", type=Path, help="results file; RUN/probe.json by default for a single run")


def run(options: argparse.Namespace) -> None:
    """Probes, prints the table and writes the results."""
    runs = [Run.open(path) for path in options.run]
    check(options.out is not None or len(runs) == 1, "Say where the results of several runs go, with --out FILE.")
    out = options.out or runs[0].directory / "probe.json"
    for one in runs:
        print(f"{one.directory}: the checkpoint of step {one.latest_step()}")
    store = Store.open(options.store) if options.store else runs[0].store()
    fractions = options.fraction or (() if options.per_class or options.subset else (1.0,))
    budgets = [Budget(per_class=n) for n in options.per_class] + [Budget(fraction=f) for f in fractions]
    budgets += [Budget(subset=name) for name in options.subset]
    scores = probe_runs(runs, store, budgets, draws=options.seeds, baselines=options.baselines, label=options.label)
    console = Console()
    for metric in ("top1", "auroc"):
        console.print(render(scores, metric))
    results = {"runs": [str(run.directory) for run in runs], "scores": [score.to_json() for score in scores]}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"Written to {out}.")
