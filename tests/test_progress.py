"""Progress in a notebook is one line that changes."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mmcl_jax import progress
from mmcl_jax.progress import Bar, Foresight
from mmcl_jax.training.outlook import working


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, str]]]:
    """What each display of a notebook has shown, one content after the other."""
    shown: list[list[dict[str, str]]] = []

    def display(content: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw
        assert display_id
        cell = [content]
        shown.append(cell)
        return SimpleNamespace(update=lambda content, raw: cell.append(content))

    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    vars(ipython).update(get_ipython=lambda: SimpleNamespace(kernel=object()))
    vars(module).update(display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def test_a_bar_is_one_line_that_changes(cells: list, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_BARS", 0.0)
    with Bar("<images>", 3) as bar:
        for done in range(1, 4):
            bar.update(done, f"loss {done}")
    (cell,) = cells
    assert [content["text/plain"].split(",")[0] for content in cell] == [
        "<images> 1/3", "<images> 2/3", "<images> 3/3", "<images> 3/3",
    ]  # fmt: skip
    assert 'value="3" max="3"' in cell[-1]["text/html"]
    assert "<images>" not in cell[-1]["text/html"]
    assert "loss 3" in cell[-1]["text/html"]
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_not_drawn_at_every_step(cells: list) -> None:
    with Bar("steps", 10_000) as bar:
        for done in range(10_000):
            bar.update(done)
    assert len(cells[0]) < 100


def test_what_takes_a_moment_is_one_line(cells: list, capsys: Any) -> None:
    with working("compiling"):
        pass
    assert [content["text/plain"] for content in cells[0]] == ["compiling ...", "compiling: 0 s"]
    assert capsys.readouterr() == ("", "")


def test_a_quiet_bar_shows_nothing(cells: list, capsys: Any) -> None:
    with Bar("images", 3, quiet=True) as bar:
        bar.update(3)
    assert cells == []
    assert capsys.readouterr() == ("", "")


def test_a_terminals_ipython_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = ModuleType("IPython")
    vars(ipython).update(get_ipython=lambda: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert progress.notebook_display() is None


def test_long_work_is_foreseen_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([100.0, 102.0, 104.0, 106.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(now)))
    foresight = Foresight("reading", 1000, "--fast takes seconds")
    for done in (1, 11, 21, 31):
        foresight.update(done)
    assert capsys.readouterr().err == "reading: about 3 min left for 979 of 1,000; --fast takes seconds\n"


def test_short_work_is_not_foreseen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([100.0, 104.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(now)))
    foresight = Foresight("reading", 1000)
    foresight.update(1)
    foresight.update(900)
    assert capsys.readouterr().err == ""
