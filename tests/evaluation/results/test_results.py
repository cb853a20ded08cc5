"""The results file: merged by what was evaluated, written in one piece, and never over something else."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.file import ResultsFile
from mmcl_jax.evaluation.results.scores import Score

pytestmark = pytest.mark.core


def score(draw: int = 0, top1: float = 0.5) -> Score:
    return Score(
        method="a", seed=0, protocol="probe", input="image", label="kind", budget="all", draw=draw,
        metrics={"top1": top1}, chosen={},
    )  # fmt: skip


def of(**changes: Any) -> dict[str, Any]:
    told = {"source": "run", "run": "a, seed 0", "step": 10, "state": "s", "store": "here", "protocol": "probe"}
    return {**told, "input": "image", "label": "kind", "budget": "all", "learning_rates": [0.1], **changes}


def opened(path: Path, *, again: bool = False, **changes: Any) -> ResultsFile:
    told = of(**changes)
    return ResultsFile(path, store=told["store"], sources=[told], head={"command": "typed"}, again=again)


def lists(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    raw = json.loads(path.read_text())
    return raw["scores"], raw["others"]


CHANGES = [
    {"protocol": "knn"}, {"input": "table"}, {"label": "price"}, {"budget": "1 %"}, {"learning_rates": [0.2]},
    {"max_epochs": 3}, {"source": "raw"}, {"run": "b, seed 0"},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=[next(iter(change)) for change in CHANGES])
def test_what_was_evaluated_otherwise_stands_beside(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "made" / "results.json"
    opened(path).keep(of(), [score()])
    other = opened(path, **change)
    assert other.find(of(**change), [0]) is None
    other.keep(of(**change), [score(top1=0.75)])
    scores, others = lists(path)
    assert [one["metrics"]["top1"] for one in scores] == [0.5, 0.75]
    assert others == []


@pytest.mark.parametrize("change", [{"state": "t", "step": 20}, {"store": "there"}], ids=["checkpoint", "store"])
def test_other_checkpoints_and_stores_are_kept_apart_and_come_back(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    opened(path).keep(of(), [score()])
    later = opened(path, **change)
    later.keep(of(**change), [score(top1=0.75)])
    scores, others = lists(path)
    assert [one["metrics"]["top1"] for one in (*scores, *others)] == [0.75, 0.5]
    assert len(scores) == 1
    assert 'also keeps 1 of other checkpoints or stores, under "others"' in later.finish()
    opened(path).finish()
    assert [one["metrics"]["top1"] for one in lists(path)[0]] == [0.5]


def test_what_is_there_is_found_and_done_again_only_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    opened(path).keep(of(), [score(0), score(1)])
    file = opened(path)
    assert file.find(of(), [0, 1]) == [score(0), score(1)]
    assert file.find(of(), [0, 1, 2]) is None
    assert "found 2 scores of this command in it" in file.finish()
    again = opened(path, again=True)
    assert again.find(of(), [0]) is None
    again.keep(of(), [score(0, top1=0.625)])
    assert sorted(one["metrics"]["top1"] for one in lists(path)[0]) == [0.5, 0.625]


def test_scores_of_another_version_are_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    opened(path).keep(of(), [score()])
    monkeypatch.setattr("mmcl_jax.evaluation.results.file.__version__", "9.9")
    file = opened(path)
    assert file.find(of(), [0]) is None
    file.keep(of(), [score(top1=0.75)])
    assert [one["metrics"]["top1"] for one in lists(path)[0]] == [0.75]


def test_a_file_of_an_earlier_version_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"store": "stores/a", "scores": [score().to_json()]}))
    opened(path).keep(of(), [score(top1=0.75)])
    scores, others = lists(path)
    assert [one["metrics"]["top1"] for one in scores] == [0.75]
    assert others == [score().to_json()]


@pytest.mark.parametrize(
    "content",
    ["", '{"scores": [{"met', "[1, 2]", "{}", '{"scores": [{"value": 1}]}', '{"scores": 3}', "\x00\x01", "null"],
)
def test_a_damaged_or_foreign_file_is_one_sentence_and_stays(content: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"results.json is damaged, or no results of mmcl evaluate, .* --out") as raised:
        opened(path)
    assert "\n" not in str(raised.value)
    assert path.read_text() == content


def test_two_commands_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.json"

    def many(protocol: str) -> None:
        file = opened(path, protocol=protocol)
        for draw in range(15):
            file.keep(of(protocol=protocol), [score(draw)])

    threads = [threading.Thread(target=many, args=(name,)) for name in ("probe", "knn", "finetune")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lists(path)[0]) == 45
    assert not list(tmp_path.glob("*.partial"))


def test_a_changed_digit_is_noticed_and_a_file_without_a_checksum_is_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    opened(path).keep(of(), [score(top1=0.625)])
    whole = path.read_text()
    for digit, other in (("0.625", "0.725"), ('"draw": 0', '"draw": 1'), ('"command": "typed"', '"command": "tiped"')):
        path.write_text(whole.replace(digit, other))
        with pytest.raises(UserError, match="its checksum differs"):
            opened(path)
    plain = json.loads(whole)
    path.write_text(json.dumps({name: plain[name] for name in reversed(plain)}))
    assert opened(path).find(of(), [0]) == [score(top1=0.625)]
    del plain["sha256"]
    plain["scores"][0]["metrics"]["top1"] = 0.75
    path.write_text(json.dumps(plain))
    assert opened(path).find(of(), [0]) == [score(top1=0.75)]
