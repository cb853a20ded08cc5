"""LoVT's tables: settings that the protocols take, the analyses of a run whose place of findings is known, and rows."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.reproduce.analyses.aligned import aligned
from mmcl_jax.reproduce.analyses.raw import Raw
from mmcl_jax.reproduce.plan import choose_columns
from mmcl_jax.reproduce.run import Reproduction, _with_weights
from mmcl_jax.reproduce.spec import ALIGNMENT
from mmcl_jax.reproduce.tables import TABLES, lovt
from mmcl_jax.reproduce.work.given import raw_of
from mmcl_jax.training.runs.run import Run
from tests.evaluation.alignment.world import begun, knowing, prepared


def test_every_column_has_settings_that_its_protocol_takes() -> None:
    for name in ("rsna", "other", "ablation"):
        for column in TABLES[f"lovt/{name}"].columns:
            EvaluationOptions(
                protocols=(column.protocol,), label=column.label, task=column.task,
                budgets=(column.budget(balanced=False),), learning_rates=column.learning_rates,
                max_epochs=column.max_epochs, **column.options,
            )  # fmt: skip
            assert column.store in ("rsna", "covid_rural", "siim", "object_cxr", "nih_boxes")
    shares = {str(column.budget(balanced=False)) for column in lovt.RSNA_COLUMNS}
    assert shares == {"all", "first 10 %", "first 1 %"}


def test_the_papers_numbers_and_claims() -> None:
    rsna, ablation, analysis = (TABLES[f"lovt/{name}"] for name in ("rsna", "ablation", "analysis"))
    assert str(rsna.row("lovt").published["LOVT"]["yolo-frozen-10"]) == "16.4"
    assert str(rsna.row("lovt_convirt").published["LOVT"]["linear-1"]) == "44.6"
    assert ablation.row("lovt_hard").published["LOVT"]["yolo-frozen-10"].mean == 15.6
    # LoVT on 30 % of MIMIC-CXR, as its variants are
    assert analysis.row("lovt").published["LOVT"]["std"].mean == pytest.approx(0.0168 * math.sqrt(2048))
    (collapse,) = analysis.claims[0].contrasts
    # log(.0049 / .0158) - log(.0002 / .0169) - log 5: 26 times smaller in the paper
    assert math.exp(collapse.published["LOVT"]) * 5 == pytest.approx(26.2, rel=0.01)


def test_each_part_of_lovt_is_judged_by_yolo_and_by_linear_segmentation() -> None:
    claims = TABLES["lovt/ablation"].claims
    by_column = {
        key: [claim for claim in claims if all(part[1] == key for one in claim.contrasts for part in one.weights)]
        for key in ("yolo-frozen-10", "linear-10")
    }
    yolo, linear = by_column.values()
    assert all(not claim.ours for claim in yolo)  # every part helps in the paper's ablation
    assert all(claim.ours for claim in linear)  # which has no linear segmentation
    pairs = [[[part[0] for part in claim.contrasts[0].weights] for claim in of] for of in (yolo, linear)]
    assert pairs[0] == pairs[1]
    assert ["lovt", "lovt_global"] in pairs[0]
    assert len(claims) == len(yolo) + len(linear)


def test_lovt_is_above_all_others_means_all() -> None:
    for name in ("rsna", "other"):
        table = TABLES[f"lovt/{name}"]
        others = {row.key for row in table.rows} - {"lovt"}
        for claim in table.claims:
            if "above all others" in claim.text:
                assert {row for one in claim.contrasts for row in one.rows} - {"lovt"} == others


def test_sentences_of_lovt_are_judged_against_chance() -> None:
    claim = next(one for one in TABLES["lovt/analysis"].claims if "by chance" in one.text)
    columns = [contrast.weights for contrast in claim.contrasts]
    assert columns == [(("lovt", "pointing_alignment", 1.0),), (("lovt", "pointing_cosine", 1.0),)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lovt") / "world"
    store, truth = prepared(folder)
    begun(folder / "run", store)
    (folder / "truth").mkdir()
    truth.rename(folder / "truth" / "findings.csv")
    return folder


def test_analyses_of_a_run(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "model", knowing)
    monkeypatch.setattr(Run, "step", lambda run: 30)
    run, table = Run.open(world / "run"), TABLES["lovt/analysis"]
    evaluation: Any = SimpleNamespace(row=lovt.LOVT, protocol=ALIGNMENT, input="image+report")
    score, details = aligned(evaluation, run, run.store(), Raw.open(world, table))
    metrics = score.metrics
    assert {column.metric for column in table.columns} <= set(metrics)
    assert details == {}
    assert metrics["pointing_alignment"] == metrics["pointing_cosine"] == pytest.approx(15 / 16)
    assert metrics["collapse"] == pytest.approx(math.log(metrics["std_centroid"] / metrics["std_within"]))


def test_pointing_needs_the_folder_of_the_truth(tmp_path: Path) -> None:
    table = TABLES["lovt/analysis"]
    kept, raw, lines = raw_of(table, None)
    assert raw is None
    assert len(table.columns) - len(kept.columns) == len(lines) == 2
    with pytest.raises(UserError, match=r"--raw: .*findings\.csv does not exist; name the folder that mmcl generate"):
        raw_of(table, tmp_path)


def test_columns_are_chosen_and_rows_without_weights_left_out(world: Path, tmp_path: Path) -> None:
    table = choose_columns(TABLES["lovt/rsna"], ("linear-10", "yolo-frozen-10"))
    assert [column.key for column in table.columns] == ["yolo-frozen-10", "linear-10"]
    with pytest.raises(UserError, match="--columns: lovt/rsna has no column 'yolo'"):
        choose_columns(table, ("yolo",))
    how: dict[str, Any] = {"table": table.name, "data": tmp_path, "out": tmp_path, "variant": "chest"}
    store: Any = SimpleNamespace(directory=world / "store")
    rows, lines = _with_weights((lovt.LOVT, lovt.IMAGENET), Reproduction(**how), store)
    assert rows == (lovt.LOVT,)
    assert lines == ["ImageNet is left out: the file of its initial weights, resnet18.pth, does not exist"]
    named = Reproduction(**how, methods=("lovt_imagenet",))
    assert _with_weights((lovt.IMAGENET,), named, store)[0] == (lovt.IMAGENET,)
