"""The config of every pretraining of a table: the shipped experiment, the row's own overrides, and the user's."""

import functools
from collections.abc import Callable, Mapping, Sequence

from ml_collections import ConfigDict

from mmcl_jax.config import OwnData, load
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.reproduce.tables.spec import TableRow
from mmcl_jax.training.build import build_experiment, fit_inputs
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.validate import check_config

_OURS = {
    "data": "it is --data",
    "seed": "the seeds are 0 to --seeds - 1",
    "name": "it names the rows of the table",
}


def check_overrides(rows: Sequence[TableRow], overrides: Sequence[str], epochs: int | None) -> None:
    """Raise `UserError` if an override is of a key that the table sets itself."""
    taken = dict(_OURS)
    if epochs is not None:
        taken["epochs"] = "it is --epochs"
    for row in rows:
        taken.update({one.partition("=")[0]: f"it is what the row {row.key} is about" for one in row.overrides})
    for override in overrides:
        key = override.partition("=")[0]
        check(key not in taken, f"--config.{key}: this cannot be set, since {taken.get(key)}.")


def configure(
    rows: Sequence[TableRow],
    *,
    variant: str,
    store: Store,
    epochs: int | None,
    overrides: Sequence[str],
    described: OwnData | None = None,
) -> tuple[dict[str, ConfigDict], list[str]]:
    """Return `{row key: config}` for these rows, without the seed; and a line on every override not all rows take.

    An override is set in every config that has its key: an image-only method has no table encoder to make smaller.

    Args:
      rows: with a config.
      variant: of the configs, such as "digits"; "own" chooses them from the store and the devices.
      store: to train on.
      epochs: instead of the config's own; the warm-up keeps its share.
      overrides: texts `key.path=value`.
      described: of the variant "own", the description that earlier runs of the table were begun with.

    Raises:
      UserError: an override names a key that no row has, a bad value, or a key that the table sets itself.
    """
    check_overrides(rows, overrides, epochs)
    place = f"data={store.directory.absolute()}"

    def loaded(name: str, texts: Sequence[str]) -> ConfigDict:
        return load(f"{name}:{variant}", [place, *texts], data=described)

    configs, used = {}, dict[str, list[str]]()
    for row in rows:
        load_with = functools.partial(loaded, row.config)
        own = [*_length(load_with([]), epochs), *row.overrides]
        taken = _that_apply(load_with, own, overrides)
        configs[row.key] = load_with(own + taken)
        for one in taken:
            used.setdefault(one, []).append(row.key)
    said = []
    for one in overrides:
        if one not in used:
            loaded(rows[0].config, [*overrides[: list(overrides).index(one)], one])
            raise UserError(f"--config.{one}: no method of this table has this key.")
        if len(used[one]) < len(rows):
            said.append(f"--config.{one} applies to {', '.join(used[one])}; the others have no such key")
    return configs, said


def check_configs(configs: Mapping[str, ConfigDict], store: Store) -> None:
    """Build what every config describes, so that a late one cannot end what early ones took hours for.

    Raises:
      UserError: naming the row and the config key that is wrong.
    """
    fitted: dict[str, Inputs] = {}  # once for all rows that have the same inputs
    for key, config in configs.items():
        try:
            check_config(config)
            alike = repr([to_plain(config.inputs), config.cohort, config.fold])
            if alike not in fitted:
                fitted[alike] = fit_inputs(config, store)
            build_experiment(config, store, inputs=fitted[alike])
        except UserError as error:
            raise UserError(f"{key}: {error}") from error


def _length(config: ConfigDict, epochs: int | None) -> list[str]:
    if epochs is None:
        return []
    lines = [f"epochs={epochs}"]
    if "warmup_epochs" in config.schedule:
        lines.append(f"schedule.warmup_epochs={round(config.schedule.warmup_epochs * epochs / config.epochs)}")
    return lines


def _that_apply(load_with: Callable[[list[str]], ConfigDict], own: list[str], overrides: Sequence[str]) -> list[str]:
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
