"""Finding a config file, and applying `--config.key=value` to what it returns."""

import ast
import difflib
import inspect
import runpy
import typing
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.config.experiment import PARTS
from mmcl_jax.config.length import shorten_warmup
from mmcl_jax.errors import UserError, check


def shipped() -> dict[str, Path]:
    """The experiments that come with the package, by name."""
    package = Path(str(files("mmcl_jax")))
    folder = package / "configs" if (package / "configs").is_dir() else package.parent / "configs"
    return {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.rglob("*.py"))}


def experiments() -> list[str]:
    """The names of all shipped experiments, as `load` takes them: `NAME`, or `NAME:ARGUMENT` for each argument."""
    names = []
    for name, path in shipped().items():
        arguments = _arguments(runpy.run_path(str(path))["get_config"])
        names += [f"{name}:{argument}" for argument in arguments] or [name]
    return names


def load(name: str, overrides: Iterable[str] = (), *, say: Callable[[str], object] = lambda line: None) -> ConfigDict:
    """The config called `name` (a shipped experiment, or the path of a file with `get_config()`), overridden.

    Args:
      name: name or path; behind a colon the argument of `get_config`, if it takes one ("mmcl/byol:cardiac"). A config
        file is Python: run only those you trust.
      overrides: texts `key.path=value`; a value is read as a Python literal, or else as text. One that makes `epochs`
        smaller shortens the warm-up in proportion, unless another sets it.
      say: is told when it does.

    Raises:
      UserError: there is no such config, it takes no such argument, or an override names no key.
    """
    known = shipped()
    stem, _, argument = name.partition(":")
    path = known.get(stem, Path(stem))
    check(
        path.is_file(),
        f"There is no config {stem!r}: neither a file nor one of the shipped experiments ({', '.join(known)}).",
    )
    module = runpy.run_path(str(path))
    check("get_config" in module, f"The config {path} has no function get_config().")
    choices = _arguments(module["get_config"])
    check(
        not argument or argument in choices,
        f"The config {stem!r} takes no argument {argument!r}; it takes {', '.join(choices) or 'none'}.",
    )
    config = module["get_config"](*[argument] if argument else [])
    config.name = config.name or path.stem
    overrides, epochs = list(overrides), config.epochs
    for override in overrides:
        key, separator, text = override.partition("=")
        check(separator == "=", f"config.{override}: give it a value, as in --config.{override}=VALUE.")
        _assign(config, key, text)
    shortened = shorten_warmup(config, epochs, overrides)
    if shortened is not None:
        say(shortened)
    return config


def _arguments(get_config: Callable[..., ConfigDict]) -> tuple[str, ...]:
    """What the one parameter of a `get_config` may be, by its annotation; () if there is none."""
    parameters = list(inspect.signature(get_config).parameters.values())
    return typing.get_args(parameters[0].annotation) if parameters else ()


def _assign(config: ConfigDict, key: str, text: str) -> None:
    parts = key.split(".")
    parent = config
    for depth, part in enumerate(parts[:-1]):
        parent = _child(parent, part, parts[:depth])
    last = parts[-1]
    current = _child(parent, last, parts[:-1])
    check(
        isinstance(parent, ConfigDict) and not _is_group(current),
        f"config.{key}: this is a group of keys; set one of them.",
    )
    value = text if isinstance(current, str) else _literal(text)
    with parent.ignore_type():
        parent[last] = value
    if last == "name" and len(parts) > 1:
        registry = PARTS[parts[0]]
        registry.factory(value, f"config.{key}")
        completed = registry.complete(parent)
        for option in list(parent):
            del parent[option]
        parent.update(completed)


def _child(parent: Any, part: str, path: list[str]) -> Any:
    here = ".".join(["config", *path])
    if isinstance(parent, tuple):
        check(part.isdigit() and int(part) < len(parent), f"{here}.{part}: {here} has entries 0 to {len(parent) - 1}.")
        return parent[int(part)]
    if not isinstance(parent, ConfigDict):
        raise UserError(f"{here}.{part}: {here} has no keys below it.")
    if part not in parent:
        near = difflib.get_close_matches(part, list(parent), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(parent))}."
        raise UserError(f"{here}.{part}: there is no such key; {hint}")
    return parent[part]


def _is_group(value: Any) -> bool:
    return isinstance(value, ConfigDict) or (isinstance(value, tuple) and any(isinstance(v, ConfigDict) for v in value))


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
