"""Named factories whose keyword defaults are the config.

A factory's keyword parameters *with* a default are its options: they become config keys, are filled in when a
config is made, and are type-checked when it is built. Parameters *without* a default are given by the program
(shapes, dtypes, random streams), and so are those that the registry names as `given`, whose defaults are for calls
without a config. So a new encoder, view or term is one function and one `register` line, and no table of allowed keys
has to be kept beside it.
"""

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.errors import UserError

Factory = Callable[..., Any]


class Registry:
    """Factories of one kind (`what`), by name; parameters called as in `given` are no options."""

    def __init__(self, what: str, *, given: tuple[str, ...] = ()) -> None:
        self.what, self.given = what, given
        self._factories: dict[str, Factory] = {}

    def register(self, name: str) -> Callable[[Factory], Factory]:
        """Make the decorated factory available in configs as `name`."""

        def add(factory: Factory) -> Factory:
            if name in self._factories:
                raise ValueError(f"{self.what} {name!r} is registered twice")
            self._factories[name] = factory
            return factory

        return add

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._factories)

    def factory(self, name: str, path: str = "") -> Factory:
        """Return the factory called `name`. Raises `UserError` naming `path` and the choices."""
        if name not in self._factories:
            raise UserError(
                f"{path or self.what}: there is no {self.what} {name!r}; choose from {_list(self.names())}."
            )
        return self._factories[name]

    def options(self, name: str, path: str = "") -> dict[str, inspect.Parameter]:
        """Return the options of `name`: its keyword-only parameters that have a default."""
        parameters = inspect.signature(self.factory(name, path)).parameters.values()
        return {
            p.name: p
            for p in parameters
            if p.kind is p.KEYWORD_ONLY and p.default is not p.empty and p.name not in self.given
        }

    def spec(self, name: str, /, **options: Any) -> ConfigDict:
        """Return a complete config entry: `name` and every option, defaults filled in."""
        known = self.options(name)
        spec = {key: options.get(key, parameter.default) for key, parameter in known.items()}
        extra = sorted(set(options) - set(known))
        if extra:
            raise UserError(f"{self.what} {name!r} has no option {extra[0]!r}; it has {_list(known)}.")
        return ConfigDict({"name": name, **spec}, convert_dict=False)

    def complete(self, spec: ConfigDict) -> ConfigDict:
        """Complete `spec` after its name changed: options both names know keep their value, others get defaults."""
        known = self.options(spec.name)
        return self.spec(spec.name, **{k: v for k, v in spec.items() if k in known})

    def build(self, spec: ConfigDict, path: str, /, **given: Any) -> Any:
        """Call the factory with the options of `spec` and the arguments that the program gives.

        Raises `UserError` naming `path` and the key when an option is unknown, ill-typed or out of range (a factory
        says the last with `ValueError`).
        """
        factory = self.factory(spec.name, f"{path}.name")
        known = self.options(spec.name)
        hints = typing.get_type_hints(factory)
        for key, value in spec.items():
            if key == "name":
                continue
            if key not in known:
                raise UserError(f"{path}.{key}: {self.what} {spec.name!r} has no such option; it has {_list(known)}.")
            if not _fits(value, hints[key]):
                raise UserError(f"{path}.{key}: {value!r} is not of type {_type_name(hints[key])}.")
        accepted = inspect.signature(factory).parameters
        given = {key: value for key, value in given.items() if key in accepted}
        try:
            return factory(**given, **{k: v for k, v in spec.items() if k != "name"})
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error


def _fits(value: Any, hint: Any) -> bool:
    """Return whether `value` is of type `hint`; an int is a float, a bool is not an int."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, h) for h in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is Ellipsis:
            return all(_fits(v, arguments[0]) for v in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def _list(names: Any) -> str:
    return ", ".join(names) or "none"
