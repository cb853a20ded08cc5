"""The config of every pretraining of a table, and the checks that run before anything is trained."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.config import OwnData, load
from mmcl_jax.data.inputs import Inputs, with_columns
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.selection import select_columns
from mmcl_jax.encoders import asked_of_tables
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.heads.batches import Order
from mmcl_jax.evaluation.heads.encoded import augmentation_of
from mmcl_jax.evaluation.protocols.boosting import check_tabular
from mmcl_jax.evaluation.protocols.tuning import Tuning
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.missingness import Hiding, Missingness, check_missing, tables_of
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.evaluation.sources.remarks import remarks_on
from mmcl_jax.reproduce.outcome import metric_of
from mmcl_jax.reproduce.plan import Evaluation, Plan
from mmcl_jax.reproduce.spec import TableRow
from mmcl_jax.training.build import build_experiment, fit_inputs
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.validate import check_config
from mmcl_jax.views import asked_of_volumes

_FINETUNE_BATCH = 512  # rows
_RESERVED = {
    "data": "--data sets it",
    "seed": "the seeds are 0 to --seeds - 1",
    "fold": "--folds sets it",
    "name": "it names the rows of the table",
}


def check_overrides(rows: Sequence[TableRow], overrides: Sequence[str], epochs: int | None) -> None:
    """Raise `UserError` if an override is of a key that the table sets itself."""
    reserved = dict(_RESERVED)
    if epochs is not None:
        reserved["epochs"] = "--epochs sets it"
    for row in rows:
        reserved.update({text.partition("=")[0]: f"the row {row.key} of the table sets it" for text in row.overrides})
    for override in overrides:
        key = override.partition("=")[0]
        check(key not in reserved, f"--config.{key}: this key cannot be overridden, since {reserved.get(key)}.")


def configure(
    rows: Sequence[TableRow],
    *,
    variant: str,
    store: Store,
    epochs: int | None,
    overrides: Sequence[str],
    described: OwnData | None = None,
) -> tuple[dict[str, ConfigDict], list[str]]:
    """Return `{row key: config}` without the seed, and a line on every override that only some of the rows take.

    An override is set in every config that has its key: a method that pretrains on images alone has no table encoder.

    Args:
      rows: with a config.
      variant: of the configs, such as "digits"; "own" chooses them from the store and the devices.
      store: to train on.
      epochs: instead of those of the config; the warm-up stays the same share of them.
      overrides: texts `key.path=value`.
      described: of the variant "own", the description of the data that earlier runs of the table were started with.

    Raises:
      UserError: an override names a key that no row has, has a bad value, or is of a key that the table sets itself.
    """
    check_overrides(rows, overrides, epochs)
    data = f"data={store.directory.absolute()}"

    def load_config(name: str, texts: Sequence[str]) -> ConfigDict:
        return load(f"{name}:{variant}", [data, *texts], data=described)

    configs, taken_by = {}, dict[str, list[str]]()
    for row in rows:
        load_with = functools.partial(load_config, row.config)
        own = [*_length(load_with([]), epochs), *row.overrides]
        taken = _applicable(load_with, own, overrides)
        configs[row.key] = load_with(own + taken)
        for override in taken:
            taken_by.setdefault(override, []).append(row.key)
    notes = []
    for override in overrides:
        if override not in taken_by:
            # Loading names the nearest key if the key is misspelt.
            load_config(rows[0].config, [*overrides[: list(overrides).index(override)], override])
            raise UserError(f"--config.{override}: no method of this table has this key.")
        if len(taken_by[override]) < len(rows):
            notes.append(f"--config.{override} applies to {', '.join(taken_by[override])}; the others have no such key")
    return configs, notes


def check_configs(configs: Mapping[str, ConfigDict], store: Store) -> None:
    """Build every experiment once, so that a bad config of a late row fails before hours of training.

    Raises:
      UserError: naming the row and the config key that is wrong.
    """
    fitted: dict[str, Inputs] = {}  # shared by all rows that have the same inputs
    for key, config in configs.items():
        try:
            check_config(config)
            asked = asked_of_tables(config), asked_of_volumes(config.views)
            inputs = repr([to_plain(config.inputs), *asked, config.cohort, config.fold])
            if inputs not in fitted:
                fitted[inputs] = fit_inputs(config, store)
            build_experiment(config, store, inputs=fitted[inputs])
        except UserError as error:
            raise UserError(f"{key}: {error}") from error


def check_evaluations(plan: Plan, configs: Mapping[str, ConfigDict]) -> list[str]:
    """Check that every evaluation of a plan is possible with its pretraining.

    Args:
      plan: of the table.
      configs: of the pretrainings, by row.

    Returns:
      Remarks on the scores, such as on classes that a split lacks.

    Raises:
      UserError: naming the label, the subset, the row or the config key that makes an evaluation impossible.
    """
    labelled: dict[tuple[str, str, int | None], LabelledStore] = {}
    labels = [column for column in plan.table.columns if not column.analysis]
    for column, fold in itertools.product(labels, plan.fold_numbers):
        of = column.store, plan.settings.label_of(column), fold
        labelled[of] = labelled.get(of) or plan.labelled(column, fold)
    for data in labelled.values():
        check(
            not _one_class(data),
            f"All test rows of {data.store.directory} have the same class of {data.task.label!r}, so there is no "
            "AUROC; predict another --label, or prepare the store again with other splits.",
        )
    rates, epochs = plan.settings.learning_rates, plan.settings.max_epochs
    check(rates is None or (len(rates) > 0 and min(rates) > 0), "--learning-rates: give at least one, all above 0.")
    check(epochs is None or epochs > 0, f"--max-epochs: must be positive, not {epochs}.")
    checked = set()
    for evaluation in plan.evaluations:
        row, column, fold = evaluation.training.row.key, evaluation.column, evaluation.training.fold
        if column.analysis:
            _check_input(row, column.input, configs[row])
            continue
        of = column.store, plan.settings.label_of(column), fold
        key = row, evaluation.protocol, evaluation.input, str(evaluation.budget), column.hidden, of
        if key not in checked:
            checked.add(key)
            _check_evaluation(evaluation, labelled[of], configs[row])
    budgets = list(dict.fromkeys(evaluation.budget for evaluation in plan.evaluations))
    return list(dict.fromkeys(line for data in labelled.values() for line in remarks_on(data, budgets)))


def _one_class(data: LabelledStore) -> bool:
    """Return whether no label of a store has test rows of both of its classes, as an AUROC needs."""
    if metric_of(data) not in ("auroc", "auroc_macro"):
        return False
    targets = data.targets["test"].reshape(len(data.targets["test"]), -1)
    return all(len(np.unique(values[~np.isnan(values)])) < 2 for values in targets.T)


def _check_evaluation(evaluation: Evaluation, data: LabelledStore, config: ConfigDict) -> None:
    row, modalities = evaluation.training.row.key, modalities_of(evaluation.input)
    rows = data.draws(evaluation.budget, seed=0, count=1)
    _check_input(row, evaluation.input, config)
    label = data.store.schema.label
    leaky = (
        any(options.label_as_feature for options in config.inputs.values())
        and label is not None
        and label.name == data.task.label
    )
    check(
        "table" not in modalities or not leaky,
        f"{row}: label_as_feature makes {data.task.label!r} a column of the table, so it cannot be predicted from the "
        "table; leave label_as_feature out, or predict another --label.",
    )
    by, rate = evaluation.column.hidden
    if rate:
        check_missing(Missingness(rate, by), Hiding(data, _read(config, data.store)), tables_of(data.store))
        for name, options in config.inputs.items():
            refuses = data.store.schema.entries[options.of or name].kind == "table" and options.missing == "refuse"
            check(
                not refuses,
                f"{row}: the table hides cells, which config.inputs.{name}.missing='refuse' does not read; leave that "
                "override out.",
            )
    if evaluation.row.rival:
        check_tabular(evaluation.protocol, data.task, data.store)
    if evaluation.protocol != "finetune":
        return
    tuning = evaluation.column.options.get("tuning", Tuning())
    batch, group = tuning.batch_size or _FINETUNE_BATCH, config.batch_norm.group_size
    try:
        if "image" in modalities and tuning.augment == "run":
            augmentation_of(config, probability=0.8)
        Order.of(rows.shape[1], batch_size=batch, group_size=group)
    except UserError as error:
        raise UserError(f"{row}: {error}") from error


def _check_input(row: str, input: str, config: ConfigDict) -> None:
    for modality in modalities_of(input):
        check(
            modality in config.encoders,
            f"{row}: the table evaluates {input}, but the config has encoders of {', '.join(config.encoders)} only.",
        )


def _read(config: ConfigDict, store: Store) -> dict[str, set[str]]:
    """Return the names of the columns that an experiment reads, by table."""
    names: dict[str, set[str]] = {}
    for name, options in config.inputs.items():
        of = options.of or name
        if store.schema.entries[of].kind == "table":
            columns = select_columns(with_columns(store.schema, of), options.columns).columns
            names.setdefault(of, set()).update(column.name for column in columns)
    return names


def _length(config: ConfigDict, epochs: int | None) -> list[str]:
    if epochs is None:
        return []
    lines = [f"epochs={epochs}"]
    if "warmup_epochs" in config.schedule:
        lines.append(f"schedule.warmup_epochs={round(config.schedule.warmup_epochs * epochs / config.epochs)}")
    return lines


def _applicable(load_with: Callable[[list[str]], ConfigDict], own: list[str], overrides: Sequence[str]) -> list[str]:
    """Return the overrides whose key the config has, in order: an earlier one can create the key of a later one."""
    taken: list[str] = []
    for override in overrides:
        if _has(load_with(own + taken), override.partition("=")[0].split(".")):
            taken.append(override)
    return taken


def _has(config: object, path: list[str]) -> bool:
    if not path:
        return True
    if isinstance(config, tuple):
        return path[0].isdigit() and int(path[0]) < len(config) and _has(config[int(path[0])], path[1:])
    return isinstance(config, ConfigDict) and path[0] in config and _has(config[path[0]], path[1:])
