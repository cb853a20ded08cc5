"""The tasks of ContIG on drawn eyes: grades, labels, masks, numbers and traits, two eyes of every person."""

from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from PIL import Image

import mmcl_jax as mj
from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.kept import heads_of, load_head
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.protocols.tuning import Tuning
from mmcl_jax.evaluation.results.per_row import unpacked
from mmcl_jax.evaluation.results.summary import detail_grids, grids
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.report.sections.dense import chosen, outlined
from mmcl_jax.report.sections.predictions import predictions
from mmcl_jax.report.subject import groups_of, subjects_of
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model

PEOPLE, SIZE = 40, 16
# ContIG's fine-tuning, with fewer rows and epochs.
CONTIG = Tuning(batch_size=16, accumulate=4, weight_decay=1e-5, patience=0, select="loss", augment="flip")
FAST = {"learning_rates": [1e-3], "max_epochs": 2, "draws": 1, "baselines": (), "protocols": ("finetune",)}


def quiet(line: str) -> None:
    """Drop what is said."""


def draw(folder: Path) -> dict:
    """Write eyes with a bright disc and a dark patch (atrophy) that some lack, and return the request."""
    rng = np.random.default_rng(0)
    for name in ("eyes", "discs", "patches"):
        (folder / name).mkdir()
    rows = []
    for person in range(PEOPLE):
        age, smokes = 40 + person % 30, person % 3 == 0
        for side in "lr":
            key, grade = f"p{person:02d}{side}", (person + (side == "r")) % 5
            eye = rng.integers(90, 130, (SIZE, SIZE, 3), np.uint8)
            disc, patch = np.zeros((2, SIZE, SIZE), np.uint8)
            disc[3 : 8 + grade, 4:9] = 255
            patch[6:12, 7 : 9 + person % 5] = 255 if person % 4 else 0
            eye[disc > 0] += 100
            eye[patch > 0] -= 80
            eye[0, : 3 * grade] = 255
            Image.fromarray(eye).save(folder / "eyes" / f"{key}.png")
            Image.fromarray(disc).save(folder / "discs" / f"{key}.png")
            if person % 7:
                Image.fromarray(patch).save(folder / "patches" / f"{key}.png")
            rows.append(
                {
                    "key": key, "person": person, "diagnosis": grade, "age": age if person % 6 else None,
                    "bmi": 20 + 10 * rng.random(), "sex": person % 2,
                    "smoking": None if person % 9 == 1 else int(smokes),
                    "DR": int(grade > 2), "MH": int(person % 4 > 0), "never": 0,
                }
            )  # fmt: skip
    pl.DataFrame(rows).write_csv(folder / "eyes.csv")
    table = {"file": f"{folder}/eyes.csv", "key": "key"}
    mask = {"kind": "mask", "of": "image", "files": "{key}.png"}
    return {
        "table": folder / "eyes.csv",
        "key_column": "key",
        "group_column": "person",
        "split": (0.5, 0.25, 0.25),
        "ignore": ("diagnosis", "age", "sex", "smoking", "DR", "MH", "never"),
        "entries": {"image": {"kind": "image", "folder": f"{folder}/eyes", "files": "{key}.png"}},
        "targets": {
            "diagnosis": {"kind": "ordinal", **table, "column": "diagnosis", "categories": ["0", "1", "2", "3", "4"]},
            "findings": {"kind": "multi-label", **table, "column": ["DR", "MH", "never"]},
            "age": {"kind": "number", **table, "column": "age"},
            "body": {"kind": "number", **table, "column": "bmi"},
            "sex": {"kind": "class", **table, "column": "sex"},
            "smoking": {"kind": "class", **table, "column": "smoking"},
            "disc": {**mask, "folder": f"{folder}/discs", "classes": {"background": 0, "disc": 255}},
            "atrophy": {**mask, "folder": f"{folder}/patches", "classes": {"background": 0, "atrophy": 255}},
        },
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A pretraining on the eyes alone."""
    root = tmp_path_factory.mktemp("eyes")
    store = prepare(Request(**draw(root)), root / "store")
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "eyes", str(store.directory), 16, 1
    config.monitor.epochs, config.batch_norm.group_size = 9, 8
    config.inputs = {"image": input()}
    config.views = {"first": view("augment"), "second": view("augment")}
    config.encoders = {"image": encoder("cnn", channels=(8, 16))}
    config.projectors = {"image": projector("mlp", hidden=8, out=8)}
    config.objective = (term("nt_xent", between=("first", "second"), temperature=0.1),)
    config.optimizer = optimizer("adam_l2")
    config.schedule = schedule("warmup_cosine", warmup_epochs=0)
    return pretrain(config, root / "run", log=quiet).run


def scores_of(run: Run, said: list[str] | None = None, **options: object) -> list:
    log = quiet if said is None else said.append
    return evaluate_runs([run], run.store(), EvaluationOptions(**{**FAST, **options}), log=log)


def people_of(run: Run) -> int:
    return len(np.unique(run.store().group("test")))


def test_tasks_of_rows_are_tuned_as_contig_does_and_their_intervals_are_of_people(run: Run, tmp_path: Path) -> None:
    """Grades decoded in both ways, labels of which one never occurs, numbers and traits that some people lack."""
    said: list[str] = []
    labels = ("diagnosis", "findings", "age+body", "sex+smoking")
    scores = scores_of(run, said, label=labels, tuning=CONTIG)
    scores += scores_of(run, label="diagnosis", task="ordinal_logits", tuning=CONTIG, keep=tmp_path / "heads")
    by_task = {score.task if score.label != "sex+smoking" else "traits": score for score in scores}
    assert set(by_task) == {"ordinal", "multi_label", "numbers", "traits", "ordinal_logits"}
    assert all(score.chosen["epoch"] in (1, 2) for score in scores)
    for score in scores:
        assert len(unpacked(score.rows)) == people_of(run) < len(run.store().rows_of("test")), score.task
    findings = by_task["multi_label"].metrics
    assert findings["labels_in_macro"] == 2
    assert findings["auroc_macro"] == pytest.approx((findings["auroc/DR"] + findings["auroc/MH"]) / 2)
    assert any("macro averages are over 2 of 3 labels" in line for line in said)
    notes = [grid.note for grid in grids(scores) if "findings" in grid.title]
    assert "Macro averages are over 2 of 3 labels" in notes[0]
    numbers, traits = by_task["numbers"].metrics, by_task["traits"].metrics
    assert numbers["standardised_mse_sum"] == pytest.approx(2 - numbers["r2/age"] - numbers["r2/body"])
    assert traits["auroc_macro"] == pytest.approx((traits["auroc/sex"] + traits["auroc/smoking"]) / 2)
    shown = [name for grid in detail_grids(scores) for name in grid.head]
    assert {"sum of MSE / variance", "kappa of batches of 16", "micro AUROC of batches of 16"} <= set(shown)
    rows = LabelledStore.of(run.store(), "age+body").targets["train"]
    assert np.isnan(rows).any()  # the ages of some are masked, and do not drop the row
    (folder,) = (tmp_path / "heads").iterdir()
    head = load_head(folder)
    images = np.asarray(head.source.inputs(run.store(), "test", "image"))
    grades = head.trained.task.grades(head.outputs({"image": images}))
    frame = mj.embed(run, store=run.store(), split="test", head=folder, out=tmp_path / "grades.parquet").to_frame()
    assert frame["prediction"].to_list() == [None if grade < 0 else str(grade) for grade in grades]
    assert frame["probabilities"].to_numpy().shape == (len(images), 5)


def test_disc_and_atrophy_are_learnt_by_a_u_net_and_kept(run: Run, tmp_path: Path) -> None:
    """Frozen epochs first, then everything with a new Adam; the kept U-Net predicts what was scored."""
    tuning = Tuning(batch_size=16, accumulate=2, patience=0, frozen_epochs=2, frozen_rate=1e-2)
    how = {"label": "disc+atrophy", "learning_rates": [1e-2], "max_epochs": 8, "keep": tmp_path / "heads"}
    scores = scores_of(run, protocols=("finetune", "unet"), tuning=tuning, **how)
    tuned, frozen = (next(score for score in scores if score.protocol == name) for name in ("finetune", "unet"))
    for score in scores:
        assert score.task == "masks"
        assert score.metrics["soft_dice"] > 0.4
        assert score.metrics["dice"] == pytest.approx((score.metrics["dice/disc"] + score.metrics["dice/atrophy"]) / 2)
        assert len(unpacked(score.rows)) == people_of(run)
    assert all(grid.head[2:] == ["iou", "dice/disc", "dice/atrophy"] for grid in detail_grids(scores))
    store = run.store()
    data = LabelledStore.of(store, "disc+atrophy")
    assert (data.targets["test"][..., 1] == -1).any()  # an eye without this mask
    before = {name: np.asarray(value) for name, value in flat(run.model().encoders["image"]).items()}
    for folder in (tmp_path / "heads").iterdir():
        head = load_head(folder)
        rows = {"image": np.asarray(head.source.inputs(store, "test", "image"))[data.rows["test"]]}
        outputs = head.outputs(rows)
        assert outputs.shape == (len(data.rows["test"]), SIZE, SIZE, 2)
        assert data.task.metrics(outputs, data.targets["test"])["soft_dice"] == pytest.approx(
            head.score.metrics["soft_dice"], abs=1e-5
        )
        encoder = {name: np.asarray(value) for name, value in paths(head.trained.encoder.params["image"]).items()}
        changed = [name for name, value in encoder.items() if not np.array_equal(value, before[name])]
        assert (len(changed) > 0) == (head.score.protocol == "finetune")
        with pytest.raises(UserError, match="predicts masks or boxes; mmcl embed writes what a whole row"):
            mj.embed(run, store=store, split="test", head=folder, out=tmp_path / "masks.parquet")
        with pytest.raises(UserError, match=r"--head: this head is a U-Net for 'disc\+atrophy', which is not exported"):
            mj.export(run, head=folder, out=tmp_path / "release")
    assert tuned.chosen["epoch"] > 2
    assert tuned.metrics != frozen.metrics


def test_a_linear_layer_on_the_last_map_is_trained_with_the_encoder_and_kept(run: Run) -> None:
    """By the Dice loss, as LoVT does; the kept head predicts what was scored, and the report draws it."""
    tuning = Tuning(batch_size=16, head="linear_segmentation")
    how = {"label": "disc", "task": "dice", "learning_rates": [1e-1], "max_epochs": 12, "keep": True}
    (score,) = scores_of(run, tuning=tuning, **how)
    assert score.task == "dice"
    assert score.metrics["dice"] == score.metrics["dice/disc"] > 0.5
    (folder,) = heads_of(run).iterdir()
    head = load_head(folder)
    assert head.trained.head.name == "linear_segmentation"
    data = LabelledStore.of(run.store(), "disc", "dice")
    rows = {"image": np.asarray(head.source.inputs(run.store(), "test", "image"))[data.rows["test"]]}
    again = data.task.metrics(head.outputs(rows), data.targets["test"])
    assert again["dice"] == pytest.approx(score.metrics["dice"], abs=1e-5)
    page = str(predictions(groups_of(subjects_of([run], store=None, most=50))))
    few = chosen((data.targets["test"] == 1).any(axis=(1, 2, 3)))
    assert page.count('<img src="data:image/png') == len(few) > 0
    outputs = head.outputs({"image": rows["image"][few]})
    pixels = [int((mask == 1).sum()) for mask in data.targets["test"][few]]
    for count, found in zip(pixels, (outputs > 0).sum(axis=(1, 2, 3)).tolist(), strict=True):
        assert f">{count} pixels; {found} found, " in page


def test_a_line_is_drawn_around_a_mask_and_around_what_was_found() -> None:
    image, true, found = np.full((8, 8, 1), 9, np.uint8), np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    true[0:3, 0:4] = found[5:8, 5:8] = True
    picture = outlined(image, true, found)  # 21 times as large
    assert [picture[y, x].tolist() for y, x in ((0, 0), (1, 40), (62, 30))] == [[90, 220, 120]] * 3
    assert [picture[y, x].tolist() for y, x in ((105, 110), (167, 167))] == [[255, 150, 30]] * 2
    assert picture[30, 40].tolist() == picture[64, 90].tolist() == picture[130, 130].tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"label": "disc+diagnosis"}, r"--label disc\+diagnosis: 'disc' is a task of its own"),
        ({"label": "disc+disc"}, r"--label disc\+disc: 'disc' is named twice"),
        (
            {"label": "disc+atrophy", "task": "segmentation"},
            r"the labels 'disc\+atrophy' are masks: choose --task masks or dice",
        ),
        ({"label": "disc+atrophy", "protocols": ("knn",)}, "--protocol knn: .* use --protocol probe, unet or finetune"),
        ({"label": "diagnosis", "protocols": ("unet",)}, "--protocol unet: the label 'diagnosis' is no mask"),
        (
            {"label": "age", "tuning": Tuning(head="unet")},
            "--head unet: the label 'age' is no mask and no boxes; leave the",
        ),
        ({"label": "disc", "protocols": ("probe",), "tuning": Tuning(head="unet")}, "use --protocol unet for a U-Net"),
        ({"label": "disc", "tuning": Tuning(anchors="corrected")}, "--anchors corrected: the label 'disc' is no boxes"),
        ({"label": "sex", "tuning": Tuning(anchors="corrected")}, "--anchors corrected: the label 'sex' is no boxes"),
    ],
    ids=["mixed", "twice", "task", "knn", "no mask", "head of a number", "unet probe", "anchors", "anchors of a class"],
)
def test_what_does_not_fit_is_one_sentence(run: Run, options: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        scores_of(run, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"accumulate": 3, "batch_size": 16}, "--accumulate: a batch of 16 does not divide into 3 slices"),
        ({"select": "kappa"}, "--select: heads cannot be selected by 'kappa'"),
        ({"frozen_rate": 0.1}, "--frozen-rate: no epoch is frozen"),
        ({"weight_decay": float("nan")}, "--weight-decay: must be 0 or above, not nan"),
    ],
)
def test_settings_out_of_range_are_named(options: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Tuning(**options)


def test_settings_without_a_training_are_refused() -> None:
    with pytest.raises(UserError, match="--patience: probe has no such setting"):
        EvaluationOptions(tuning=Tuning(patience=3))
    with pytest.raises(UserError, match="--frozen-epochs: unet trains no encoder"):
        EvaluationOptions(protocols=("unet",), tuning=Tuning(frozen_epochs=3))
    with pytest.raises(UserError, match="--schedule metric_plateau: --select loss measures no metric on validation"):
        EvaluationOptions(protocols=("finetune",), schedule="metric_plateau", tuning=Tuning(select="loss"))
    assert Tuning().changed == {}
    assert Tuning().settings(dense=True, scratch=False)["batch_size"] == 16
    assert Tuning(frozen_epochs=9).settings(dense=True, scratch=True)["frozen_epochs"] == 0


def paths(tree: dict) -> dict:
    """The arrays of a tree by their paths."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def flat(module: object) -> dict:
    """The parameters of a module by their paths."""
    return paths(split_model(module)[0])
