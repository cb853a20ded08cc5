"""`mj.pretrain`: train an experiment, or continue it."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mmcl_jax.api.given import AnyPath, copied, overriding, path_of
from mmcl_jax.bucket.address import Address, is_address
from mmcl_jax.bucket.border import OWN
from mmcl_jax.bucket.workdir import workdir as in_bucket
from mmcl_jax.compilation import use_cache
from mmcl_jax.config import OwnData, apply, explain, load
from mmcl_jax.config.length import keep_warmup
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.monitor import monitor
from mmcl_jax.targets import check_folder
from mmcl_jax.text import called, visible_lines
from mmcl_jax.training.loop import Result
from mmcl_jax.training.loop import pretrain as train
from mmcl_jax.training.processes import begin, broadcast_from_primary, is_primary
from mmcl_jax.training.runs.renamed import renamed_override
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.speed.profile import parse_steps

Overrides = Mapping[str, Any] | Sequence[str]


def pretrain(
    config: str | ConfigDict,
    workdir: AnyPath,
    *,
    data: Store | AnyPath | None = None,
    overrides: Overrides = (),
    profile: str | int | None = None,
    distributed: bool = False,
) -> Run:
    """Train the encoders of an experiment, or continue the run that is in `workdir`.

    The same from the command line: `mmcl pretrain --config CONFIG --config.data=DATA --workdir WORKDIR`. Called again
    with the same arguments, it continues where it was stopped, and has nothing to do where the training is complete.

    Args:
      config: the name of a shipped experiment such as "mmcl/mmcl:own", the path of a config file, or a config.
      workdir: the folder of the run, new or to be continued.
      data: the store to train on, opened or its folder; the same as the override `data`.
      overrides: values of config keys, such as `{"batch_size": 64, "schedule.learning_rate": 1e-3}`.
      profile: steps to record into `profile/` of the run, for XProf and Perfetto: `"10:13"` for steps 10 to 13, or a
        number of steps, which begin with the third of this session.
      distributed: this process is one of several of a cluster's job.

    Returns:
      The run. `Run.model()` is the model of its newest checkpoint; in a notebook the run shows its curves.

    Raises:
      UserError: the config, the data or the folder cannot be used; nothing was written.

    Example:
      >>> run = mj.pretrain("digits_mmcl", data=store, workdir="runs/digits")  # doctest: +SKIP
      >>> run.metrics()[-1]["loss"]  # doctest: +SKIP
    """
    options: dict[str, Any] = {"data": data, "overrides": overrides, "profile": profile, "distributed": distributed}
    return pretrain_to_result(config, workdir, **options).run


def pretrain_to_result(
    config: str | ConfigDict,
    workdir: AnyPath,
    *,
    data: Store | AnyPath | None = None,
    overrides: Overrides = (),
    profile: str | int | None = None,
    distributed: bool = False,
) -> Result:
    """Do what `pretrain` does, and return how the training ended: it may have been asked to stop."""
    use_cache()
    steps = None if profile is None else parse_steps(str(profile))
    begin(distributed=distributed, saves_when_asked=True)
    texts = overriding(overrides)
    if data is not None:
        texts.append(f"data={data if is_address(data) else called(path_of(data, 'data'))}")
    if is_address(workdir):
        with _copy(Address.parse(workdir, "--workdir: ")) as directory:
            result = _pretrain(config, directory, texts, steps)
        result = dataclasses.replace(result, run=Run.open(os.fspath(workdir)))
    else:
        folder = path_of(workdir, "--workdir")
        check_folder(folder, "--workdir")
        is_store = (folder / "store.json").is_file() and not Run.exists(folder)
        check(not is_store, f"--workdir: {folder} is a store; name another folder.")
        result = _pretrain(config, folder, texts, steps)
    if is_primary():
        print(result.describe())
    return result


@contextlib.contextmanager
def _copy(address: Address) -> Iterator[Path]:
    """Yield the copy of a work directory in a bucket, which the first process publishes until all have ended."""
    kind = f"{OWN}{jax.process_index()}" if jax.process_count() > 1 else "work"
    paths: list[Path] = []
    with contextlib.ExitStack() as resources:

        def enter() -> bool:
            paths.append(resources.enter_context(in_bucket(address, holds=is_primary(), kind=kind)))
            return True

        def leave() -> bool:
            resources.close()
            return True

        broadcast_from_primary(enter)  # others read what lies there when nobody else can change it any more
        if not is_primary():
            enter()
        yield paths[0]
        broadcast_from_primary(leave)  # the last publication


def _pretrain(config: str | ConfigDict, workdir: Path, texts: list[str], steps: Any) -> Result:
    """Train in a folder of this machine, with overrides as texts, and record these steps."""
    begun, said = Run.exists(workdir), list[str]()
    if begun and Run.is_old(workdir):  # the same call continues a run, whichever version it was begun with
        texts = [renamed_override(text) for text in texts]
    if isinstance(config, ConfigDict):
        experiment = copied(config)
        apply(experiment, texts, log=said.append)
    else:
        kept = OwnData.of_run(workdir) if config.endswith(":own") else None
        experiment = load(config, texts, data=kept, log=said.append)
    check(
        not begun or is_address(experiment.data) or (Path(experiment.data) / "store.json").is_file(),
        f"{workdir} is trained on a store, and there is none at {experiment.data}; if it has moved, say where it "
        "is with --config.data.",
    )
    if begun:
        keep_warmup(experiment, Run.open(workdir).config, texts)
        said = []
    said += explain(experiment, texts) if "own" in experiment else []
    if said and is_primary():
        print("\n".join(said), flush=True)
    return train(experiment, workdir, monitor=monitor, log=lambda line: print(visible_lines(line)), profile=steps)
