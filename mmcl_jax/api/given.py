"""What callers may give where the command line takes texts: paths, names, overrides and opened objects."""

import inspect
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from mmcl_jax.bucket.address import Address, is_address
from mmcl_jax.errors import check
from mmcl_jax.targets import named
from mmcl_jax.text import called, listed, redacted

AnyPath = str | PathLike[str]


def path_of(given: Any, option: str) -> Path:
    """Return a path, or the folder of an opened store or run.

    Args:
      given: a text, a path, or an object with a `directory`.
      option: what errors call it.

    Raises:
      UserError: it is none of these, or can be no path; or it is an address in a bucket, which the function of the
        command does not take here.
    """
    given = getattr(given, "directory", given)
    check(isinstance(given, str | PathLike), f"{option} must be a path, not {type(given).__name__}.")
    if is_address(given):
        address = Address.parse(given, f"{option}: ")
        check(False, f"{option}: {address} is in a bucket, and this needs a path on this machine; copy it here first.")
    return named(given, option)


def several(given: Any) -> tuple[Any, ...]:
    """Return one value, several of them, or None as a tuple; a text is one value.

    Example:
      >>> several("probe"), several(["probe", "knn"]), several(None), several(5)
      (('probe',), ('probe', 'knn'), (), (5,))
    """
    if given is None:
        return ()
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        return (given,)
    return tuple(given)


def overriding(given: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Return overrides as the texts `key=value` of the command line.

    Args:
      given: values by key, where the keys of groups may be joined by dots or be nested; or such texts already.

    Example:
      >>> overriding({"batch_size": 64, "schedule": {"learning_rate": 1e-3}, "encoders.image.name": "cnn"})
      ['batch_size=64', 'schedule.learning_rate=0.001', 'encoders.image.name=cnn']
    """
    if not isinstance(given, Mapping):
        check(not isinstance(given, str), f"overrides: give a dict or a list of texts, not the text {given!r}.")
        return list(given)
    texts = []
    for key, value in given.items():
        if isinstance(value, Mapping):
            texts += [f"{key}.{text}" for text in overriding(value)]
        else:
            texts.append(f"{key}={value if isinstance(value, str | PathLike) else repr(value)}")
    return texts


def command_of(function: Callable[..., object], given: Mapping[str, Any], *, bare: Collection[str] = ()) -> str:
    """Return the command line that does what a call of a command's function does.

    Args:
      function: of the command.
      given: its arguments by name; those that have their default are left out.
      bare: parameters whose value stands without a name.

    Example:
      >>> command_of(overriding, {"given": ["a b", "c"]})
      "mmcl overriding --given 'a b,c'"
    """
    words = ["mmcl", function.__name__]
    for name, parameter in inspect.signature(function).parameters.items():
        value = given[name]
        if value is False and parameter.default is None:  # of an option that is spelled out to be turned off
            words.append(f"--no-{name.replace('_', '-')}")
            continue
        if value is None or value is False or value == parameter.default:
            continue
        if name == "overrides":
            words += [f"--config.{text}" for text in overriding(value)]
            continue
        texts = [called(getattr(one, "directory", one)) for one in several(value)]
        words += [] if name in bare else [f"--{name.replace('_', '-')}"]
        words += [] if value is True else texts if name in ("run", "results") else [listed(texts, ",")]
    return redacted(shlex.join(words))  # which results, cards and pages record


def copied(config: Any) -> Any:
    """Return a config whose sections are copies; `copy.deepcopy` refuses keys with a dot, such as "image.local"."""
    from ml_collections import ConfigDict  # whose import takes longer than a command that only looks

    if isinstance(config, ConfigDict):
        made = ConfigDict(allow_dotted_keys=True)
        for name, value in config.items():
            made[name] = copied(value)
        return made
    return tuple(map(copied, config)) if isinstance(config, tuple) else config
