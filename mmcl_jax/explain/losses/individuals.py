"""Single people: the features that raise, and those that lower, the loss of a person the most."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib import rc_context
from matplotlib.figure import Figure

from mmcl_jax.explain.base import Picture, Result, Subject
from mmcl_jax.explain.result import ATTRIBUTIONS
from mmcl_jax.page.wording import clipped

EACH = 15  # features of either sign, as in the paper's figures of single people
_SHOWN = 3  # people, where none is named
_RAISES, _LOWERS = "#D55E00", "#0072B2"


def with_individuals(subject: Subject, result: Result, folder: Path) -> Result:
    """Return the result with the people whose keys the options name, or the first explained rows, and their pictures.

    The attributions are read from the folder. A text has none of people, since its attributions are of positions.
    """
    if subject.spec.kind == "text" or subject.columns is None:
        return result
    names = [column["name"] for column in result.columns]
    asked = subject.options.individuals
    having = [key for key, has in zip(subject.keys, subject.present, strict=True) if has]
    frame = pl.read_parquet(folder / ATTRIBUTIONS, columns=["key", "attributions"])
    people, pictures = [], list[Picture]()
    for number, key in enumerate(dict.fromkeys(asked or having[:_SHOWN]), 1):
        values = frame.filter(pl.col("key") == key)["attributions"].drop_nulls()
        person = person_of(key, names, values[0].to_numpy() if len(values) else None)
        people.append(person)
        if not person["absent"]:
            pictures.append(draw_person(folder / f"individual-{number}.png", person, result.of))
    return dataclasses.replace(
        result, details={**result.details, "individuals": people}, pictures=[*result.pictures, *pictures]
    )


def person_of(key: str, names: Sequence[str], attributions: np.ndarray | None) -> dict[str, Any]:
    """Return what `explanation.json` has of a person: the features with the highest and the lowest attributions.

    Only positive attributions are "highest" and only negative ones "lowest", at most 15 each, the largest first.

    Example:
      >>> person_of("p1", ("a", "b", "c"), np.array([0.5, -1.0, 0.25]))["highest"]
      [{'name': 'a', 'attribution': 0.5}, {'name': 'c', 'attribution': 0.25}]
    """
    if attributions is None:
        return {"key": key, "absent": True, "highest": [], "lowest": []}
    order = np.argsort(-attributions, kind="stable")
    entries = [{"name": names[index], "attribution": float(attributions[index])} for index in order]
    highest = [entry for entry in entries[:EACH] if entry["attribution"] > 0]
    lowest = [entry for entry in entries[: -EACH - 1 : -1] if entry["attribution"] < 0]
    return {"key": key, "absent": False, "highest": highest, "lowest": lowest}


def draw_person(file: Path, person: Mapping[str, Any], of: str) -> Picture:
    """Draw a bar per feature of a person, from the highest to the lowest; return the picture."""
    entries = [*person["highest"], *person["lowest"][::-1]]
    values = [entry["attribution"] for entry in entries]
    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in letters that the font lacks shows boxes
        figure = Figure(figsize=(7.0, 1.2 + 0.22 * max(len(entries), 1)), layout="constrained")
        axes = figure.subplots()
        positions = range(len(entries), 0, -1)
        axes.barh(positions, values, color=[_RAISES if value > 0 else _LOWERS for value in values], height=0.75)
        axes.set_yticks(positions, [clipped(entry["name"], 40) for entry in entries], fontsize=8)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("attribution; a positive one raises the loss")
        figure.suptitle(f"{clipped(person['key'], 40)}: {of}", fontsize=10)
        figure.savefig(file, dpi=150)
    parts = [
        f"{'raised' if sign > 0 else 'lowered'} most by {', '.join(clipped(e['name'], 40) for e in some[:5])}"
        for sign, some in ((1, person["highest"]), (-1, person["lowest"]))
        if some
    ]
    words = f"Row {clipped(person['key'], 40)}: {of} is {' and '.join(parts) or 'changed by nothing'}."
    return Picture(file.name, words)
