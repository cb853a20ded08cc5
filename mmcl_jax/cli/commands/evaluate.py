"""`mmcl evaluate`: measure the features of runs."""

import argparse

from rich.console import Console

from mmcl_jax.api.commands.evaluate import evaluate
from mmcl_jax.api.scores import Scores
from mmcl_jax.cli import types
from mmcl_jax.evaluation.heads.adam import OPTIMIZERS
from mmcl_jax.evaluation.heads.cycle import SCHEDULES
from mmcl_jax.evaluation.protocols.options import PROTOCOLS
from mmcl_jax.evaluation.protocols.tuning import AUGMENT, HEADS, NORMALISATION, SELECT
from mmcl_jax.evaluation.results.summary import show
from mmcl_jax.evaluation.sources.missingness import STRATEGIES
from mmcl_jax.tasks import TASKS
from mmcl_jax.tasks.detection.anchors import ANCHORS
from mmcl_jax.training.processes import is_primary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add(
        "--run",
        type=types.path,
        nargs="+",
        required=True,
        help="runs to evaluate; seeds of one experiment form one row",
    )
    add(
        "--checkpoint",
        type=types.checkpoint,
        help="checkpoint of each run: latest (the default), best (by validation loss), or a step such as 2000",
    )
    add(
        "--store",
        type=types.path,
        help="store to evaluate on, or the new path of the runs' store; by default the runs' store",
    )
    add("--allow-overlap", action="store_true", help="evaluate even if runs were trained on test rows")
    add("--protocol", type=types.names, help=f"protocols, some of {','.join(PROTOCOLS)}, such as probe,knn")
    add("--input", type=types.names, help="inputs to predict from, such as image,table,image+table")
    add("--fraction", type=types.fractions, help="shares of the training labels, such as 1,0.1,0.01")
    add("--first", action="store_true", help="these shares are the first rows of the store, not random ones")
    add("--per-class", type=types.counts, help="labels per class, such as 5,20")
    add("--subset", type=types.names, help="named subsets of the store, such as train_10,train_balanced")
    add(
        "--label",
        type=types.names,
        help="labels to predict, such as model,price; a+b is one task; the first class label by default",
    )
    add("--task", help=f"task of the labels, one of {','.join(TASKS)}, in place of the label's own")
    add("--seeds", type=types.count, help="random draws of labels and initial weights, per run and budget")
    add("--baselines", type=types.names, help='baselines to evaluate, too; "" for none')
    add("--learning-rates", type=types.rates, help="rates of which validation selects one, such as 1e-2,1e-3")
    add(
        "--trials",
        type=types.count,
        help="settings of forest, boosting and other rivals to choose from, 6 by default; of logistic, 32",
    )
    add("--optimizer", help=f"of heads, one of {','.join(OPTIMIZERS)}; adam by default")
    add("--balanced", action="store_true", help="train heads on rows drawn so that every class is as frequent")
    add(
        "--normalisation",
        help=f"of the encoders of augmented_probe, one of {','.join(NORMALISATION)}: by running statistics, or by the "
        "batch, adapting them",
    )
    add(
        "--head",
        help=f"of masks or boxes, one of {','.join(HEADS)}; of masks by default linear in probe, a U-Net in finetune",
    )
    add("--anchors", help=f"of yolo, one of {','.join(ANCHORS)}; released by default")
    add("--batch-size", type=types.count, help="rows per step of probe and finetune; 512 by default, 16 for masks")
    add("--accumulate", type=types.count, help="slices of a batch whose gradients are added; each is normalised alone")
    add("--weight-decay", type=float, help="L2 in the gradient of finetune, such as 1e-5; 0 by default")
    add("--patience", type=int, help="epochs without improvement before finetune ends; 10 by default, 0 for never")
    add("--select", help=f"what chooses epoch and rate on validation, one of {','.join(SELECT)}")
    add(
        "--augment",
        help=f"of training images, one of {','.join(AUGMENT)}: as the run augments, mirrored at most, or not at all",
    )
    add("--frozen-epochs", type=int, help="first epochs of finetune that do not train the encoder of a run")
    add("--frozen-steps", type=int, help="first batches of finetune that do not, in place of epochs")
    add("--frozen-rate", type=float, help="learning rate of these epochs or batches; 0.001 by default")
    add("--max-epochs", type=types.count, help="limit of epochs; an epoch of probe has at least 25 steps")
    add("--missing", type=types.shares, help="shares of the table to hide, each for a score, such as 0,0.3,0.5,0.9")
    add("--missing-by", type=types.names, help=f"what is hidden first, some of {','.join(STRATEGIES)}")
    add(
        "--confounders",
        type=types.names,
        help="covariates of confounding: columns, features or entries of the store;"
        " their scores stand beside all others",
    )
    add(
        "--schedule",
        help=f"of the learning rate, one of {','.join(SCHEDULES)}: plateau halves it while the loss on validation does "
        "not improve, metric_plateau while the metric does not; one_cycle takes all of --max-epochs (default 100) "
        "up to the maximum --learning-rates (default 0.01)",
    )
    add(
        "--cycle-momentum",
        action=argparse.BooleanOptionalAction,
        help="move the momentum inversely in one_cycle, as PyTorch does (the default), or not",
    )
    add(
        "--out",
        type=types.path,
        help="results file to write, or to add scores to; RUN/evaluation.json by default for a single run",
    )
    add(
        "--keep",
        type=types.path,
        nargs="?",
        const=True,
        metavar="DIR",
        help="save the trained heads in RUN/heads, or in DIR; `load_head` reads them",
    )
    add("--again", action="store_true", help="compute scores that the results file has again, and replace them")
    add("--distributed", action="store_true", help="join the other processes of a cluster's job; see launch/")
    types.set_defaults(parser, evaluate)


def run(options: argparse.Namespace) -> Scores:
    """Evaluate, print the tables, and return the scores."""
    scores = evaluate(**types.arguments_of(evaluate, options))
    if is_primary():
        show(scores.grids, Console())
        print(scores.note)
    return scores
