"""Loading a config file by name or path, and applying overrides `--config.key=value`."""

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.config.data import Data
from mmcl_jax.config.experiment import INNER_PARTS, PARTS
from mmcl_jax.config.families import family, is_family
from mmcl_jax.config.file import get_config_of, naming
from mmcl_jax.config.length import shorten_warmup
from mmcl_jax.config.own_data import OwnData
from mmcl_jax.config.values import check_part, check_value, literal
from mmcl_jax.config.whole import OWN, check_whole
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.text import nearest
from mmcl_jax.training.runs.renamed import check_key


def shipped() -> dict[str, Path]:
    """Return the path of every experiment that ships with the package, by name."""
    package = Path(str(files("mmcl_jax")))
    folder = package / "configs" if (package / "configs").is_dir() else package.parent / "configs"
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.py")):
        name = str(path.relative_to(folder).with_suffix(""))
        names = [str(Path(name).with_name(one)) for one in family(path).names] if is_family(path) else [name]
        found |= dict.fromkeys(names, path)
    return found


def experiments() -> list[str]:
    """Return the names of all shipped experiments, as `load` takes them: `NAME`, or `NAME:ARGUMENT`."""
    names = []
    for name, path in shipped().items():
        arguments = _arguments(_get_config(name, path))
        names += [f"{name}:{argument}" for argument in arguments] or [name]
    return names


def load(
    name: str,
    overrides: Sequence[str] = (),
    *,
    data: Data | None = None,
    log: Callable[[str], object] = lambda line: None,
) -> ConfigDict:
    """Return the config called `name` with the overrides applied.

    Args:
      name: name of a shipped experiment, or path of a file with `get_config()`; after a colon, the argument of
        `get_config`, if it takes one ("mmcl/byol:cardiac"). A config file is a program: load only files you trust.
      overrides: texts `key.path=value`; a value is read as a Python literal, or else as text. An override that reduces
        `epochs` shortens the warm-up in proportion, unless another override sets the warm-up. Overrides of `own.KEY`
        change the description that an `:own` config is chosen from.
      data: the argument itself, in place of its name. For ":own", the description of the store and the devices; by
        default, it describes the store in the override `data` and the devices that JAX sees.
      log: called with a line when a warm-up is shortened.

    Raises:
      UserError: the config does not exist, it does not take the argument, or an override names no key; ":own" has no
        store, or has a store without columns for a method with a table.
    """
    paths, overrides = shipped(), list(overrides)
    stem, _, argument = name.partition(":")
    stem = _meant(stem, paths, log)
    path = paths.get(stem, Path(stem))
    if not path.is_file():
        known = f"neither a file nor one of the shipped experiments ({_by_folder(paths)})"
        raise UserError(f"There is no config {stem!r}{nearest(stem, paths)}: {known}.")
    with naming(path, shipped=stem in paths):
        get_config = _get_config(stem, path)
        choices = _arguments(get_config)
        if argument:
            check_name(argument, choices, f"The config {stem!r} takes no argument", "it takes")
        if argument == OWN and OwnData in _annotated(get_config):
            data = _own_data(name, overrides, data)
        elif argument and data is not None:
            raise ValueError(f"the name {name!r} has the data, and the argument `data` has them too; give one of them")
        value = data or argument
        config = get_config(value) if value else get_config()
        check_whole(config)
    config.name = config.name or Path(stem).stem
    if isinstance(data, OwnData):
        config.own = data.to_config()
        tables = argument == OWN and "table" in config.encoders
        check(
            data.columns > 0 or not tables,
            f"{name}: the store has no columns to make a table of; mmcl/simclr:own learns from images alone.",
        )
    apply(config, overrides, log=log)
    return config


def _by_folder(names: Iterable[str]) -> str:
    """Return names in a short form, such as "tip/{scratch, tip}, simclr"."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, own = name.rpartition("/")
        folders.setdefault(folder, []).append(own)
    alone = folders.pop("", [])
    return ", ".join([*(f"{folder}/{{{', '.join(own)}}}" for folder, own in folders.items()), *alone])


def apply(config: ConfigDict, overrides: Sequence[str], *, log: Callable[[str], object] = lambda line: None) -> None:
    """Apply overrides `key.path=value` to a config, in place; see `load`.

    Raises:
      UserError: an override names no key, or has no value.
    """
    check_whole(config)
    epochs = config.epochs
    for override in overrides:
        key, separator, text = override.partition("=")
        check(separator == "=", f"config.{override}: this override has no value; write --config.{override}=VALUE.")
        _assign(config, key, text)
    shortened = shorten_warmup(config, epochs, overrides)
    if shortened is not None:
        log(shortened)


def alias(name: str) -> Callable[[], ConfigDict]:
    """Return a `get_config` that loads the config called `name`, to give an experiment a second name.

    The file of the second name has the line `get_config = alias("mmcl/mmcl:digits")`.
    """

    def get_config() -> ConfigDict:
        """Return the experiment."""
        config = load(name)
        config.name = ""
        return config

    return get_config


def _get_config(name: str, path: Path) -> Callable[..., Any]:
    """Return the `get_config` of an experiment, whose file may stand for others, too."""
    return family(path).of(Path(name).name) if is_family(path) else get_config_of(path)


def _meant(name: str, paths: Mapping[str, Path], log: Callable[[str], object]) -> str:
    """Return the name of the experiment that a name means, such as "taxonomy/CR-XX" by "taxonomy/xx-cr".

    Raises:
      UserError: the name is that of no experiment, but written like those of a family.
    """
    if name in paths or Path(name).is_file():
        return name
    folder = Path(name).parent
    for path in {path for known, path in paths.items() if Path(known).parent == folder and is_family(path)}:
        meant = family(path).name_of(Path(name).name)
        if meant is not None:
            written = str(folder / meant)
            log(f"{name} is {written}")
            return written
    return name


def _annotated(get_config: Callable[..., ConfigDict]) -> tuple[Any, ...]:
    """Return the literals and `OwnData` in the annotation of `get_config`'s parameter, () without a parameter."""
    parameters = list(inspect.signature(get_config).parameters.values())
    options = typing.get_args(parameters[0].annotation) if parameters else ()
    return tuple(value for option in options for value in typing.get_args(option) or (option,))


def _arguments(get_config: Callable[..., ConfigDict]) -> tuple[str, ...]:
    """Return the names that may follow the colon in a config's name; `OwnData` has the name "own"."""
    return tuple(OWN if value is OwnData else value for value in _annotated(get_config))


def _own_data(name: str, overrides: Sequence[str], data: Data | None) -> OwnData:
    """Return the description that an `:own` config is chosen from: `data`, or that of the store, with overrides."""
    if not isinstance(data, OwnData):
        stores = [text for key, _, text in (override.partition("=") for override in overrides) if key == "data"]
        check(bool(stores), f"config.data: {name} is chosen for your store; give it with --config.data=stores/NAME.")
        data = OwnData.of(Store.open(stores[-1]))
    described = ConfigDict({OWN: data.to_config()})
    for override in overrides:
        key, _, text = override.partition("=")
        if key.startswith(f"{OWN}."):
            _assign(described, key, text)
    return OwnData(**described[OWN])


def _assign(config: ConfigDict, key: str, text: str) -> None:
    check_key(key)
    parts = _parts(config, key)
    for depth, part in enumerate(parts):
        check_part(part, ".".join(["config", *parts[:depth]]))
    parent = config
    for depth, part in enumerate(parts[:-1]):
        parent = _child(parent, part, parts[:depth])
    last = parts[-1]
    current: Any = None
    if parts[0] in PARTS and len(parts) == 3 and last in PARTS[parts[0]].extra:
        current = 0 if PARTS[parts[0]].extra[last] is int else ""  # a number or a text that the config may lack
    elif parts[:-1] != ["rates"]:  # the keys of `rates` are arbitrary patterns
        current = _child(parent, last, parts[:-1])
    check(
        isinstance(parent, ConfigDict) and not _is_group(current),
        f"config.{key}: this is a group of keys; set a key in it, as in --config.{key}.KEY=VALUE.",
    )
    value = text if isinstance(current, str) else literal(text)
    check_value(value, f"config.{key}")
    with parent.ignore_type():
        parent[last] = value
    if last == "name" and len(parts) > 1:
        registry = INNER_PARTS[parts[2]] if len(parts) > 3 and parts[2] in INNER_PARTS else PARTS[parts[0]]
        registry.factory(value, f"config.{key}")
        completed = registry.complete(parent)
        for option in list(parent):
            del parent[option]
        parent.update(completed)


def _parts(config: ConfigDict, key: str) -> list[str]:
    """Return the names on the path to a key; names of projectors may have dots, as in `projectors.image.local.out`."""
    group, _, rest = key.partition(".")
    if group == "rates" and rest:
        return [group, rest]
    names = config[group] if group in ("projectors", "predictors") and group in config else ()
    name = max((name for name in names if f"{rest}.".startswith(f"{name}.")), key=len, default="")
    return [group, name, *filter(None, rest[len(name) + 1 :].split("."))] if name else key.split(".")


def _child(parent: Any, part: str, path: list[str]) -> Any:
    prefix = ".".join(["config", *path])
    if isinstance(parent, tuple):
        indices = [str(index) for index in range(len(parent))]
        check(part in indices, f"{prefix}.{part}: {prefix} has entries 0 to {len(parent) - 1}.")
        return parent[int(part)]
    if not isinstance(parent, ConfigDict):
        raise UserError(f"{prefix}.{part}: {prefix} has no keys below it.")
    if part not in parent:
        keys = sorted([*parent, *(PARTS[path[0]].extra if len(path) == 2 and path[0] in PARTS else ())])
        raise UserError(f"{prefix}.{part}: there is no such key{nearest(part, keys)}; the keys are {', '.join(keys)}.")
    return parent[part]


def _is_group(value: Any) -> bool:
    return isinstance(value, ConfigDict) or (isinstance(value, tuple) and any(isinstance(v, ConfigDict) for v in value))
