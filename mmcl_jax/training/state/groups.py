"""Groups of parameters by path patterns: frozen parameters, and parameters with their own rate."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

import jax

from mmcl_jax.errors import check

Arrays = dict[str, Any]


class Encoded(Protocol):
    """A model, of which the encoders may have parameters that are not trained (`Encoder.frozen`)."""

    @property
    def encoders(self) -> Mapping[str, Any]: ...


def frozen_patterns(own: Sequence[str], model: Encoded) -> tuple[str, ...]:
    """Return the patterns of all parameters that are not trained: `config.frozen`, and those of the encoders."""
    of_encoders = (
        f"encoders.{name}.{path}" for name, encoder in sorted(model.encoders.items()) for path in encoder.frozen
    )
    return (*own, *of_encoders)


def split_frozen(params: Arrays, patterns: Sequence[str]) -> tuple[Arrays, Arrays]:
    """Split parameters into those whose paths match no pattern and those whose paths match one, as nested dicts.

    Example:
      >>> split_frozen({"encoders": {"image": {"bias": 1}, "table": {"bias": 2}}}, ["encoders.image.*"])
      ({'encoders': {'table': {'bias': 2}}}, {'encoders': {'image': {'bias': 1}}})
    """
    frozen = {path for pattern in patterns for path in matching(pattern, _leaves(params))}
    return _selected(params, lambda path: path not in frozen), _selected(params, lambda path: path in frozen)


def merged(*trees: Arrays) -> Arrays:
    """Merge nested dicts; where several have the same path, the last one counts."""
    first, *others = trees
    for other in others:
        if other:
            first = first | {
                key: merged(first[key], value) if isinstance(value, dict) and key in first else value
                for key, value in other.items()
            }
    return first


def restricted(tree: Arrays, like: Arrays) -> Arrays:
    """Return the part of a nested dict that has the paths of `like`."""
    return {key: restricted(tree[key], value) if isinstance(value, dict) else tree[key] for key, value in like.items()}


def scaled(updates: Arrays, rates: Mapping[str, float]) -> Arrays:
    """Multiply updates of parameters by the rate of the pattern that their path matches."""
    if not rates:
        return updates
    factor = {path: rate for pattern, rate in rates.items() for path in matching(pattern, _leaves(updates))}
    return jax.tree_util.tree_map_with_path(
        lambda path, update: update * factor[_dotted(path)] if _dotted(path) in factor else update, updates
    )


def check_groups(params: Arrays, frozen: Sequence[str], rates: Mapping[str, float]) -> None:
    """Check that every pattern matches parameters, and that no parameter has two rates.

    Raises:
      UserError: naming the pattern, with the nearest paths.
    """
    paths = _leaves(params)
    for pattern in frozen:
        _check_matches(pattern, paths, "config.frozen")
    trained = _leaves(split_frozen(params, frozen)[0])
    check(bool(trained), "config.frozen: all parameters are frozen; remove a pattern.")
    owner: dict[str, str] = {}
    for pattern in rates:
        _check_matches(pattern, paths, "config.rates")
        check(
            bool(matching(pattern, trained)),
            f"config.rates: all that {pattern!r} matches is frozen; remove it here.",
        )
        for path in matching(pattern, trained):
            other = owner.setdefault(path, pattern)
            check(other == pattern, f"config.rates: {path} matches both {other!r} and {pattern!r}; change one pattern.")


def matching(pattern: str, paths: Iterable[str]) -> list[str]:
    """Return the paths that match a pattern of `*`, `?` and `[...]`, or that lie below a part that matches."""
    return [path for path in paths if fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*")]


def _check_matches(pattern: str, paths: Sequence[str], key: str) -> None:
    if matching(pattern, paths):
        return
    parts = {path.rsplit(".", depth)[0] for path in paths for depth in range(path.count(".") + 1)}
    near = difflib.get_close_matches(pattern.removesuffix(".*"), sorted(parts), n=3, cutoff=0)
    check(False, f"{key}: {pattern!r} matches no parameter; the nearest are {', '.join(near)}.")


def _leaves(tree: Arrays) -> list[str]:
    return [_dotted(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _dotted(path: Sequence[Any]) -> str:
    return ".".join(str(key.key) for key in path)


def _selected(tree: Any, condition: Callable[[str], bool], prefix: str = "") -> Arrays:
    """Return the leaves whose paths meet a condition, without empty subtrees."""
    selected = {}
    for key, value in tree.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict):
            part = _selected(value, condition, path)
            if part:
                selected[key] = part
        elif condition(path):
            selected[key] = value
    return selected
