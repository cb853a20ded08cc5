"""The table of TIP: columns that hide cells, rows with an input of their own, and baselines with an untrained run."""

import dataclasses
import json
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from mmcl_jax.cli.main import main
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.reproduce import run
from mmcl_jax.reproduce.page import render_page
from mmcl_jax.reproduce.reading import HOLDS, UNDECIDED, judge
from mmcl_jax.reproduce.tables import tip
from mmcl_jax.training.runs.run import Run

(TABLE,) = tip.TABLES


def test_a_fusion_from_scratch_and_boosting_with_hidden_cells(
    raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run of a baseline is made and not trained; each share is a record of its own."""
    store = prepare(raw, tmp_path / "store")
    columns = tuple(column for column in TABLE.columns if column.key in ("whole", "cells-50", "most_important-30"))
    rows = tuple(row for row in TABLE.rows if row.key in ("concat", "boosting"))
    small = dataclasses.replace(TABLE, rows=rows, columns=columns, claims=(), reference="concat")
    monkeypatch.setattr(run, "find", lambda name: small)
    out, sizes = tmp_path / "out", ["width=8", "heads=1", "blocks=1"]
    command = [
        "reproduce", "tip/missing", "--data", str(store.directory), "--out", str(out), "--seeds", "1",
        "--max-epochs", "1", "--learning-rates", "0.01", "--trials", "1", "--config.batch_size=16",
        "--config.batch_norm.group_size=8",
        "--config.encoders.image.channels=(4,)", "--config.encoders.fusion.features=8",
        *(f"--config.encoders.table.{size}" for size in sizes),
    ]  # fmt: skip
    with threadpool_limits(1):
        assert main(command) == 0
    printed = capsys.readouterr().out
    assert "1 pretrainings: 0 done, 1 missing\n6 evaluations: 0 done, 6 missing" in printed
    assert "finetune on fusion: concat, 50 % hidden by cells, seed 0" in printed
    with pytest.raises(UserError, match="has no checkpoint"):
        Run.open(out / "runs" / "concat-0").step()
    assert len(list((out / "evaluations" / "concat-0").iterdir())) == 3
    results = json.loads((out / "tip" / "missing" / "results.json").read_text())
    told = {(s["row"], s["column"], s["protocol"], s["missing"], s["missing_by"]) for s in results["scores"]}
    assert told == {
        (row, key, protocol, rate, by)
        for row, protocol in (("concat", "finetune"), ("boosting", "boosting"))
        for key, rate, by in (
            ("whole", 0, ""),
            ("cells-50", 0.5, "cells"),
            ("most_important-30", 0.3, "most_important"),
        )
    }
    assert main(command) == 0
    assert "1 pretrainings: 1 done, 0 missing\n6 evaluations: 6 done, 0 missing" in capsys.readouterr().out

    # What a table of three columns cannot hide, or a policy cannot read, is said before anything is trained.
    last = dataclasses.replace(small, columns=(tip.HIDDEN["columns", 0.9],))
    monkeypatch.setattr(run, "find", lambda name: last)
    assert main(command) == 2
    assert "3 of the 3 columns of 'table' would be hidden; choose a rate" in capsys.readouterr().err
    monkeypatch.setattr(run, "find", lambda name: small)
    other = [str(tmp_path / "other") if word == str(out) else word for word in command]
    assert main([*other, "--config.inputs.table.missing=refuse"]) == 2
    assert "config.inputs.table.missing='refuse' does not read; leave that override out" in capsys.readouterr().err
    assert not list(tmp_path.glob("other/runs/*"))


def test_claims_and_curves(made_up) -> None:
    """TIP stands firm, MMCL falls, and most where the most important columns go first."""
    fall = {"cells": 0.2, "columns": 0.2, "most_important": 0.3, "least_important": 0.1}
    values = {}
    for row, start, share in (
        ("tip", 0.95, 0.1),
        ("mmcl_mean", 0.9, 1.0),
        ("mmcl_token", 0.9, 1.0),
        ("boosting", 0.9, 1.0),
    ):
        values[row] = {"whole": [start] * 3}
        for (by, rate), column in tip.HIDDEN.items():
            values[row][column.key] = [start - share * fall[by] * rate + noise for noise in (-1e-3, 0.0, 1e-3)]
    outcome = made_up(TABLE, values)
    verdicts = {judged.claim.text: judged.verdict for judged in judge(outcome)}
    assert verdicts["With nothing hidden, TIP is above MMCL"] == HOLDS
    for words in tip.STRATEGIES.values():
        assert verdicts[f"At every rate of {words} hidden, TIP is above MMCL"] == HOLDS
    assert verdicts["TIP loses less than MMCL when most is hidden"] == HOLDS
    assert verdicts["Hiding the most important columns first costs more than hiding the least important first"] == HOLDS
    token = "MMCL with a missing token is above MMCL with imputed means at every rate of random cells"
    assert verdicts[token] == UNDECIDED
    page = render_page(outcome, "mmcl reproduce tip/missing")
    assert page.count(", by share hidden") == len(tip.STRATEGIES)
    assert "over the share of the table that is hidden" in page
