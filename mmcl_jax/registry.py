"""Named factories whose keyword parameters are config keys.

A factory's keyword parameters *with* a default are its options: they are config keys, a new config has their defaults,
and their types are checked when the part is built. The program passes the parameters *without* a default (shapes,
dtypes, random streams), and those that the registry lists as `arguments`, whose defaults are for calls without a
config. Keys that the registry lists as `extra` may stand beside the options of any part; the program reads these, and a
config has them only where they are set. So a new encoder, view or term is one function and one `register` line, without
a table of its keys.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.errors import UserError
from mmcl_jax.text import brief, nearest

Factory = Callable[..., Any]


class Registry:
    """Factories of one kind (`what`), by name; the program passes the parameters listed in `arguments`.

    `extra` are keys, with their types, that an entry of any part may have and that no factory takes.
    """

    def __init__(self, what: str, *, arguments: tuple[str, ...] = (), extra: Mapping[str, Any] | None = None) -> None:
        self.what, self.arguments, self.extra = what, arguments, dict(extra or {})
        self._factories: dict[str, Factory] = {}

    def register(self, name: str) -> Callable[[Factory], Factory]:
        """Register the decorated factory, so that configs can name it `name`."""

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
        """Return the factory called `name`, or raise a `UserError` that names `path` and the choices."""
        if name not in self._factories:
            raise UserError(
                f"{path or self.what}: there is no {self.what} {brief(name)}{nearest(name, self._factories)}; choose "
                f"from {_list(self.names())}."
            )
        return self._factories[name]

    def options(self, name: str, path: str = "") -> dict[str, inspect.Parameter]:
        """Return the options of `name`: its keyword-only parameters that have a default."""
        parameters = inspect.signature(self.factory(name, path)).parameters.values()
        return {
            p.name: p
            for p in parameters
            if p.kind is p.KEYWORD_ONLY and p.default is not p.empty and p.name not in self.arguments
        }

    def spec(self, name: str, /, **options: Any) -> ConfigDict:
        """Return a complete config entry: `name` and every option, defaults filled in."""
        parameters = self.options(name)
        spec = {key: _own(options.get(key, parameter.default)) for key, parameter in parameters.items()}
        spec |= {key: value for key, value in options.items() if key in self.extra}
        unknown = sorted(set(options) - set(spec))
        if unknown:
            hint = nearest(unknown[0], parameters)
            raise UserError(f"{self.what} {name!r} has no option {unknown[0]!r}{hint}; it has {_list(parameters)}.")
        return ConfigDict({"name": name, **spec}, convert_dict=False)

    def complete(self, spec: ConfigDict) -> ConfigDict:
        """Complete `spec` after a change of its name: options of both parts keep their value, others get defaults."""
        parameters = self.options(spec.name)
        return self.spec(spec.name, **{k: v for k, v in spec.items() if k in parameters or k in self.extra})

    def build(self, spec: ConfigDict, path: str, /, **arguments: Any) -> Any:
        """Call the factory with the options of `spec` and those of the program's `arguments` that it takes.

        Raises:
          UserError: an option is unknown, of a wrong type, or out of range, for which the factory raises `ValueError`;
            the sentence names `path` and the key.
        """
        factory = self.factory(spec.name, f"{path}.name")
        options = self.options(spec.name)
        hints = {**typing.get_type_hints(factory), **self.extra}
        for key, value in spec.items():
            if key == "name":
                continue
            if key not in options and key not in self.extra:
                hint = f"no such option{nearest(key, options)}"
                raise UserError(f"{path}.{key}: {self.what} {spec.name!r} has {hint}; it has {_list(options)}.")
            if not _fits(value, hints[key]):
                raise UserError(f"{path}.{key}: {brief(value)} is not of type {_type_name(hints[key])}.")
        accepted = inspect.signature(factory).parameters
        arguments = {key: value for key, value in arguments.items() if key in accepted}
        try:
            return factory(**arguments, **{k: v for k, v in spec.items() if k != "name" and k not in self.extra})
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error


def _own(value: Any) -> Any:
    """Return a copy of a config entry, such as a part that is the default of an option, and any other value itself."""
    if isinstance(value, tuple):
        return tuple(map(_own, value))
    return value.copy_and_resolve_references() if isinstance(value, ConfigDict) else value


def _fits(value: Any, hint: Any) -> bool:
    """Return whether `value` is of type `hint`; an int is also a float, a bool is no int."""
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
