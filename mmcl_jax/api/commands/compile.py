"""`mj.compile`: what an experiment needs on a machine, before it is sent there."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.aot.assumed import assumed_experiment
from mmcl_jax.aot.needs import Needs, needs_of
from mmcl_jax.aot.page import Page
from mmcl_jax.aot.suggest import tried_changes
from mmcl_jax.aot.topology import Machine, machine_of
from mmcl_jax.api.given import AnyPath, copied, overriding, path_of
from mmcl_jax.config import apply, load
from mmcl_jax.data.store import Store
from mmcl_jax.training.build import Experiment, build_experiment


def compile(
    config: str | ConfigDict,
    *,
    topology: str | None = None,
    data: Store | AnyPath | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    image_size: tuple[int, int] | None = None,
    suggest: bool = False,
) -> Page:
    """Compile the train step of an experiment for a machine, and tell what it needs there.

    The same from the command line: `mmcl compile --config CONFIG --topology TOPOLOGY`. The machine need not be there:
    the compiler of a TPU is the package libtpu (extra `aot`), that of a GPU is in JAX's packages for CUDA (extra
    `cuda`). Nothing is trained. What a compiler told is kept, so that the same call answers at once.

    Args:
      config: as for `pretrain`.
      topology: the machine, such as "v5e:16x16", "v5p:4x4x4", "2xv5e:16x16" (two slices), "h100:8", or "h200:8x4" (four
        hosts of eight); None for the machine at hand.
      data: the store to train on; the same as the override `data`. It may be smaller than a batch. Without it, images
        and a table like DVM's are assumed.
      overrides: values of config keys.
      image_size: (height, width) of stored images, without a store; by default that of the largest image view.
      suggest: whether, if the step does not fit, changes that may make it fit are compiled as well.

    Returns:
      The page; `print(page)` shows it.

    Raises:
      UserError: the config, the store or the machine cannot be used.
    """
    machine, texts = machine_of(topology), overriding(overrides)
    if data is not None:
        texts.append(f"data={path_of(data, 'data')}")
    experiment, note = _experiment(config, texts, machine, image_size)
    needs = needs_of(experiment, machine)
    page = Page(experiment=experiment.config.name, needs=needs, notes=[note] if note else [])
    if suggest and needs.fits is False:

        def measure(more: list[str]) -> Needs:
            return needs_of(_experiment(config, texts + more, machine, image_size)[0], machine)

        page = dataclasses.replace(page, tried=tuple(tried_changes(experiment.config, needs, measure)))
    print(page)
    return page


def _experiment(
    config: str | ConfigDict, overrides: list[str], machine: Machine, size: tuple[int, int] | None
) -> tuple[Experiment, str]:
    """Return the experiment for the machine, and a sentence on assumed data, "" with a store."""
    if isinstance(config, ConfigDict):
        chosen = copied(config)
        apply(chosen, overrides)
    else:
        own = [f"own.device={machine.platform}", f"own.devices={len(machine.devices)}"]
        chosen = load(config, [*(own if config.endswith(":own") else []), *overrides])
    devices = list(machine.devices)
    if chosen.data == "":
        return assumed_experiment(chosen, devices, size)
    return build_experiment(chosen, Store.open(Path(chosen.data)), devices, repeated=True), ""
