"""`mmcl similarity`: compare the representations of modalities, layers, checkpoints and runs."""

import argparse

from mmcl_jax.api.commands.similarity import Comparison, similarity
from mmcl_jax.cli import types
from mmcl_jax.data.schema import SPLITS
from mmcl_jax.evaluation.similarity.layers import LAYERS
from mmcl_jax.evaluation.similarity.measures import MEASURES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--run", type=types.path, nargs="+", required=True, help="runs of one store to compare, such as runs/ads")
    add("--out", type=types.path, required=True, help="folder of the comparison, such as similarity/ads")
    add("--input", type=types.names, help="encoders, such as image,table; all of each run by default")
    add("--layer", type=types.names, help=f"layers, some of {','.join(LAYERS)}; local is the mean over the places")
    add(
        "--checkpoint",
        type=types.checkpoints,
        help="checkpoints of each run: latest (the default), best, steps such as 200,400, or kept for all of them",
    )
    add("--split", type=types.names, help=f"splits whose rows are compared, some of {','.join(SPLITS)}")
    add("--store", type=types.path, help="store with the rows, in place of the runs' own")
    add("--measure", type=types.names, help=f"measures, some of {','.join(MEASURES)}")
    add("--permutations", type=types.natural, help="permutations of the rows, per pair; 0 for none")
    add("--kernel-width", type=types.positive, help="width of the RBF kernel, as a fraction of the median distance")
    add("--rows", type=types.count, help="most rows of a split; of more, this many are drawn")
    add("--seed", type=types.natural, help="seed of the drawn rows and of the permutations")
    types.set_defaults(parser, similarity)


def run(options: argparse.Namespace) -> Comparison:
    """Write the comparison, print its result, and return it."""
    comparison = similarity(**types.arguments_of(similarity, options))
    print(comparison)
    return comparison
