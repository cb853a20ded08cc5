"""`mmcl pretrain`: train an experiment, or continue it."""

import argparse
import os
from pathlib import Path

from mmcl_jax.config import OwnData, data_names, explain, load, shipped
from mmcl_jax.config.length import keep_warmup
from mmcl_jax.errors import check
from mmcl_jax.evaluation.monitor import monitor
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.processes import initialize, is_first
from mmcl_jax.training.runs.renamed import renamed_override
from mmcl_jax.training.runs.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--config",
        required=True,
        help=f"a shipped experiment ({', '.join(shipped())}) or the path of a config file. Behind mmcl/NAME a colon "
        f"and the data, one of {', '.join(data_names())}: mmcl/mmcl:own chooses encoder, view and length from "
        "your store and device, and says so",
    )
    parser.add_argument("--workdir", type=Path, required=True, help="run to make or continue")
    parser.add_argument(
        "--distributed", action="store_true", help="this is one of several processes of a cluster's job; see launch/"
    )
    parser.epilog = "Override config keys with --config.KEY=VALUE, for example --config.batch_size=256."


def run(options: argparse.Namespace) -> int:
    """Trains. Returns 75 (EX_TEMPFAIL) if it was asked to stop before the end: the same command continues."""
    if options.distributed:
        initialize()
    begun, said = Run.exists(options.workdir), list[str]()
    kept = OwnData.kept(options.workdir) if options.config.endswith(":own") else None
    overrides = options.overrides
    if begun and Run.is_old(options.workdir):  # the same command continues a run, whichever version it was begun with
        overrides = [renamed_override(override) for override in overrides]
    config = load(options.config, overrides, data=kept, say=said.append)
    check(
        not begun or (Path(config.data) / "store.json").is_file(),
        f"{options.workdir} is trained on a store, and there is none at {config.data}; if it has moved, say where it "
        "is with --config.data.",
    )
    if begun:
        keep_warmup(config, Run.open(options.workdir).config, overrides)
        said = []
    said += explain(config, overrides) if "own" in config else []
    if said and is_first():
        print("\n".join(said), flush=True)
    result = pretrain(config, options.workdir, monitor=monitor)
    if is_first():
        print(result.describe())
    return 0 if result.finished else os.EX_TEMPFAIL
