"""The check that a run can take another number of epochs than it began with."""

import inspect
from pathlib import Path

from ml_collections import ConfigDict

from mmcl_jax.data.store import Store
from mmcl_jax.encoders.fusions import parts_of_views
from mmcl_jax.errors import check
from mmcl_jax.objectives import build_objective
from mmcl_jax.training.build import build_sampler, participating_rows
from mmcl_jax.training.optim.schedules import SCHEDULES
from mmcl_jax.training.runs.logged import steps_of


def check_length(directory: Path, old: ConfigDict, new: ConfigDict, store: Store) -> None:
    """Check that a run can take another number of epochs, that is, that its steps do not depend on the number.

    Args:
      directory: the run.
      old: the config of the run.
      new: the config with another number of epochs.
      store: the data.

    Raises:
      UserError: the learning rate or the target network depends on the number, or more steps are already done.
    """
    reason = _length_dependence(old, store)
    check(
        reason is None,
        f"{directory} was begun with config.epochs={old.epochs}, which cannot change to {new.epochs}: {reason}, so its "
        f"steps would have been different. Train anew in another --workdir; a run with "
        f"--config.schedule.name=constant and without a target network can be lengthened.",
    )
    done = max(steps_of(directory / "checkpoints"), default=0)
    per_epoch = build_sampler(old, store, participating_rows(old, store, "train")).size // old.batch_size
    check(
        new.epochs * per_epoch >= done,
        f"config.epochs: {directory} has done {done} steps, more than {new.epochs} epochs of {per_epoch}; give more "
        f"epochs.",
    )


def _length_dependence(config: ConfigDict, store: Store) -> str | None:
    """Return a clause on the part of the training that depends on its length; None if no part does."""
    if "epochs" in inspect.signature(SCHEDULES.factory(config.schedule.name)).parameters:
        return f"the schedule {config.schedule.name!r} spreads the learning rate over all epochs"
    modalities = {name: view.modality for name, view in config.views.items()}
    parts = parts_of_views(config.views)
    objective = build_objective(config.objective, modalities, parts=parts, schema=store.schema)
    if objective.reads["teacher"] and config.target.decay < 1:
        return "the target network's decay rises to 1 over all epochs"
    return None
