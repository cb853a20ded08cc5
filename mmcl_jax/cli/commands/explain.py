"""`mmcl explain`: which columns and which pixels matter."""

import argparse

from rich.console import Console

from mmcl_jax.api.commands.explain import Explanations, explain
from mmcl_jax.cli import types
from mmcl_jax.explain import METHODS
from mmcl_jax.explain.base import ATTENTIONS, BASELINES, INTERPOLATIONS, LOSSES, REPLACEMENTS
from mmcl_jax.text import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--run", type=types.path, required=True, help="run to explain")
    add("--method", type=types.names, help=f"methods, some of {','.join(sorted(METHODS))}")
    add("--input", type=types.names, help="inputs to explain; by default all of the kinds that the method takes")
    add("--head", type=types.path, help="folder of a head that mmcl evaluate --keep saved, to explain its outputs")
    add("--output", help='class of the head whose logit is explained, or "predicted"; by default all outputs')
    add("--checkpoint", type=types.checkpoint, help="latest (the default), best (by validation loss), or a step")
    add(
        "--store",
        type=types.path,
        help="store with the rows, or the new path of the run's store; by default the run's store",
    )
    add("--split", help="split whose rows are explained")
    add("--rows", type=types.count, help="number of rows to explain; of more, a fixed random draw")
    add("--baseline", help=f"start of the path of integrated gradients, one of {','.join(BASELINES)}")
    add("--steps", type=types.count, help="steps of the path; by default as many as the tolerance needs, of loss 50")
    add("--max-steps", type=types.count, help="most steps that are tried")
    add("--tolerance", type=types.positive, help="largest relative error of completeness")
    add(
        "--groups",
        type=types.path,
        help='JSON file with groups of columns, {"GROUP": ["COLUMN", ...]}; by default tags',
    )
    add("--top", type=types.count, help="columns in the plot, or overlays")
    add("--replacement", help=f"what ablation puts in place of columns, one of {','.join(REPLACEMENTS)}")
    add("--reference", type=types.count, help="rows of the reference batch of the loss")
    add("--reference-split", help="split of the reference batch, another than --split")
    add("--term", help="term that the method loss explains, such as clip/image-table; by default the whole objective")
    add("--loss", help=f"the explained loss, one of {','.join(LOSSES)}: temperature 1 and balance 0.5, or the run's")
    add("--temperature", type=types.positive, help="temperature of the explained loss, in place of that of --loss")
    add("--balance", type=float, help="weight of the first direction of the explained loss, in place of that of --loss")
    add("--noise-samples", type=int, help="draws of noise over which loss, saliency and canonical average; 0 for none")
    add("--noise-std", type=types.positive, help="standard deviation of that noise")
    add("--individuals", type=types.names, help="keys of rows that the methods loss and sentences show")
    add(
        "--layer",
        type=int,
        help="stage of the encoder whose maps Grad-CAM reads, from 0 (-1 is the last); by default the last that counts",
    )
    add("--interpolation", help=f"how guided Grad-CAM enlarges its maps, one of {','.join(INTERPOLATIONS)}")
    add("--attention", help=f"blocks of a fusion whose attention is shown, one of {','.join(ATTENTIONS)}")
    add("--dimension", type=types.indices, help="latent dimensions that saliency explains, such as 0,5; by default all")
    add("--partner", help="input that canonical compares the explained input with; by default the only other")
    add("--text", help='phrase whose map over an image is drawn, such as "left pleural effusion"')
    add("--show-text", action="store_true", help="show the words of reports; by default sentences are numbers alone")
    add("--directions", type=types.count, help="number of canonical directions")
    add("--atlas", type=types.path, help="NIfTI file of the regions of volumes, in their grid, to rank the regions")
    add("--atlas-names", type=types.path, help="text file with the names of the regions: index, a tab, name")
    add("--out", type=types.path, help="folder of the explanations; RUN/explanations by default")
    types.set_defaults(parser, explain)


def run(options: argparse.Namespace) -> Explanations:
    """Explain, print the ranked columns and where the files are, and return the explanations."""
    explanations = explain(**types.arguments_of(explain, options))
    for explanation in explanations:
        explanation.show(Console(), top=options.top)
        print(f"Written to {visible(explanation.directory)}")
    return explanations
