"""`mmcl evaluate`, on stores and runs as people have them: moved, split anew, with classes missing, interrupted."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from flax import nnx
from PIL import Image

from mmcl_jax.cli.main import main
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols import evaluate as protocol
from mmcl_jax.evaluation.protocols.jobs import jobs_of, so_far
from mmcl_jax.evaluation.protocols.kept import load_head
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.missingness import Hiding
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.files import write_checksums
from mmcl_jax.training.loop import Result, pretrain
from mmcl_jax.training.runs.checkpoint import Checkpoints
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.runs.skips import Skipped

TINY = [
    "encoders.image.channels=(4,)", "encoders.table.hidden=8", "encoders.table.features=8", "batch_size=16",
    "batch_norm.group_size=8", "epochs=1", "schedule.warmup_epochs=0",
]  # fmt: skip
FAST = ["--max-epochs", "1", "--learning-rates", "0.01", "--seeds", "1", "--baselines", ""]


@pytest.fixture(scope="module")
def ads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty advertisements: `grade` lacks "c" in val, "d" in test and "e" in train; `sold` is false in all of val."""
    root = tmp_path_factory.mktemp("ads")
    (root / "photos").mkdir()
    rng = np.random.default_rng(0)
    split = ["train"] * 24 + ["val"] * 6 + ["test"] * 10
    grade = [*"abcd" * 6, *"abdabe", *"abcabcabce"]
    sold = [("no", "yes")[row % 2] for row in range(24)] + ["no"] * 6 + [("no", "yes")[row % 2] for row in range(10)]
    for row in range(40):
        Image.fromarray(rng.integers(0, 255, (12, 10, 3), np.uint8)).save(root / "photos" / f"{row}.png")
    columns = {"ad": [f"ad{row}" for row in range(40)], "file": [f"{row}.png" for row in range(40)]}
    columns |= {"price": rng.normal(10_000, 3_000, 40).tolist(), "seats": rng.integers(2, 8, 40).tolist()}
    pl.DataFrame({**columns, "grade": grade, "sold": sold, "split": split}).write_csv(root / "ads.csv")
    assert main(prepare(root, "store", "--split-column", "split", "--label", "grade,sold")) == 0
    return root


def prepare(root: Path, name: str, *options: str, table: str = "ads.csv") -> list[str]:
    files = ["--table", str(root / table), "--images", str(root / "photos"), "--image-column", "file"]
    return ["prepare", *files, "--workers", "1", "--out", str(root / name), *options]


@pytest.fixture(scope="module")
def result(ads: Path) -> Result:
    """A training of one epoch on them."""
    return pretrain(load("digits_mmcl", [*TINY, f"data={ads / 'store'}"]), ads / "run", log=lambda line: None)


@pytest.fixture
def run(result: Result, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(result.run.directory, tmp_path / "run"))


def evaluate(run: Path, *options: str) -> int:
    return main(["evaluate", "--run", str(run), *FAST, *options])


def results(run: Path) -> dict:
    return json.loads((run / "evaluation.json").read_text())


OTHER = {
    "other seed": ["--seed", "3", "--label", "grade,sold", "--ignore", "split"],
    "other key": ["--seed", "3", "--label", "grade,sold", "--ignore", "split", "--key-column", "ad"],
    "other label": ["--seed", "3", "--label", "sold", "--ignore", "split,grade"],
}


@pytest.mark.parametrize("kind", OTHER)
def test_rows_that_were_trained_on_are_not_the_test(
    kind: str, ads: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ads / kind.replace(" ", "_")
    assert main(prepare(ads, other.name, *OTHER[kind])) == 0
    files = {row["ad"]: row["file"] for row in pl.read_csv(ads / "ads.csv").iter_rows(named=True)}
    mine, tested = Store.open(ads / "store"), {files.get(key, key) for key in Store.open(other).keys("test")}
    trained, watched = (len(tested & set(mine.keys(split))) for split in ("train", "val"))
    assert trained > 0
    capsys.readouterr()
    for way in ([], ["--protocol", "finetune"], ["--protocol", "retrieval"]):
        assert evaluate(run, "--store", str(other), "--label", "sold", *way) == 2
        error = capsys.readouterr().err
        assert f"was trained on {trained} and validated on {watched} (rows" in error
        assert "--allow-overlap" in error
        assert error.count("\n") == 1
    assert not (run / "evaluation.json").exists()
    assert evaluate(run, "--store", str(other), "--label", "sold", "--allow-overlap") == 0
    printed = capsys.readouterr().out
    assert (
        f"on {trained} and validated on {watched} (rows with the same key or image), so scores are too high" in printed
    )


def test_rows_that_no_run_has_seen_are_a_test(ads: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The test rows of the first store are divided once more."""
    pl.read_csv(ads / "ads.csv").filter(pl.col("split") == "test").write_csv(ads / "new.csv")
    shares = ["--split", "0.4,0.3,0.3", "--label", "sold", "--ignore", "split,grade"]
    assert main(prepare(ads, "new", *shares, table="new.csv")) == 0
    capsys.readouterr()
    assert evaluate(run, "--store", str(ads / "new")) == 0
    assert "trained on" not in capsys.readouterr().out


def test_a_run_of_an_earlier_version_asks_its_store(
    ads: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for later in ("seen.npz", "checksums.json"):
        (run / later).unlink()
    other = ads / "other_splits"
    assert main(prepare(ads, other.name, "--seed", "4", "--label", "grade,sold", "--ignore", "split")) == 0
    assert evaluate(run, "--store", str(other), "--label", "sold") == 2
    assert "was trained on" in capsys.readouterr().err
    origin = json.loads((run / "store.json").read_text())
    (run / "store.json").write_text(json.dumps({**origin, "directory": str(tmp_path / "gone")}))
    assert evaluate(run, "--store", str(other), "--label", "sold") == 0
    assert "could not be compared" in capsys.readouterr().out


def test_weights_that_are_not_finite_are_not_evaluated(
    result: Result, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = dataclasses.replace(result.state, params=jax.tree.map(lambda x: x * jnp.nan, result.state.params))
    checkpoints = Checkpoints(run / "checkpoints", keep=3)
    checkpoints.save(99, broken, data={"next_index": 1}, seconds=1.0, skipped=Skipped())
    checkpoints.close()
    for name in ("probe", "knn", "finetune", "retrieval"):
        assert evaluate(run, "--protocol", name, "--label", "sold") == 2
        error = capsys.readouterr().err
        assert f"The weights of the checkpoint {run / 'checkpoints' / '99'} are not finite" in error
        assert error.count("\n") == 1
    assert not (run / "evaluation.json").exists()
    shutil.rmtree(run / "checkpoints" / "99")  # what the sentence says
    assert evaluate(run, "--label", "sold") == 0


def test_an_encoder_whose_weights_are_not_finite_encodes_nothing(result: Result) -> None:
    graphdef, params, rest = nnx.split(result.run.model(), nnx.Param, ...)
    model = nnx.merge(graphdef, jax.tree.map(lambda x: x * jnp.nan, params), rest)
    with pytest.raises(UserError, match=r"The weights of the model of digits_mmcl \(seed 2022\) are not finite"):
        frozen_encoder(model, config=result.run.config)


@pytest.mark.parametrize(
    ("label", "absent", "chosen_by"),
    [("grade", {"train": ["e"], "val": ["c"], "test": ["d"]}, "top1"), ("sold", {"val": ["true"]}, "log_loss")],
)
def test_the_classes_that_are_there_are_measured(
    label: str, absent: dict[str, list[str]], chosen_by: str, ads: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = "image,table" if label == "grade" else "image"  # of one label, since each input is compiled anew
    every = ["--protocol", "probe,knn,finetune,augmented_probe", "--input", inputs, "--baselines", "pixels"]
    assert evaluate(run, *every, "--label", label, "--per-class", "2,90") == 0
    printed = capsys.readouterr().out
    scores = results(run)["scores"]
    assert {score["protocol"] for score in scores} == {"probe", "knn", "finetune", "augmented_probe"}
    for score in scores:
        assert score["absent"] == absent
        assert 0 <= score["metrics"]["top1"] <= 1
        assert 0 <= score["metrics"]["auroc"] <= 1
        assert f"val_{chosen_by}" in score["metrics"]
    assert "1 classes" not in (ads / "store" / "findings.json").read_text()
    for split, (text,) in absent.items():
        assert f"The split {split!r} has no row of 1 class of {label!r} ({text!r})" in printed
        assert f"{split}: {text!r}" in printed
    assert "--per-class 90: of smaller classes all training rows are used ('" in printed


@pytest.mark.parametrize("out", ["folder", "file/inside.json", "/proc/nowhere/results.json"])
def test_results_that_cannot_be_written_are_refused_before_anything_is_computed(
    out: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(protocol, "score_job", lambda *a: pytest.fail("it was computed"))
    assert evaluate(run, "--out", str(tmp_path / out)) == 2
    error = capsys.readouterr().err
    assert "mmcl evaluate: --out: " in error
    assert error.count("\n") == 1


def test_a_damaged_results_file_stays(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "evaluation.json").write_text('{"scores": [')
    assert evaluate(run) == 2
    assert "evaluation.json is damaged, or no results" in capsys.readouterr().err
    assert (run / "evaluation.json").read_text() == '{"scores": ['


def test_a_second_evaluation_stands_beside_the_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(run, "--label", "sold") == 0
    assert evaluate(run, "--label", "sold", "--protocol", "knn") == 0
    assert evaluate(run, "--label", "grade", "--fraction", "1,0.5") == 0
    capsys.readouterr()
    assert evaluate(run, "--label", "sold") == 0
    assert "found 1 score of this command in it" in capsys.readouterr().out
    kinds = [(score["protocol"], score["label"], score["budget"]) for score in results(run)["scores"]]
    assert sorted(kinds) == [
        ("knn", "sold", "all"), ("probe", "grade", "50 %"), ("probe", "grade", "all"), ("probe", "sold", "all"),
    ]  # fmt: skip


def test_what_ctrl_c_interrupts_the_same_command_continues(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--label", "sold", "--protocol", "probe,finetune", "--seeds", "3", "--baselines", "random,pixels"]
    computed, evaluated, most = [], protocol.score_job, 3

    def watched(job, store, numbers, how):
        if len(computed) == most:
            raise KeyboardInterrupt
        computed.append((job.method, job.protocol, tuple(numbers)))
        return evaluated(job, store, numbers, how)

    monkeypatch.setattr(protocol, "score_job", watched)
    assert evaluate(run, *options) == 130
    assert "interrupted; the same command continues" in capsys.readouterr().err
    first = list(computed)
    assert first[:2] == [("digits_mmcl", "probe", (0,)), ("digits_mmcl", "finetune", (0,))]  # runs before baselines
    assert len(results(run)["scores"]) == 3
    most = 100
    assert evaluate(run, *options) == 0
    assert len(set(computed)) == len(computed) == 9  # nothing twice
    assert len(results(run)["scores"]) == 9
    assert "found 3 scores of this command in it" in capsys.readouterr().out


def test_heads_are_kept_beside_their_run_and_go_with_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(run, "--label", "sold") == 0
    for way in (["--keep"], ["--keep", str(tmp_path / "mine")]):
        assert evaluate(run, "--label", "sold", *way) == 0  # the score is there, and the head is not
        assert "found" not in capsys.readouterr().out.splitlines()[-1]
        assert evaluate(run, "--label", "sold", *way) == 0
        assert "found 1 score of this command in it" in capsys.readouterr().out
    (score,) = results(run)["scores"]
    ((own,), (other,)) = ((run / "heads").iterdir(), (tmp_path / "mine").iterdir())
    assert own.name == other.name
    assert own.name.startswith("digits_mmcl_seed_2022-digits_mmcl-probe-image-sold-all-0-")
    shutil.move(run, tmp_path / "moved")
    head = load_head(tmp_path / "moved" / "heads" / own.name)
    assert head.score.metrics == score["metrics"]
    with pytest.raises(UserError, match=r"The run .* is missing; pass the run to load_head"):
        load_head(other)
    moved = Run.open(tmp_path / "moved")
    assert load_head(other, moved).outputs({"image": np.zeros((3, 12, 10, 3), np.uint8)}).shape == (3, 2)
    with pytest.raises(UserError, match="The head reads image; pass rows of 'image' too"):
        head.outputs({})


def test_protocols_that_train_nothing_have_no_head_to_keep(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(run, "--protocol", "knn,retrieval", "--keep") == 2
    assert "--keep: no head is trained by knn and retrieval; leave --keep out, or add" in capsys.readouterr().err
    assert not (run / "heads").exists()


@pytest.fixture
def kept(run: Path) -> Path:
    """A head that was kept."""
    assert evaluate(run, "--label", "sold", "--keep") == 0
    (path,) = (run / "heads").iterdir()
    return path


def changed(path: Path, **values: object) -> None:
    """Change what a head says of itself, or (`arrays`) its arrays, with checksums to suit."""
    with np.load(path / "arrays.npz") as file:
        arrays = dict(file)
    np.savez(path / "arrays.npz", **{**arrays, **values.pop("arrays", {})})
    (path / "head.json").write_text(json.dumps({**json.loads((path / "head.json").read_text()), **values}))
    write_checksums(path, [path / "head.json", path / "arrays.npz"])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda head: (head / "head.json").unlink(), "is no head of mmcl evaluate --keep"),
        (lambda head: (head / "checksums.json").unlink(), "checksums.json is missing; put a copy of it back"),
        (lambda head: (head / "arrays.npz").write_bytes(b""), "arrays.npz has 0 bytes, not"),
        (lambda head: (head / "arrays.npz").unlink(), "arrays.npz is missing; put a copy"),
        (lambda head: changed(head, format=2), "is of format 2, which this version does not read"),
        (lambda head: changed(head, head={"name": "forest"}), "head.json is damaged"),
        (lambda head: changed(head, of={}), "head.json is damaged"),
        (lambda head: changed(head, task={"name": "class", "label": "sold", "classes": 5}), "not those of 5 outputs"),
        (lambda head: changed(head, arrays={"more": np.zeros(2)}), "it holds 'more', which is no array of the head"),
        (lambda head: changed(head, arrays={"head/bias": np.zeros(9)}), "arrays.npz is damaged"),
        (lambda head: changed(head, fingerprint="another"), "pass the run that the head was trained on"),
        (lambda head: shutil.rmtree(head.parents[1] / "checkpoints" / "1"), "has no checkpoint of step 1"),
    ],
)  # fmt: skip
def test_a_head_that_is_damaged_or_of_another_run_is_refused(damage, sentence: str, kept: Path) -> None:
    damage(kept)
    with pytest.raises(UserError, match=sentence) as error:
        load_head(kept)
    assert "\n" not in str(error.value)


def test_a_damaged_head_is_kept_again(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kept / "arrays.npz").write_bytes(b"")
    assert evaluate(kept.parents[1], "--label", "sold", "--keep") == 0  # what the sentence says
    assert load_head(kept).trained.params["bias"].shape == (2,)


def test_a_store_that_moved_is_named_by_an_option(
    ads: Path, result: Result, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = Path(shutil.copytree(ads / "store", tmp_path / "elsewhere"))
    gone = tmp_path / "gone"
    origin = json.loads((run / "store.json").read_text())
    (run / "store.json").write_text(json.dumps({**origin, "directory": str(gone)}))
    (run / "checksums.json").unlink()
    assert evaluate(run, "--label", "sold") == 2
    error = capsys.readouterr().err
    assert f"the store {gone}, which does not exist; if it has moved, give its new path as --store." in error
    assert evaluate(run, "--label", "sold", "--store", str(moved)) == 0
    again = ["pretrain", "--config", "digits_mmcl", "--workdir", str(run), *(f"--config.{one}" for one in TINY)]
    assert main([*again, f"--config.data={gone}"]) == 2
    assert f"there is none at {gone}; if it has moved, say where it is with --config.data." in capsys.readouterr().err
    assert main([*again, f"--config.data={moved}"]) == 0


def test_progress_shows_the_mean_of_the_draws_that_are_done(ads: Path, result: Result) -> None:
    store = Store.open(ads / "store")
    options = EvaluationOptions(
        label="sold", protocols=("finetune",), baselines=(), draws=3, learning_rates=[0.01], max_epochs=1
    )
    scores = protocol.evaluate_runs([result.run], store, options, log=lambda line: None)
    data, source = LabelledStore.of(store, "sold"), Source("run", result.run)
    (job,) = jobs_of(source, [(data, "image")], options, {("sold", None): Hiding(data)})
    shown = so_far(job, scores[:2])
    mean = np.mean([score.metrics["log_loss"] for score in scores[:2]])
    assert shown.endswith(f"log_loss {mean:.3f} (mean of 2 of 3 draws)")


@pytest.mark.parametrize(
    "command",
    [
        ["generate", "dvm", "--out", "file/raw"],
        ["quickstart", "--out", "file/first"],
        ["reproduce", "mmcl/table1", "--data", "store", "--out", "file/tables"],
        ["prepare", "--table", "a.csv", "--images", ".", "--check", "--write-schema", "file/schema.json"],
        ["prepare", "--table", "a.csv", "--images", ".", "--check", "--write-schema", "folder"],
    ],
    ids=lambda command: " ".join(command[:1]),
)
def test_other_commands_check_where_they_write(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot be made, since file is a file" in error or "folder is a folder; name a file in it" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
