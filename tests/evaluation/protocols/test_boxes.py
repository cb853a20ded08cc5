"""Detection from a store to scores, kept heads and the report: YOLO on a frozen encoder, and trained with it."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax.cli.main import main
from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.kept import load_head
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.protocols.tuning import Tuning
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.report.sections.dense import chosen, drawn
from mmcl_jax.report.sections.predictions import predictions
from mmcl_jax.report.subject import groups_of, subjects_of
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run

SIZE, PATIENTS = 16, 40


def draw(folder: Path) -> Request:
    """Write grey films, each with a white square of 4 to 6 pixels, or with none; some lack boxes or the second film."""
    rng, rows, boxes = np.random.default_rng(0), [], []
    (folder / "films").mkdir()
    for patient in range(PATIENTS):
        film = rng.integers(40, 70, (SIZE, SIZE), np.uint8)
        rows.append({"key": f"p{patient:02d}", "age": 40 + patient})
        side, left, top = 4 + patient % 3, *rng.integers(1, 10, 2).tolist()
        drawn = patient % 5 != 1
        if drawn:
            film[top : top + side, left : left + side] = 255
        Image.fromarray(film).save(folder / "films" / f"p{patient:02d}.png")
        if patient % 13 != 12:  # three are not annotated
            corners = (left, top, left + side, top + side, "opacity") if drawn else (None,) * 5
            boxes.append(
                dict(zip(("key", "x0", "y0", "x1", "y1", "class"), (f"p{patient:02d}", *corners), strict=True))
            )
    pl.DataFrame(rows).write_csv(folder / "films.csv")
    pl.DataFrame(boxes).write_csv(folder / "boxes.csv")
    film = {"kind": "image", "folder": f"{folder}/films", "files": "{key}.png", "channels": 1}
    return Request(
        table=folder / "films.csv",
        key_column="key",
        split=(0.5, 0.25, 0.25),
        entries={"image": film, "other": film},
        targets={"lesions": {"kind": "boxes", "of": "image", "file": f"{folder}/boxes.csv", "key": "key"}},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("boxes")
    store = prepare(draw(root), root / "store")
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "films", str(store.directory), 16, 1
    config.monitor.epochs, config.batch_norm.group_size = 9, 8
    config.inputs = {"image": input(), "other": input()}
    config.views = {"first": view("augment"), "second": view("augment"), "third": view("augment", modality="other")}
    config.encoders = {name: encoder("cnn", channels=(8, 16, 32)) for name in ("image", "other")}
    config.projectors = {name: projector("mlp", hidden=8, out=8) for name in ("image", "other")}
    config.objective = (term("nt_xent", between=("first", "second"), temperature=0.1),)
    config.optimizer = optimizer("adam_l2")
    config.schedule = schedule("warmup_cosine", warmup_epochs=0)
    return pretrain(config, root / "run", log=lambda line: None).run


def scores_of(run: Run, **options: object) -> list:
    defaults = {"label": "lesions", "learning_rates": [1e-2], "max_epochs": 2, "draws": 1, "baselines": ()}
    return evaluate_runs([run], run.store(), EvaluationOptions(**{**defaults, **options}), log=lambda line: None)


def test_yolo_is_evaluated_and_kept_from_the_command_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frozen and fine-tuned after a warm-up of the head; what was kept finds the boxes that were scored."""
    command = ["evaluate", "--run", str(run.directory), "--label", "lesions", "--head", "yolo", "--baselines", ""]
    command += ["--protocol", "probe,finetune", "--seeds", "2", "--learning-rates", "1e-2", "--max-epochs", "10"]
    command += ["--schedule", "plateau", "--frozen-steps", "3", "--batch-size", "16", "--weight-decay", "1e-6"]
    command += ["--out", str(tmp_path / "results.json"), "--keep", str(tmp_path / "heads")]
    assert main(command) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "YOLO on the frozen encoder on images, test mean average precision (released)" in printed
    assert "Fine-tuning on images, test FROC sensitivity" in printed
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["scores"]) == 4
    data, store = LabelledStore.of(run.store(), "lesions"), run.store()
    images = {"image": np.asarray(store.read("test", ["image"])["image"][data.rows["test"]])}
    heads = [load_head(folder) for folder in sorted((tmp_path / "heads").iterdir())]
    assert len(heads) == 4
    before = np.asarray(run.model().encoders["image"].convs[0].kernel[...])
    outputs = []
    for head in heads:
        outputs.append(head.outputs(images))
        assert head.trained.task.scales.grids == ((2, 2), (4, 4), (8, 8))
        assert head.trained.task.scales.frame == (0, 0, SIZE, SIZE)
        metrics = head.trained.task.metrics(outputs[-1], data.targets["test"])
        for name in ("map_released", "map_coco", "froc"):
            assert metrics[name] == pytest.approx(head.score.metrics[name], abs=1e-4)
        kernel = np.asarray(head.trained.encoder.params["image"]["convs"][0]["kernel"])
        assert np.array_equal(kernel, before) == (head.score.protocol == "probe")
    assert not np.array_equal(outputs[0], outputs[1])  # seeds differ
    assert max(head.score.metrics["froc"] for head in heads) > 0.5


def test_the_report_draws_what_a_kept_head_finds(run: Run) -> None:
    scores_of(run, keep=True, max_epochs=1, tuning=Tuning(head="yolo", batch_size=16, weight_decay=1e-6))
    page = str(predictions(groups_of(subjects_of([run], store=None, most=50))))
    assert "True boxes are green, those found orange" in page
    some = ~np.isnan(LabelledStore.of(run.store(), "lesions").targets["test"][:, 0, 0])
    assert page.count('<img src="data:image/png') == len(chosen(some)) > 0
    assert page.count(">1 box; ") == int(some[chosen(some)].sum())
    image, found = np.full((SIZE, SIZE, 1), 9, np.uint8), np.array([[2.0, 2, 12, 12, 0, 0.9]])
    picture = drawn(image, np.array([[4.0, 4, 8, 8, 0], [np.nan] * 5]), found)
    scale = 168 / SIZE
    at = lambda x, y: picture[round(y * scale), round(x * scale)].tolist()  # noqa: E731
    assert at(2.05, 7) == [255, 150, 30]
    assert at(4.05, 6) == [90, 220, 120]
    assert at(6, 6) == at(0, 0)


def test_a_budget_may_be_the_first_rows(run: Run) -> None:
    data = LabelledStore.of(run.store(), "lesions")
    count = len(data.rows["train"])
    assert data.draws(Budget(fraction=0.5, first=True), seed=3, count=4).tolist() == [list(range(round(count / 2)))]
    assert str(Budget(fraction=0.5, first=True)) == "first 50 %"


def test_images_without_boxes_are_background_and_those_without_annotation_are_left_out(run: Run) -> None:
    data = LabelledStore.of(run.store(), "lesions")
    rows = {split: run.store().sizes[split] for split in ("train", "val", "test")}
    assert sum(len(data.rows[split]) for split in rows) == sum(rows.values()) - 3
    empty = [np.isnan(data.targets[split][:, 0, 0]).sum() for split in rows]
    assert sum(empty) > 0
    assert data.classes == {"lesions": ("opacity",)}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"protocols": ("unet",)}, "--protocol unet: the label 'lesions' is boxes, which a YOLO predicts"),
        ({"tuning": Tuning(head="unet")}, "--head unet: the label 'lesions' is boxes; use --head yolo"),
        ({"task": "masks"}, "--task masks: the label 'lesions' is boxes; choose --task detection, detection_coco"),
        ({"inputs": ("image+other",)}, r"--input image\+other: boxes 'lesions' are predicted from one image"),
        ({"inputs": ("other",)}, "--input other: the boxes 'lesions' lie in the image 'image', and .* reads 'other'"),
        ({"tuning": Tuning(anchors="corrected")}, "--anchors: probe has no such setting; .*--head yolo"),
        (
            {"protocols": ("finetune",), "tuning": Tuning(frozen_steps=2), "schedule": "one_cycle"},
            "--frozen-steps: a cycle of rates freezes nothing",
        ),
    ],
    ids=["unet", "head", "task", "two inputs", "other image", "anchors", "cycle"],
)
def test_what_does_not_fit_is_one_sentence(run: Run, options: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        scores_of(run, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"head": "linear"}, "--head: there is no head 'linear'"),
        ({"anchors": "mine"}, "--anchors: there is no set 'mine'"),
        ({"frozen_steps": -1}, "--frozen-steps: must be 0 or above"),
        ({"frozen_steps": 1, "frozen_epochs": 1}, "--frozen-steps: the encoder is frozen for batches or for epochs"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Tuning(**options)
