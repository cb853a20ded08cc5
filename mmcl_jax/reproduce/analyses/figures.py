"""The figures of attributions: the features with the most of a model, and those of a single person with the eye."""

import base64
import dataclasses
from collections.abc import Mapping

import numpy as np

from mmcl_jax.page.charts import bar
from mmcl_jax.page.html import Html, element, name
from mmcl_jax.page.inline import picture
from mmcl_jax.reproduce.outcome import TableOutcome
from mmcl_jax.reproduce.spec import TableColumn, TableRow

TOP = 30  # features, as in figure 3 of ContIG
PLANTED, NOISE = "s1", "s0"  # the colours of features


@dataclasses.dataclass(frozen=True)
class Feature:
    """A feature of a figure: its name, its attribution, and whether it was planted."""

    name: str
    value: float
    planted: bool


def models(outcome: TableOutcome) -> list[tuple[TableRow, TableColumn]]:
    """Return the pretrainings with one genetic modality alone, which figures show, and their columns."""
    return [
        (row, column)
        for row in outcome.plan.rows
        for column in outcome.plan.table.columns
        if row.key == column.input and outcome.details.get((row.key, column.key))
    ]


def top_features(outcome: TableOutcome, row: TableRow, column: TableColumn) -> list[Feature]:
    """Return the features with the largest share of all absolute attributions, the mean over seeds, in percent."""
    of = row.key, column.key
    planted = set(outcome.details[of][0]["planted"])
    shares: dict[str, list[float]] = {}
    for used in outcome.used[of]:
        total = sum(used.values()) or 1.0
        for feature, value in used.items():
            shares.setdefault(feature, []).append(100 * value / total)
    means = {feature: float(np.mean(values)) for feature, values in shares.items()}
    order = sorted(means, key=lambda feature: -means[feature])
    return [Feature(feature, means[feature], feature in planted) for feature in order[:TOP]]


def of_person(details: Mapping[str, object]) -> tuple[str, list[Feature]]:
    """Return the key of the person's row, and the features that raise the loss the most, then those that lower it."""
    person: Mapping[str, list[Mapping[str, object]]] = details["person"]  # type: ignore[assignment]
    planted = set(details["planted"])  # type: ignore[call-overload]
    entries = [*person["highest"], *person["lowest"][::-1]]
    return str(person["key"]), [
        Feature(str(one["name"]), float(str(one["attribution"])), one["name"] in planted) for one in entries
    ]


def figure_of_models(outcome: TableOutcome) -> list[Html]:
    """Draw the features with the most attribution of each model, as figure 3 of ContIG does."""
    return [
        element("div", element("h3", row.label), _bars(top_features(outcome, row, column), "{:.2f} %"))
        for row, column in models(outcome)
    ]


def figure_of_person(outcome: TableOutcome) -> list[Html]:
    """Draw the attributions of a single person of the first seed, beside the eye, as figure 4 of ContIG does."""
    drawn = []
    for row, column in models(outcome):
        details = outcome.details[row.key, column.key][0]
        key, features = of_person(details)
        words = f"The eye {key}: left the image, right the absolute attributions of its loss over it."
        eye = picture(base64.b64decode(details["eye"]), words, class_="eye") if "eye" in details else None
        drawn.append(element("div", element("h3", f"{row.label}: {key}"), eye, _bars(features, "{:+.2g}")))
    return drawn


def _bars(features: list[Feature], form: str) -> Html:
    most = max((abs(feature.value) for feature in features), default=0.0)
    return element(
        "ul",
        [
            element(
                "li",
                element("b", name(feature.name)) if feature.planted else element("span", name(feature.name)),
                element("span", form.format(feature.value), class_="number"),
                bar(abs(feature.value), most, PLANTED if feature.planted else NOISE),
            )
            for feature in features
        ],
        class_="bars",
    )
