"""What commands read again of results, damaged in every way: as it was, or one sentence."""

import contextlib
import dataclasses
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.border import read_summed
from mmcl_jax.evaluation.protocols import scoring
from mmcl_jax.evaluation.protocols.kept import load_head
from mmcl_jax.evaluation.results.file import ResultsFile, read_results
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.explain import METHODS, Explanation
from mmcl_jax.explain.result import ABOUT as ABOUT_EXPLANATION
from mmcl_jax.export.embeddings import make
from mmcl_jax.export.embeddings.chunk import Lost
from mmcl_jax.export.embeddings.parts import Part, Parts, metadata_of
from mmcl_jax.export.folder import check_out
from mmcl_jax.export.programs.load import load_program
from mmcl_jax.files import CHECKSUMS, write_checksums
from mmcl_jax.reproduce import plan
from mmcl_jax.versions import versions
from tests.damages import DAMAGES, damaged, outcome
from tests.export.embeddings.conftest import Drawn

ARGUMENTS: dict[str, Any] = {"run": "runs/a", "dtype": "float32"}
ABOUT = {"width": 3, "outside": {}, "remarks": [], "output": "features", "input": ["table"], "arguments": ARGUMENTS}
EMPTY = pl.DataFrame(schema={"key": pl.String, "row": pl.Int64, "features": pl.Array(pl.Float32, 3)})


def part(index: int) -> Part:
    """Four rows, of which the last could not be embedded."""
    rows = range(4 * index, 4 * index + 3)
    values = np.random.default_rng(index).normal(size=(3, 3)).astype(np.float32)
    columns = {"key": [f"ad{row}" for row in rows], "row": rows, "features": values}
    frame = pl.DataFrame(columns, schema=EMPTY.schema)
    lost = [Lost(4 * index + 3, None, "", "table", "Its features are not finite.")]
    unseen = Counter({("table", "price"): index + 1})
    return Part(frame=frame, unembedded=lost, rows=4, unseen=unseen, outside=Counter())


def embed(out: Path, chunks: int = 3) -> tuple[bool, bytes, bytes]:
    """What the command does without its encoders; it may continue."""
    parts = Parts(out)
    with parts.making(ARGUMENTS) as complete:
        if not complete:
            for index in (index for index in range(chunks) if not parts.done(index)):
                parts.write(index, part(index))
            parts.join(EMPTY, [], ABOUT)
    return complete, out.read_bytes(), parts.unembedded.read_bytes()


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_parts_of_an_embedding_are_made_again(how: str, tmp_path: Path) -> None:
    """The note, the rows or both of a chunk; nothing but the arguments of the call ends in a sentence."""
    whole, begun = embed(tmp_path / "whole.parquet"), Parts(tmp_path / "begun" / "a.parquet")
    assert not whole[0]
    with contextlib.suppress(KeyboardInterrupt), begun.making(ARGUMENTS):
        for index in range(2):
            begun.write(index, part(index))
        raise KeyboardInterrupt
    tried = 0
    for name in damaged(begun.folder, tmp_path / "b" / "c" / "d" / begun.folder.name, how):
        got, sentence = outcome(lambda: embed(tmp_path / "b" / "c" / "d" / "a.parquet"))
        if sentence:
            assert name == "arguments.json" or how == "a folder", (name, sentence)
            assert Path(name).name in sentence or "begun with another" in sentence
        else:
            assert got == whole
        for file in (tmp_path / "b" / "c" / "d").glob("a.*"):
            file.unlink()
        (tmp_path / "b" / "c" / "d" / begun.folder.name).mkdir(exist_ok=True)
        tried += 1
    assert tried >= 3


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_of_embeddings_is_not_taken_for_the_result(how: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole, copy = embed(tmp_path / "whole" / "a.parquet"), tmp_path / "b" / "c" / "d" / "copy"
    pl.read_parquet(tmp_path / "whole" / "a.parquet").write_parquet(tmp_path / "whole" / "b.parquet")
    for _ in damaged(tmp_path / "whole", copy, how, ["a.parquet"]):
        got, sentence = outcome(lambda: embed(copy / "a.parquet"))
        assert (got is None) != (not sentence)
        assert how not in ("flipped", "a link out") or sentence or got[0]
        assert sentence or pl.read_parquet(copy / "a.parquet").equals(pl.read_parquet(whole[1]))


def test_every_byte_of_a_file_of_embeddings_counts(tmp_path: Path) -> None:
    """The rows have a checksum, and so has the metadata."""
    out, path = embed(tmp_path / "a.parquet"), tmp_path / "a.parquet"
    assert embed(path) == (True, *out[1:])
    content = path.read_bytes()
    for place in range(4, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        _, sentence = outcome(lambda: embed(path))
        # Statistics and padding of the format are not the rows, which are read as they were.
        assert sentence or pl.read_parquet(path).equals(pl.read_parquet(content)), place
    path.write_bytes(content)
    metadata = metadata_of(path)
    assert metadata is not None
    plain = {name: value for name, value in metadata.items() if name != "content"}
    pl.read_parquet(path).write_parquet(path, metadata={"mmcl_jax": json.dumps(plain)})  # of an earlier version
    assert embed(path)[0]


@pytest.fixture(scope="module")
def kept(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a kept head."""
    heads = tmp_path_factory.mktemp("heads") / "heads"
    mj.evaluate(
        drawn.run, protocol="probe", label="model", input="table", baselines=(), seeds=1, keep=heads,
        learning_rates=(0.01,), max_epochs=1, out=heads.parent / "evaluation.json",
    )  # fmt: skip
    (head,) = heads.iterdir()
    return head


@pytest.fixture(scope="module")
def explained(drawn: Drawn, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an explanation."""
    out = tmp_path_factory.mktemp("explained")
    mj.explain(drawn.run, head=kept, input="table", method="integrated_gradients", out=out, rows=4, steps=4)
    return next(out.glob(f"*/{ABOUT_EXPLANATION}")).parent


@pytest.fixture(scope="module")
def released(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of weights and of a program."""
    out = tmp_path_factory.mktemp("released") / "release"
    mj.export(drawn.run, format=("safetensors", "stablehlo"), input="table", out=out)
    return out


def of_head(drawn: Drawn, folder: Path) -> Any:
    head = load_head(folder, drawn.run)
    arrays = {name: np.asarray(value).tolist() for name, value in head.trained.params.items()}
    return [arrays, head.labels, head.score, head.of, head.trained.task, head.trained.reads, str(head.standard)]


def of_explanation(drawn: Drawn, folder: Path) -> Any:
    explanation = Explanation.read(folder)
    return [explanation.about, explanation.attributions().to_dicts(), [*explanation.pictures]]


def of_release(drawn: Drawn, folder: Path) -> Any:
    check_out(folder)  # the same command replaces an export that nobody has changed
    program = load_program(folder)
    return [program.details, program.preprocessing]


READ: dict[str, Callable[[Drawn, Path], Any]] = {
    "kept": of_head, "explained": of_explanation, "released": of_release
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("what", READ)
def test_a_damaged_folder_of_results_is_as_it_was_or_one_sentence(
    what: str, how: str, drawn: Drawn, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """`mmcl check` finds every damage of a file that is recorded."""
    folder, copy = request.getfixturevalue(what), tmp_path / "a" / "b" / "c" / "copy"
    for name in damaged(folder, copy, how):
        if name == CHECKSUMS and how == "deleted":
            continue  # below
        found, told = outcome(lambda: mj.check(copy))
        assert told or found.faults, (name, how)
        got, sentence = outcome(lambda: READ[what](drawn, copy))
        assert sentence, (name, how, got)
    if how == "deleted":
        shutil.copytree(folder, copy)
        (copy / CHECKSUMS).unlink()
        assert outcome(lambda: READ[what](drawn, copy))[1]


def test_versions_are_in_the_description(kept: Path, released: Path, drawn: Drawn, tmp_path: Path) -> None:
    """Those of earlier versions, which had none, are read."""
    about = json.loads((kept / "head.json").read_text())
    assert about.pop("versions") == versions()
    assert json.loads((released / "card.json").read_text())["provenance"]["versions"] == versions()
    old = Path(shutil.copytree(kept, tmp_path / "head"))
    (old / "head.json").write_text(json.dumps(about))
    write_checksums(old, [old / "head.json", old / "arrays.npz"])
    assert of_head(drawn, old)[0] == of_head(drawn, kept)[0]


@pytest.mark.parametrize("what", ["evaluate", "embed", "explain"])
def test_a_store_that_changes_while_it_is_read_ends_the_command_before_its_results(
    what: str, drawn: Drawn, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of an array behind the moment at which it was opened; without it, the same calls give results."""
    store = Path(shutil.copytree(drawn.store.directory, tmp_path / "store"))
    out = tmp_path / ("out.parquet" if what == "embed" else "out")

    def changed(call: Callable[..., Any]) -> Callable[..., Any]:
        def with_change(*args: Any, **options: Any) -> Any:
            result = call(*args, **options)
            (store / "flat" / "labels.npy").touch()
            return result

        return with_change

    def run() -> Any:
        if what == "embed":
            return mj.embed(drawn.run, store=store, input="table", out=out)
        if what == "explain":
            return mj.explain(drawn.run, store=store, head=kept, input="table", out=out, rows=4, steps=4)
        return mj.evaluate(
            drawn.run, store=store, protocol="probe", label="model", input="table", baselines=(), seeds=1,
            keep=tmp_path / "heads", learning_rates=(0.01,), max_epochs=1, out=out,
        )  # fmt: skip

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "train_heads", changed(scoring.train_heads))
        patch.setattr(make.Embedding, "part", changed(make.Embedding.part))
        method = METHODS.named("integrated_gradients")
        patch.setitem(METHODS, "integrated_gradients", dataclasses.replace(method, explain=changed(method.explain)))
        _, sentence = outcome(run)
    assert str(store / "flat" / "labels.npy") in sentence
    assert "has changed while it was read, so" in sentence
    assert not list((tmp_path / "heads").glob("*"))
    assert not list(out.glob("*")) if what == "explain" else not out.exists()
    run()
    assert out.exists()


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_results_are_as_they_were_or_one_sentence(how: str, tmp_path: Path) -> None:
    """The results of `mmcl evaluate`, and the records of `mmcl reproduce`."""
    folder, copy = tmp_path / "results", tmp_path / "a" / "b" / "c" / "results"
    score = Score(
        method="a", seed=0, protocol="probe", input="image", label="digit", budget="all", draw=0,
        metrics={"top1": 0.5, "val_top1": math.nan}, chosen={}, absent={},
    )  # fmt: skip
    of = {"source": "run", "run": "a, seed 0", "step": 18, "state": "a", "store": "b"}
    for name, state in (("evaluation.json", "a"), ("other.json", "b")):
        head = {"command": "mmcl evaluate"}
        ResultsFile(folder / name, store="b", sources=[of], head=head).keep({**of, "state": state}, [score])
    training = {"seconds": 3.5, "seed": 1, "config": {}, "store": "b", "device": "cpu"}
    plan.write_record(folder / "training.json", training)

    def read(directory: Path) -> list[Any]:
        record = read_summed(directory / "training.json", dict[str, Any], "make it again")
        return [json.dumps(read_results(directory / "evaluation.json")), record]

    expected = read(folder)
    for name in damaged(folder, copy, how, ["evaluation.json", "training.json"]):
        got, sentence = outcome(lambda: read(copy))
        gone = how == "deleted" and name == "evaluation.json"  # nothing was evaluated yet
        assert name in sentence or got == expected or gone or how == "swapped", (name, sentence)
        # Another whole file of results is one of results.
        assert how in ("deleted", "a link out", "swapped") or sentence
