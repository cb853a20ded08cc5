"""The section about a random forest on the table alone, which shows how leaky the columns are."""

from collections.abc import Mapping
from typing import Any

from mmcl_jax.page import charts
from mmcl_jax.page.html import Child, Html, element, name, section
from mmcl_jax.page.wording import count, counted
from mmcl_jax.prepare.card.findings import Findings

_COLUMNS = 8
_LEAKY_SCORE = 0.95
_PERCENT = frozenset({"top-1", "top1", "accuracy", "balanced accuracy"})
_UP_TO_ONE = _PERCENT | {"auroc", "r2", "r²"}  # errors have no upper bound, and get no bar
_HOW_TO_READ = (
    "The forest was trained on the table of the train split and scored on the test split, without images. If its score "
    "is near 100 %, the table gives the label away: results with table input then mean little, and only results on "
    "images alone are meaningful."
)


def forest(findings: Findings) -> Html | None:
    """Show each label's score, chance level and most important columns; return None if no forest was trained."""
    if not findings.forest:
        return None
    cards = [_result(label, result) for label, result in findings.forest.items()]
    return section(
        "forest",
        "What the table alone gives away",
        element("p", _HOW_TO_READ, class_="lead"),
        element("ul", cards, class_="cards wide"),
    )


def score(metric: str, value: float) -> str:
    """Return a score in the form of its metric: accuracies in percent, other metrics with three decimals.

    >>> score("top-1", 0.98), score("AUROC", 0.98)
    ('98.0 %', '0.980')
    """
    return f"{100 * value:.1f} %" if metric.lower() in _PERCENT else f"{value:.3f}"


def gives_away(result: Mapping[str, Any]) -> bool:
    """Return whether a forest scores so high that results with table input mean little."""
    value = result.get("value")
    return _bounded(result) and isinstance(value, int | float) and value >= _LEAKY_SCORE


def _bounded(result: Mapping[str, Any]) -> bool:
    return str(result.get("metric", "")).lower() in _UP_TO_ONE


def _result(label: str, result: Mapping[str, Any]) -> Html:
    metric, value, chance = str(result.get("metric", "")), result.get("value"), result.get("chance")
    rows = [
        counted(int(result[key]), f"{split} row")
        for key, split in (("train_rows", "train"), ("test_rows", "test"))
        if result.get(key) is not None
    ]
    large = element("b", score(metric, value) if isinstance(value, int | float) else "–", class_="large")
    small = f"{metric}; chance {score(metric, chance)}" if isinstance(chance, int | float) else metric
    balanced = result.get("balanced_accuracy")
    if isinstance(balanced, int | float):
        small += f"; balanced accuracy {score('balanced accuracy', balanced)}"
    return element(
        "li",
        element("h3", name(label, 60)),
        element("p", large, " ", small),
        charts.bar(value, 1.0) if isinstance(value, int | float) and _bounded(result) else None,
        element("p", "The table gives this label away.", class_="alarm") if gives_away(result) else None,
        element("p", ", ".join(rows), class_="moments") if rows else None,
        _importance(result.get("importance", ())),
    )


def _importance(importance: Any) -> Html | None:
    if not importance:
        return None
    shown = importance[:_COLUMNS]
    most = max(weight for _, weight in shown)
    lines: list[tuple[Child, float, str]] = [(name(column, 40), weight, f"{weight:.2f}") for column, weight in shown]
    hidden = len(importance) - len(shown)
    more = element("p", f"and {count(hidden)} more in findings.json", class_="moments")
    return element("div", element("h4", "Most important columns"), charts.bars(lines, most), more if hidden else None)
