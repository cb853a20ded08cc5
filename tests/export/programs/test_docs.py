"""The blocks of docs/programs.md run as they are written, and so does the usage in an export's README."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmcl_jax as mj
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.training.runs.run import Run
from tests.export.untrained import untrained_run

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall((Path(__file__).parents[3] / "docs" / "programs.md").read_text())


@pytest.fixture(scope="module")
def run(digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = load("digits_mmcl", [f"data={digits_store.directory}", "encoders.image.channels=(4, 8)"])
    return untrained_run(config, digits_store, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def given(digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Some rows of the store, which the working directory has."""
    monkeypatch.chdir(tmp_path)
    stored = digits_store.read("test", ["image", "table"])
    rows = {"image": np.asarray(stored["image"][:5]), "table": np.asarray(stored["table"][np.arange(5)])}
    np.save("pixels.npy", rows["image"])
    np.save("cells.npy", rows["table"])
    return rows


@pytest.fixture(scope="module")
def expected(run: Run, digits_store: Store) -> np.ndarray:
    stored = digits_store.read("test", ["image", "table"])
    rows = {
        "image": np.asarray(stored["image"][:5]),
        "table": run.inputs.tables["table"].encode(np.asarray(stored["table"][np.arange(5)])),
    }
    encoders = {name: frozen_encoder(run.model(), config=run.config, modality=name) for name in rows}
    return np.concatenate([encoders[name](rows[name]) for name in rows], axis=1)


@pytest.mark.foreign
def test_jax_and_our_loader(run: Run, given: dict[str, np.ndarray], expected: np.ndarray) -> None:
    pytest.importorskip("flatbuffers")
    mj.export(run, out="release", format="stablehlo", input="image+table")
    names: dict[str, Any] = {}
    for block in BLOCKS[:2]:
        exec(block, names)
        np.testing.assert_allclose(names.pop("features"), expected, rtol=1e-5, atol=1e-5)
    (usage,) = BLOCK.findall(Path("release/README.md").read_text())
    exec(usage.replace('Path("', 'Path("release/'), names := dict(given))
    np.testing.assert_allclose(names["output"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.foreign
def test_onnxruntime(run: Run, given: dict[str, np.ndarray], expected: np.ndarray) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    mj.export(run, out="release", format="onnx", input="image+table")
    names: dict[str, Any] = {"pixels": given["image"], "cells": given["table"]}
    exec(BLOCKS[2], names)
    np.testing.assert_allclose(names["features"], expected, rtol=1e-5, atol=1e-5)
    (usage,) = BLOCK.findall(Path("release/README.md").read_text())
    exec(usage.replace('"image+table.onnx"', '"release/image+table.onnx"'), names := dict(given))
    np.testing.assert_allclose(names["output"], expected, rtol=1e-5, atol=1e-5)


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == 3
