"""Every error about an unknown name suggests the name that is nearest to it."""

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import mmcl_jax as mj
from mmcl_jax import datasets
from mmcl_jax.api.snapshot import check_encoders
from mmcl_jax.cli.main import main
from mmcl_jax.config import input, load
from mmcl_jax.config.data import preset
from mmcl_jax.data.inputs import entry_of
from mmcl_jax.data.samplers import SAMPLERS
from mmcl_jax.data.samplers.base import Targets
from mmcl_jax.data.schema import Column
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.encoders import ENCODERS
from mmcl_jax.errors import UserError, check_name
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.reads import check_names
from mmcl_jax.objectives import TERMS, build_objective
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.table import require_columns
from mmcl_jax.reproduce.plan import choose_rows
from mmcl_jax.reproduce.tables import TABLES, find
from mmcl_jax.tasks import task_of
from mmcl_jax.text import nearest
from mmcl_jax.training.validate import check_config

pytestmark = pytest.mark.core

Call = Callable[[Store], object]
PAIR = (jnp.ones((2, 2)), jnp.ones((2, 2)))


def view_modality() -> None:
    config = load("digits_mmcl", ["data=x"])
    config.views.image.modality = "imge"
    check_config(config)


CASES: dict[str, tuple[Call, str]] = {
    "config key": (lambda s: load("digits_mmcl", ["batchsize=3"]), "batch_size"),
    "nested config key": (lambda s: load("digits_mmcl", ["encoders.image.chanels=3"]), "channels"),
    "experiment": (lambda s: load("digits_mcml"), "digits_mmcl"),
    "data of an experiment": (lambda s: load("mmcl/mmcl:digit"), "digits"),
    "preset": (lambda s: preset("cardiacs"), "cardiac"),  # type: ignore[arg-type]
    "encoder": (lambda s: load("digits_mmcl", ["encoders.image.name=resnet81"]), "resnet18"),
    "encoder's option": (lambda s: ENCODERS.spec("cnn", chanels=(4,)), "channels"),
    "term": (lambda s: load("digits_mmcl", ["objective.0.name=clipp"]), "clip"),
    "optimizer": (lambda s: load("digits_mmcl", ["optimizer.name=adamm_l2"]), "adam_l2"),
    "view of a term": (
        lambda s: build_objective((TERMS.spec("clip", between=("imge", "table")),), {"image": "", "table": ""}),
        "image",
    ),
    "modality of a view": (lambda s: view_modality(), "image"),
    "input option": (lambda s: input(mising="mean"), "missing"),
    "entry of an input": (lambda s: entry_of(s.schema, "imge", input()), "image"),
    "entry": (lambda s: s.read("train", ["imagee"]), "image"),
    "split": (lambda s: s.rows_of("tran"), "train"),
    "label": (lambda s: LabelledStore.of(s, "digt"), "digit"),
    "label of the sampler": (
        lambda s: SAMPLERS.factory("balanced")(targets=Targets(labels={"digit": np.arange(3)}), label="digits"),
        "digit",
    ),
    "column": (lambda s: require_columns(["file", "price"], ["Price "], "ads.csv"), "price"),
    "schema key": (lambda s: Declaration.from_json({"colums": {}}, "--schema"), "columns"),
    "request key": (lambda s: Request.from_json({"image_colum": "file"}), "image_column"),
    "kind of an entry": (
        lambda s: Request.from_json({"entries": {"t1": {"kind": "volum", "file": "a"}}}), "volume",
    ),
    "key of an entry": (
        lambda s: Request.from_json({"entries": {"pgs": {"kind": "vector", "fil": "a.csv"}}}), "file",
    ),
    "data set's option": (lambda s: datasets.make("dvm", Path("x"), ["min_add=3"]), "min_ads"),
    "protocol": (lambda s: EvaluationOptions(protocols=("prob",)), "probe"),
    "baseline": (lambda s: EvaluationOptions(baselines=("pixel",)), "pixels"),
    "input": (lambda s: check_names("imge", ["image"]), "image"),
    "input of the estimator": (lambda s: check_encoders(load("digits_mmcl"), "tabel"), "table"),
    "task": (lambda s: task_of([Column(name="a", kind="categorical", categories=("x", "y"))], "clas"), "class"),
    "table of a paper": (lambda s: find("mmcl/tabel1"), "mmcl/table1"),
    "method": (lambda s: choose_rows(TABLES["mmcl/table1"], ["simcrl"]), "simclr"),
    "execution": (lambda s: mj.pairs.contrast(*PAIR, execution="gatherd"), "gathered"),
    "denominator": (lambda s: mj.pairs.contrast(*PAIR, denominator="al"), "all"),
    "order": (lambda s: mj.runs(".", sort="scor"), "score"),
    "state": (lambda s: mj.runs(".", state="finish"), "finished"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_the_nearest_name_is_suggested(kind: str, digits_store: Store) -> None:
    call, name = CASES[kind]
    with pytest.raises((UserError, ValueError)) as caught:
        call(digits_store)
    assert f" (did you mean {name!r}?)" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["pretran"], "pretrain"),
        (["evaluate", "--run", "x", "--protocl", "knn"], "--protocol"),
        (["evaluate", "--run", "x", "--checkpoint", "lates"], "latest"),
        (["generate", "cardiak", "--out", "x"], "cardiac"),
        (["prepare", "--aspect", "crops"], "crop"),
        (["pretrain", "--config", "digits_mmcl", "--workdir", "x", "--conf.seed=3"], "--config."),
    ],
)
def test_the_command_line_suggests_commands_options_and_choices(
    words: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(words)
    assert leaving.value.code == 2
    assert f"(did you mean {name!r}?)" in capsys.readouterr().err


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    assert nearest("xyzzy", ["image", "table"]) == nearest("image", []) == ""
    with pytest.raises(UserError, match=r"^--task: there is no task 'xyzzy'; choose from class, number\.$"):
        check_name("xyzzy", ["class", "number"], "--task: there is no task")
    with pytest.raises(UserError, match=r"has no label 'xyzzy'; it has none\.$"):
        check_name("xyzzy", [], "The store has no label", "it has")
