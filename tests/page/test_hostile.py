"""Foreign text on pages: it adds no element and no attribute, whatever it is and wherever it stands."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcl_jax.api.run_folders import RunRow
from mmcl_jax.api.runs import Runs
from mmcl_jax.page.html import document, drawing, element, folded, fragment, name, section, table
from mmcl_jax.page.lines import Line, line_chart
from mmcl_jax.prepare.card.findings import ColumnFinding, Findings
from mmcl_jax.prepare.card.page import render_card
from mmcl_jax.text import visible
from tests.pages import HOSTILE, Skeleton, is_closed
from tests.prepare.test_card import cars

pytestmark = pytest.mark.core

_WORDS = {"role", "kind", "stored", "metric"}  # of this program, by which a page is laid out


def replaced(value: Any, text: str) -> Any:
    """Return findings in which every text of the data is replaced."""
    if isinstance(value, Findings | ColumnFinding):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return type(value)(**{key: item if key in _WORDS else replaced(item, text) for key, item in fields.items()})
    if isinstance(value, dict):  # keys are names of splits, of causes, and of columns
        return {key: item if key in _WORDS else replaced(item, text) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(replaced(item, text) for item in value)
    return text if isinstance(value, str) else value


def card(text: str) -> str:
    entry = {"row": 1, "image": text, "cause": text, "reason": text}
    return render_card(replaced(cars(), text), title=text, images=[], quarantine=[entry])


def card_of_names(text: str) -> str:
    """The card of a table whose columns, words and classes have the text as their names."""
    column = ColumnFinding(
        name=text, role="feature", kind="categorical", distinct=2, missing=3, missing_words={text: 3}, top=[(text, 4)],
        unseen={"val": 1},
    )  # fmt: skip
    label = ColumnFinding(name=text + "2", role="label", kind="categorical", distinct=1)
    labels = {text + "2": {split: {text: 9} for split in ("train", "val", "test")}}
    findings = cars(columns=[column, label], labels=labels, lost={text: 2})
    return render_card(findings, title="", images=[], quarantine=[])


def runs(text: str) -> str:
    row = RunRow(
        path=Path("runs") / text.translate({47: "|", 58: ";", 0: "0"}), state="failed", reason=text, experiment=text,
        seed=1, data=text, monitor=0.5, monitor_name=text, score=0.5, score_name=text, score_metric=text,
    )  # fmt: skip
    return page(Runs(Path("runs"), (row,))._repr_html_())


def parts(text: str) -> str:
    chart = line_chart(text, [Line(text, [0, 1], [0, 1]), Line(text, [0, 1], [1, 0])], x=text)
    return page(
        section("key", text, text, [text, [text]]), table(text, [text, text], [[text, name(text)]]), folded(text, text),
        element("img", src="data:image/png;base64,", alt=text, title=text), chart,
        drawing(text, text, 1, 2, class_="a"),
    )  # fmt: skip


def page(*children: Any) -> str:
    return document("title", "", element("body", fragment(*children)), images=True)


@pytest.mark.parametrize("make", [card, card_of_names, runs, parts])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_text_changes_no_element_of_a_page(make: Callable[[str], str], text: str) -> None:
    made, plain = make(text), make("y" * len(visible(text)))
    is_closed(made)
    assert Skeleton(made).elements == Skeleton(plain).elements
