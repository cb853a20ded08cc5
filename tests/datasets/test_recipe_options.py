"""Every documented option of every recipe: it prepares a tiny data set, on which an epoch can be trained."""

import typing
from collections import defaultdict
from pathlib import Path

import jax
import numpy as np
import pytest

from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.datasets import RECIPES, make
from mmcl_jax.datasets.dvm.recipe import GROUPS
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.synthetic.cars.generator import generate_dvm
from mmcl_jax.synthetic.hearts.generator import generate_cardiac
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.step.train_step import check_step, make_step

TINY = (
    "epochs=1", "schedule.warmup_epochs=0", "monitor.epochs=None", "batch_norm.group_size=4", "encoders.image.name=cnn",
    "encoders.image.channels=(4, 8)", "encoders.table.hidden=16", "encoders.table.features=8",
    "projectors.table.hidden=8", "projectors.image.hidden=8",
)  # fmt: skip

# (recipe, config that the docs name for it, options). RAW is the folder of the recipe's files.
RUNS = (
    ("dvm", "mmcl/mmcl:dvm", {"columns": "all", "min_ads": "12", "physical_jitter": "50", "seed": "2022"}),
    ("dvm", "mmcl/mmcl:dvm", {"columns": "morphometric", "min_ads": "12", "ids": "RAW/ids"}),
    ("dvm", "mmcl/mmcl:dvm", {"columns": "non-morphometric", "min_ads": "15", "physical_jitter": "0", "seed": "1"}),
    ("cardiac", "mmcl/mmcl:cardiac", {
        "target": "cad", "code_list": "released", "channels": "es-mid-ed", "clip": "99.0", "split_as": "paper",
        "visits": "(2, 0)", "ethnicity": "1001",
    }),
    ("cardiac", "mmcl/mmcl:cardiac", {
        "target": "infarction", "code_list": "paper", "channels": "es-ed", "clip": "None", "split_as": "notebook",
        "visits": "(2,)", "ethnicity": "None", "es_share": "0.35", "min_coverage": "0.5", "seed": "1",
    }),
    ("tfds", "mmcl/mmcl:digits", {"image": "image", "label": "label", "cache": "RAW/files"}),
    ("tfds", "mmcl/mmcl:digits", {"data_dir": "RAW", "label": "", "cache": "RAW/files"}),
    ("measured", "mmcl/mmcl:digits", {}),
)  # fmt: skip


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, digits_store: Store) -> dict[str, tuple[Path, Path]]:
    """Return, by recipe, the folder of its files and the value of --root."""
    made = {name: tmp_path_factory.mktemp("raw") / name for name in ("dvm", "cardiac", "measured")}
    generate_dvm(made["dvm"], models=6, ads=260, image_size=32, min_ads=12)
    generate_cardiac(made["cardiac"], subjects=90)
    roots = {name: (folder, folder) for name, folder in made.items()}
    return {**roots, "tfds": (tmp_path_factory.mktemp("tfds"), digits_store.directory)}


# Compiling takes long, so further options with the same kinds of pictures are traced, and their batches looked at.
TRAINED = [
    next(index for index, run in enumerate(RUNS) if run[0] == name) for name in dict.fromkeys(r[0] for r in RUNS)
]
TRAINED += [index for index, run in enumerate(RUNS) if run[2].get("channels") == "es-ed"]


@pytest.mark.parametrize("index", range(len(RUNS)), ids=lambda index: f"{RUNS[index][0]}-{index}")
def test_an_epoch_is_trained(index: int, raw: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    name, config, options = RUNS[index]
    folder, root = raw[name]
    written = [f"{key}={value.replace('RAW', str(folder))}" for key, value in options.items()]
    recipe = make(name, root, written)
    kept = "keep" if name == "tfds" else "quarantine"  # the digits have been divided already, and some are alike
    store = prepare(Request(max_bad=0.2, duplicates=kept), tmp_path / "store", recipe=recipe)
    sizes = ["batch_size=32", "views.image.size=(16, 16)", f"data={store.directory}"]
    small = [key for key in TINY if not (config.endswith("digits") and key.startswith("encoders.image.name"))]
    resolved, device = load(config, [*small, *sizes]), jax.devices()[:1]
    if index in TRAINED:
        result = pretrain(resolved, tmp_path / "run", devices=device, log=lambda sentence: None)
        assert result.step == store.sizes["train"] // 32 >= 1
    else:
        experiment = build_experiment(resolved, store, device)
        assert experiment.batches.steps == store.sizes["train"] // 32 >= 1
        check_step(make_step(experiment), *experiment.shapes())
        assert all(np.isfinite(experiment.batches[step]["table"]).all() for step in range(experiment.batches.steps))
    if name == "cardiac":
        assert store.schema.image.channels == (3 if options["channels"] == "es-mid-ed" else 2)


def test_every_option_and_every_choice_is_in_a_run() -> None:
    tried: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, _, options in RUNS:
        for key, value in options.items():
            tried[name][key].add(value)
    # No options, or those of their own tests.
    elsewhere = {"measured", "membranes", "multabench", "fundus", "aptos", "rfmid", "palm", "oasis"}
    elsewhere |= {"two_view_mnist", "fashion_mnist", "mnist_svhn", "mimic_cxr"}
    elsewhere |= {"rsna", "siim", "covid_rural", "object_cxr", "nih_boxes", "ms_cxr"}
    assert set(tried) | elsewhere == set(RECIPES.names())
    for name in tried:
        hints = typing.get_type_hints(RECIPES.factory(name))
        for option in set(RECIPES.options(name)) - {"root", "label_as_feature"}:
            assert option in tried[name], f"{name}: no run has the option {option}"
            if typing.get_origin(hints[option]) is typing.Literal:
                assert tried[name][option] == set(typing.get_args(hints[option]))
    assert tried["dvm"]["columns"] == set(GROUPS)
