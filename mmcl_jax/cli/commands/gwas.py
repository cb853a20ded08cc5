"""`mmcl gwas`: test embeddings or phenotypes for association with genotypes."""

import argparse

from mmcl_jax.api.commands.gwas import Gwas, gwas
from mmcl_jax.cli import types


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--run", type=types.path, help="run whose encoder embeds people, such as runs/eyes")
    add("--pheno", type=types.path, help="file of phenotypes (FID, IID and numbers), in place of --run")
    add("--genotypes", type=types.path, nargs="+", help=".bed, .pgen or .bgen files, one or one per chromosome")
    add("--out", type=types.path, required=True, help="folder of the study, such as gwas/eyes")
    add("--covariates", type=types.path, help="file of covariates (FID, IID and numbers)")
    add(
        "--genetic-components",
        help="number of components to compute of variants pruned for linkage (15 by default), or a file of components",
    )
    add("--components", type=int, help="principal components of the phenotypes; 0 tests the columns themselves")
    add(
        "--transform", choices=["inverse_normal", "none"], help="normal scores of the ranks of residuals, or the values"
    )
    add("--store", type=types.path, help="store of the samples to embed, in place of the run's own")
    add("--split", choices=["train", "val", "test", "all"], help="split of the samples")
    add("--select", help="regular expression in the key of a person's sample; left by default, of several samples")
    add("--person", help="regular expression of the IID in the name of a key: its first group, or all that it matches")
    add("--input", help="encoder, such as image; the first of the run by default")
    add("--checkpoint", type=types.checkpoint, help="latest (the default), best (by validation loss), or a step")
    add("--allow-overlap", action="store_true", help="also test people whom the run was trained on")
    add("--min-frequency", type=float, help="variants whose rarer allele is rarer are not tested")
    add("--p1", type=float, help="largest p-value of the first variant of a region")
    add("--p2", type=float, help="largest p-value of its other variants")
    add("--r2", type=float, help="linkage above which a variant belongs to the region")
    add(
        "--window",
        type=types.positive,
        help="distance in kilobases, from the first variant, within which a region lies",
    )
    add("--catalog", type=types.path, help="file of all associations of the GWAS Catalog, to look up regions in")
    add("--seed", type=int, help="seed of the permuted phenotype, which shows whether the test is calibrated")
    types.set_defaults(parser, gwas)


def run(options: argparse.Namespace) -> Gwas:
    """Write the study, print its result, and return it."""
    study = gwas(**types.arguments_of(gwas, options))
    print(study)
    return study
