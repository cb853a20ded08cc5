"""`mmcl reproduce`: make a paper's table; the same command continues after a stop."""

import argparse

from mmcl_jax.api.commands.reproduce import Reproduced, reproduce
from mmcl_jax.cli import types
from mmcl_jax.reproduce.tables import TABLES, VARIANTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("table", metavar="TABLE", help=f"table to make, one of {', '.join(TABLES)}")
    what = parser.add_argument_group("what to train")
    what.add_argument("--data", type=types.path, required=True, help="store to train and evaluate on")
    what.add_argument(
        "--out", type=types.path, required=True, help="folder for the tables of this store, which share their runs"
    )
    what.add_argument(
        "--variant", choices=VARIANTS, help="data set whose settings the configs have; own chooses them from your store"
    )
    what.add_argument("--seeds", type=types.count, help="number of pretraining seeds per method")
    what.add_argument(
        "--folds",
        type=types.count,
        help="folds of the store to pretrain and test on, for every seed, such as 5; by default its own splits",
    )
    what.add_argument("--epochs", type=types.count, help="epochs of each pretraining; by default those of the config")
    what.add_argument(
        "--methods",
        type=types.names,
        help="methods to train, such as mmcl,simclr or lovt,lovt_clip; all by default; the reference is always added",
    )
    what.add_argument("--columns", type=types.names, help="columns to evaluate, such as yolo-frozen-10; by default all")
    what.add_argument(
        "--tune",
        type=types.path,
        metavar="FILE",
        help="TOML file with settings to pretrain every method with, of which validation chooses one; by default none",
    )
    how = parser.add_argument_group("how to evaluate")
    how.add_argument(
        "--label", help="label to predict; by default the store's first class label, or else its first label"
    )
    how.add_argument(
        "--downstream",
        type=types.names,
        help="stores that columns are trained and tested on, by name; columns without a store are left out. Of "
        "contig/table1 aptos=STORE,rfmid=STORE,palm=STORE; of contig/table2, the people whom no run has seen, "
        "cohort=STORE; of lovt/rsna and lovt/ablation rsna=STORE; of lovt/other "
        "covid_rural=STORE,siim=STORE,object_cxr=STORE,nih_boxes=STORE",
    )
    how.add_argument(
        "--raw",
        type=types.path,
        metavar="FOLDER",
        help="folder of files that analyses read beside a store: drawn eyes with genotypes, covariates and truth, of "
        "contig/table2 those of the cohort, of contig/figure3 and contig/figure4 those of --data; drawn chests with "
        "the boxes of their findings, of lovt/analysis, where no sentence points without it",
    )
    how.add_argument(
        "--draws", type=types.count, help="draws of labels per pretraining; by default 3 for probes, else 1"
    )
    how.add_argument(
        "--learning-rates",
        type=types.fractions,
        help="rates of which validation selects one; by default the protocol's",
    )
    how.add_argument(
        "--max-epochs", type=types.count, help="limit of epochs of probes and fine-tuning; by default the protocol's"
    )
    how.add_argument(
        "--trials",
        type=types.count,
        help="settings of each rival, of which validation selects one; by default 6, as many as a probe has rates",
    )
    parser.add_argument("--title", help="title of the page; by default the names of the table and the store")
    types.set_defaults(parser, reproduce)
    parser.epilog = (
        "Override keys of every pretraining's config with --config.KEY=VALUE, for example --config.dtype=bfloat16. A "
        "key that only some methods have is set for those methods."
    )


def run(options: argparse.Namespace) -> Reproduced:
    """Make the table, and return its files, which are not finished after a stop: the same command continues."""
    return reproduce(**types.arguments_of(reproduce, options))
