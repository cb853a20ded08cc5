"""The section of configs: what the runs changed in the shipped experiment, and where they differ."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.config import OwnData, experiments, load
from mmcl_jax.page.html import Child, Html, element, folded, name, section, table
from mmcl_jax.page.wording import clipped, counted
from mmcl_jax.report.subject import Group, Subject, paragraph
from mmcl_jax.training.runs.plain import flattened, to_plain

_ABSENT = "–"


def configs(subjects: Sequence[Subject], groups: Sequence[Group]) -> Html:
    """Return the section."""
    parts: list[Child] = []
    if len(subjects) > 1:
        parts.append(_between(groups))
        listed = [(name(s.name), str(s.run.config.seed), _fold(s), name(s.run.directory, 100)) for s in subjects]
        parts.append(table("Runs", ["Run", "Seed", "Fold", "Folder"], listed, captioned=True))
    parts += [_against_shipped(group) for group in groups]
    for group in groups:
        values = _flat(group.first.run.config)
        rows = [(name(key), _text(value)) for key, value in sorted(values.items())]
        parts.append(folded(f"All {len(rows)} keys of {clipped(group.name)}", table("Config", ["Key", "Value"], rows)))
    return section("config", "Config", *parts)


@dataclasses.dataclass(frozen=True)
class Shipped:
    """The shipped experiment that a config is closest to: its name, its values, and the keys that differ."""

    name: str
    defaults: Mapping[str, Any]
    changed: tuple[str, ...]


def closest_shipped(config: ConfigDict) -> Shipped | None:
    """Return the shipped experiment that a config comes from, such as "mmcl/mmcl:dvm"; None without one of its name.

    A run keeps its resolved config, not the name that it was loaded by: among the shipped experiments with the
    config's name it is the experiment with the fewest different keys.
    """
    values, candidates = _flat(config), []
    for candidate in experiments():
        stem, _, argument = candidate.partition(":")
        if Path(stem).name != config.name or (argument == "own") != bool(config.get("own")):
            continue
        data = OwnData(**config.own) if argument == "own" else None
        defaults = _flat(load(candidate, data=data))
        changed = sorted(
            key for key in values.keys() | defaults.keys() if values.get(key, _ABSENT) != defaults.get(key, _ABSENT)
        )
        candidates.append(Shipped(candidate, defaults, tuple(changed)))
    # Of two names of one experiment the longer is that of its file; the shorter is an alias.
    return min(candidates, key=lambda one: (len(one.changed), -len(one.name)), default=None)


def _against_shipped(group: Group) -> Html:
    config = group.first.run.config
    shipped = closest_shipped(config)
    title = clipped(group.name)
    if shipped is None:
        words = f"{title} is no experiment of the package, so it has no defaults to compare with."
        return paragraph(words, kind="calm")
    if not shipped.changed:
        code = element("code", shipped.name)
        return element("p", title, " is the shipped experiment ", code, ", unchanged.", class_="lead")
    values, defaults = _flat(config), shipped.defaults
    rows = [(name(key), _text(values.get(key, _ABSENT)), _text(defaults.get(key, _ABSENT))) for key in shipped.changed]
    caption = f"{title}: {counted(len(rows), 'key')} changed from {shipped.name}"
    return table(caption, ["Key", "This run", "Default"], rows, captioned=True)


def _between(groups: Sequence[Group]) -> Html:
    if len(groups) == 1:
        return element("p", f"All runs have the same config; they differ by {groups[0].repeats}.", class_="lead")
    flat = [_flat(group.first.run.config) for group in groups]
    keys = sorted(set[str]().union(*flat))
    rows = [
        (name(key), *(_text(values.get(key, _ABSENT)) for values in flat))
        for key in keys
        if len({repr(values.get(key, _ABSENT)) for values in flat}) > 1
    ]
    caption = f"{counted(len(rows), 'key')} in which the experiments differ"
    return table(caption, ["Key", *(clipped(group.name, 40) for group in groups)], rows, captioned=True)


def _flat(config: ConfigDict) -> dict[str, Any]:
    """Return the keys that make the experiment, without its name, its data and what describes these."""
    flat = flattened(to_plain(config))
    return {
        key: value for key, value in flat.items() if key not in ("data", "name", "own") and not key.startswith("own.")
    }


def _fold(subject: Subject) -> str:
    fold = subject.run.inputs.fold
    return _ABSENT if fold is None else str(fold)


def _text(value: Any) -> Html:
    return name(value, 120)
