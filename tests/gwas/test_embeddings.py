"""Embeddings of a run as phenotypes: one eye per person, and no person that the run was trained on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import mmcl_jax as mj
from mmcl_jax.config import load
from mmcl_jax.gwas.people.embeddings import PERSON, embedded_people
from mmcl_jax.training.runs.run import Run
from tests.export.untrained import untrained_run
from tests.gwas.drawn import Drawn, draw

PEOPLE = 60


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return draw(tmp_path_factory.mktemp("drawn"))


def prepared(folder: Path, names: list[str], *, group: bool = True, **options: Any) -> mj.Store:
    """A store with two eyes of each person, whose brightness is a trait of the person."""
    folder.mkdir()
    random, rows = np.random.default_rng(len(names)), []
    for number, one in enumerate(names):
        level = 40 + 2 * number
        for side in ("left", "right"):
            file = f"{side}_{one}_21015_0.png"
            Image.fromarray(random.integers(0, 60, (8, 8, 3), np.uint8) + np.uint8(level)).save(folder / file)
            rows.append({"photograph": Path(file).stem, "file": file, "person": one, "age": 40 + number})
    pl.DataFrame(rows).write_csv(folder / "eyes.csv")
    return mj.prepare(
        folder / "eyes.csv", folder, image_column="file", key_column="photograph", label="age",
        group_column="person" if group else None, ignore=() if group else ("person",), out=folder / "store",
        split=(0.4, 0.1, 0.5), **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def eyes(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Run:
    store = prepared(tmp_path_factory.mktemp("eyes") / "a", drawn.people[:PEOPLE])
    config = load(
        "digits_simclr", [f"data={store.directory}", "batch_norm.group_size=8", "encoders.image.channels=(4, 8)"]
    )
    return untrained_run(config, store, tmp_path_factory.mktemp("runs") / "eyes")


def embedded(run: Run, store: mj.Store | None = None, **given: Any) -> Any:
    defaults: dict[str, Any] = {
        "split": "test", "select": None, "person": PERSON, "input": None, "allow_overlap": False,
    }  # fmt: skip
    return embedded_people(run, store, **{**defaults, **given})


def test_each_held_out_person_has_the_embedding_of_the_left_eye(eyes: Run, tmp_path: Path) -> None:
    found = embedded(eyes)
    people = [key.split("_")[1] for key in eyes.store().keys("test")]
    assert set(found.people.ids) == set(people)
    assert len(found.people.ids) == len(set(people)) == len(people) / 2
    assert found.counts["other samples of the same people"] == len(people) / 2
    table = mj.embed(eyes, store=eyes.store(), split="test", out=tmp_path / "e.parquet").to_frame()
    of = dict(zip(table["key"], table["features"].to_numpy(), strict=True))
    for one, values in zip(found.people.ids, found.people.values, strict=True):
        assert values == pytest.approx(of[f"left_{one}_21015_0"], rel=1e-5, abs=1e-6)
    other = embedded(eyes, select="^right")
    assert other.people.ids == found.people.ids
    assert not np.allclose(other.people.values, found.people.values)


def test_people_of_the_training_are_refused_without_a_flag(eyes: Run, drawn: Drawn, tmp_path: Path) -> None:
    trained = len({key.split("_")[1] for key in eyes.store().keys("train")})
    for split in ("train", "all"):
        with pytest.raises(mj.UserError, match=f"was trained on {trained} of the people"):
            embedded(eyes, split=split)
    assert embedded(eyes, split="train", allow_overlap=True).trained == trained
    other = prepared(tmp_path / "b", drawn.people[:8] + drawn.people[80:88])
    with pytest.raises(mj.UserError, match=r"was trained on \d of the people"):
        embedded(eyes, other, split="all")
    assert len(embedded(eyes, other, split="all", allow_overlap=True).people.ids) == 16
    new = prepared(tmp_path / "c", drawn.people[90:96])
    assert embedded(eyes, new, split="all").trained == 0


def test_one_person_in_two_splits_is_noticed(eyes: Run, drawn: Drawn, tmp_path: Path) -> None:
    store = prepared(tmp_path / "a", drawn.people[:20], group=False)
    config = eyes.config.copy_and_resolve_references()
    config.data = str(store.directory)
    run = untrained_run(config, store, tmp_path / "run")
    with pytest.raises(mj.UserError, match="of the people, whose embeddings know their genotypes"):
        embedded(run)


@pytest.mark.parametrize(("given", "sentence"), [
    ({"person": "("}, "--person: '\\(' is no regular expression"),
    ({"person": "p0"}, "are of two groups; give a pattern that tells them apart"),
    ({"person": "^.*$"}, "are of one group; give a pattern of what they share"),
    ({"person": "x+"}, "has no identifier that 'x\\+' matches"),
    ({"select": "eye"}, "--select: no key of the samples has 'eye'"),
    ({"select": "21015"}, "--select: the person .* has the samples"),
    ({"input": "table"}, "has no 'table' encoder"),
])  # fmt: skip
def test_patterns_that_do_not_fit_are_refused(eyes: Run, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(mj.UserError, match=sentence):
        embedded(eyes, **given)


def test_a_run_is_tested_with_genotypes(eyes: Run, drawn: Drawn, tmp_path: Path) -> None:
    made = mj.gwas(
        eyes, drawn.files, out=tmp_path / "study", genetic_components=2, components=3, min_frequency=0.05,
    )  # fmt: skip
    held_out = {key.split("_")[1] for key in eyes.store().keys("test")}
    assert made.about["people"] == len(held_out)
    assert made.about["phenotypes"] == ["PC1", "PC2", "PC3"]
    assert made.about["warnings"] == [] or "inflated" in made.about["warnings"][0]
    assert json.loads((made.directory / "gwas.json").read_text())["variants"] > 400
    assert "other samples of the same people" in made.page.read_text()
    again = mj.gwas(
        eyes, drawn.files, out=tmp_path / "other", genetic_components=0, components=2, split="all", allow_overlap=True,
    )  # fmt: skip
    assert len(again.about["warnings"]) >= 2
    assert "The run was trained on" in again.about["warnings"][0]
    assert "No genetic components" in again.about["warnings"][1]


def test_a_study_that_is_killed_leaves_nothing(drawn: Drawn, tmp_path: Path) -> None:
    """SIGKILL in the middle of a study; the same command then writes what one that was not killed writes."""
    lines = [
        "FID IID a b",
        *(f"{one} {one} {value} {value**2}" for one, value in zip(drawn.people, drawn.trait, strict=True)),
    ]
    (tmp_path / "t.txt").write_text("\n".join(lines) + "\n")
    program = f"""
import importlib, os, signal
import mmcl_jax as mj
make = importlib.import_module("mmcl_jax.gwas.make")
make.write_combined = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
mj.gwas(pheno="t.txt", genotypes={str(drawn.files[0])!r}, genetic_components=0, components=0, out="study")
"""

    killed = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert killed.returncode == -9
    assert not (tmp_path / "study").exists()
    assert (tmp_path / ".study.partial" / "summary").is_dir()
    call: dict[str, Any] = {"pheno": tmp_path / "t.txt", "genotypes": drawn.files[0], "components": 0}
    mj.gwas(**call, genetic_components=0, out=tmp_path / "study")
    mj.gwas(**call, genetic_components=0, out=tmp_path / "whole")
    assert not (tmp_path / ".study.partial").exists()
    for path in (tmp_path / "whole" / "summary").iterdir():
        assert path.read_bytes() == (tmp_path / "study" / "summary" / path.name).read_bytes()
