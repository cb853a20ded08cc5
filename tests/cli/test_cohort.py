"""From the files of several entries to trained encoders: an image and three vectors, any of which may be missing."""

import json
from pathlib import Path

import numpy as np
import pytest

from examples import contig
from examples.cohort import PEOPLE, draw
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store


def test_an_image_and_three_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Outer: all rows train, and what is absent counts in no term."""
    raw = draw(tmp_path)
    names = ("image", *contig.VECTORS)
    raw |= {"entries": {name: raw["entries"][name] for name in names}, "targets": {}}
    (tmp_path / "request.json").write_text(json.dumps(raw))
    out, run = tmp_path / "store", tmp_path / "run"
    assert main(["prepare", "--request", str(tmp_path / "request.json"), "--out", str(out), "--workers", "1"]) == 0
    store = Store.open(out)
    assert sum(store.sizes.values()) == PEOPLE
    config = ["--config", contig.__file__, f"--config.data={out}", "--workdir", str(run)]
    assert main(["pretrain", *config]) == 0, capsys.readouterr().err
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [step["loss"] for step in steps if "loss" in step]
    assert len(losses) == store.sizes["train"] // 8
    assert np.isfinite(losses).all()
