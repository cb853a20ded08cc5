"""Whether a run can be made longer or shorter than it was begun."""

import inspect
from pathlib import Path

from ml_collections import ConfigDict

from mmcl_jax.data.store import Store
from mmcl_jax.encoders.fusions import parts_of_views
from mmcl_jax.errors import check
from mmcl_jax.objectives import build_objective
from mmcl_jax.training.build import build_sampler, taking_part
from mmcl_jax.training.optim.schedules import SCHEDULES
from mmcl_jax.training.runs.checkpoint import steps_of


def check_length(directory: Path, begun: ConfigDict, asked: ConfigDict, store: Store) -> None:
    """Check that a run can take the number of epochs that is asked for: no step of it depends on how many there are.

    Args:
      directory: of the run.
      begun: its config.
      asked: the config with another number of epochs.
      store: the data.

    Raises:
      UserError: the learning rate or the target network follows the length, or more steps are done already.
    """
    reason = _follows_length(begun, store)
    check(
        reason is None,
        f"{directory} was begun with config.epochs={begun.epochs}, and {asked.epochs} are asked for: {reason}, so its "
        f"steps would have been others. Train anew in another --workdir; what is trained with "
        f"--config.schedule.name=constant, and without a target network, can be lengthened.",
    )
    done = max(steps_of(directory / "checkpoints"), default=0)
    per_epoch = build_sampler(begun, store, taking_part(begun, store, "train")).size // begun.batch_size
    check(
        asked.epochs * per_epoch >= done,
        f"config.epochs: {directory} has done {done} steps, which is more than {asked.epochs} epochs of {per_epoch}.",
    )


def _follows_length(config: ConfigDict, store: Store) -> str | None:
    """Return the part of the training that depends on its length, in words; None if no part does."""
    if "epochs" in inspect.signature(SCHEDULES.factory(config.schedule.name)).parameters:
        return f"the schedule {config.schedule.name!r} spreads the learning rate over the whole length"
    modalities = {name: view.modality for name, view in config.views.items()}
    parts = parts_of_views(config.views)
    objective = build_objective(config.objective, modalities, parts=parts, schema=store.schema)
    if objective.reads["teacher"] and config.target.decay < 1:
        return "the target network's decay rises to 1 over the whole length"
    return None
