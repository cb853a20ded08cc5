"""What must hold so that what is pretrained can be evaluated: everything is said before anything is pretrained."""

from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.heads.batches import Order
from mmcl_jax.evaluation.heads.encoded import augmentation_of
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.evaluation.sources.remarks import remarks_on
from mmcl_jax.reproduce.outcome import metric_of
from mmcl_jax.reproduce.plan import Evaluation, Plan

_BATCH = 512  # rows of a batch of fine-tuning


def check_evaluations(plan: Plan, configs: Mapping[str, ConfigDict]) -> list[str]:
    """Check that every evaluation of a plan can be made of the pretrainings it is of.

    Args:
      plan: of the table.
      configs: of its pretrainings, by row.

    Returns:
      What to know about the scores: classes that a split lacks.

    Raises:
      UserError: naming the label, the subset, the row or the config key that does not go with an evaluation.
    """
    data = LabelledStore.of(plan.store, plan.how.label, "class")
    where = f"The split 'test' of {plan.store.directory}"
    alone = metric_of(data) == "auroc" and len(np.unique(data.targets["test"])) < 2
    remedy = "predict another --label, or prepare the store again with other splits"
    check(not alone, f"{where} has rows of one class of {plan.how.label!r} alone, which have no AUROC; {remedy}.")
    rates, epochs = plan.how.learning_rates, plan.how.max_epochs
    check(rates is None or (len(rates) > 0 and min(rates) > 0), "--learning-rates: give at least one, all above 0.")
    check(epochs is None or epochs > 0, f"--max-epochs: must be positive, not {epochs}.")
    seen = set()
    for one in plan.evaluations:
        key = one.training.row.key, one.column.protocol, one.column.input, str(one.budget)
        if key not in seen:
            seen.add(key)
            _check(one, data, configs[one.training.row.key])
    return remarks_on(data, list(dict.fromkeys(one.budget for one in plan.evaluations)))


def _check(one: Evaluation, data: LabelledStore, config: ConfigDict) -> None:
    row, given = one.training.row.key, one.column.input
    rows = data.draws(one.budget, seed=0, count=1)
    for modality in modalities_of(given):
        known = ", ".join(config.encoders)
        check(modality in config.encoders, f"{row}: {given} is evaluated, and its config has no encoder but {known}.")
    label = data.store.schema.label
    taught = (
        any(chosen.label_as_feature for chosen in config.inputs.values())
        and label is not None
        and label.name == data.task.label
    )
    check(
        "table" not in modalities_of(given) or not taught,
        f"{row}: the table is evaluated by {data.task.label!r}, which label_as_feature makes a column of it; "
        "leave that out, or predict another --label.",
    )
    if one.column.protocol != "finetune":
        return
    try:
        if "image" in modalities_of(given):
            augmentation_of(config, probability=0.8)
        Order.of(rows.shape[1], batch_size=_BATCH, group_size=config.batch_norm.group_size)
    except UserError as error:
        raise UserError(f"{row}: {error}") from error
