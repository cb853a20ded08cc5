"""Configs: names, overrides, and errors."""

import json
from pathlib import Path

import pytest

from mmcl_jax.config import experiments, load, term, unions
from mmcl_jax.data.inputs import OPTIONS, TABLE_OPTIONS
from mmcl_jax.errors import UserError
from mmcl_jax.training.runs.plain import from_plain, to_plain
from mmcl_jax.training.runs.renamed import translated

pytestmark = pytest.mark.core

GOLDEN = Path(__file__).parent / "golden"
# Those that are chosen from a store are in `test_own.py`.
# Of the unions of the taxonomy, one stands for all: `test_taxonomy.py` has the others.
NAMES = [
    name
    for name in experiments()
    if not name.endswith(":own") and name.partition(":")[0] not in {f"taxonomy/{union}" for union in unions()[:-1]}
]


@pytest.mark.parametrize("name", NAMES)
def test_the_resolved_experiment_is_the_reviewed_one(name: str) -> None:
    """A changed default fails here. After a deliberate change, write the golden file again as the message says."""
    resolved = json.dumps(to_plain(load(name)), indent=2) + "\n"
    path = golden(name)
    hint = f"python -c \"from tests.config.test_load import write; write('{name}')\""
    assert path.is_file(), hint
    assert resolved == path.read_text(), hint


def golden(name: str) -> Path:
    """Return the path of an experiment's golden file."""
    return GOLDEN / f"{name.replace(':', '/')}.json"


def write(name: str) -> None:
    """Write the golden file of an experiment."""
    golden(name).parent.mkdir(exist_ok=True, parents=True)
    golden(name).write_text(json.dumps(to_plain(load(name)), indent=2) + "\n")


@pytest.mark.parametrize("name", NAMES)
def test_configs_survive_json(name: str) -> None:
    config = load(name)
    again = from_plain(json.loads(json.dumps(to_plain(config))))
    assert to_plain(again) == to_plain(config)
    assert again.objective[0].between == config.objective[0].between


def test_overrides_reach_every_kind_of_key() -> None:
    config = load(
        "mmcl",
        [
            "batch_size=64",
            "data=stores/007",
            "schedule.learning_rate=1",
            "views.image.crop_scale=(0.2, 1.0)",
            "views.image.size=(64, 64)",
            "objective.0.temperature=0.5",
            "encoders.image.stem=cifar",
            "batch_norm.group_size=None",
        ],
    )
    assert (config.batch_size, config.data) == (64, "stores/007")
    assert config.schedule.learning_rate == 1
    assert config.views.image.crop_scale == (0.2, 1.0)
    assert config.views.image.size == (64, 64)
    assert config.objective[0].temperature == 0.5
    assert config.encoders.image.stem == "cifar"
    assert config.batch_norm.group_size is None


def test_a_new_name_brings_its_own_options() -> None:
    config = load("mmcl", ["encoders.image.width=0.5", "encoders.image.name=resnet18"])
    assert to_plain(config.encoders.image) == {
        "name": "resnet18",
        "pixels": "unit",
        "remat": "none",
        "stem": "imagenet",
        "width": 0.5,
    }
    config = load("mmcl", ["projectors.table.name=linear", "projectors.table.out=32"])
    assert to_plain(config.projectors.table) == {"name": "linear", "out": 32}


def test_a_run_of_an_earlier_version_keeps_the_form_of_its_fusion() -> None:
    """Its config does not have the option, whose default came later; a config that has it keeps it."""
    plain = to_plain(load("tip/tip:digits"))
    assert translated(plain)["encoders"]["fusion"]["form"] == "tip"
    del plain["encoders"]["fusion"]["form"]
    assert translated(plain)["encoders"]["fusion"]["form"] == "symmetric"


def test_a_run_of_an_earlier_version_keeps_its_alignment_without_a_norm() -> None:
    plain = to_plain(load("mmcl/mmcl:digits"))
    plain["objective"] = [to_plain(term("local_alignment")), to_plain(term("clip"))]
    assert translated(plain)["objective"][0]["normalise"] == "batch"
    for option in ("positives", "weighting", "sides", "normalise", "padding"):
        del plain["objective"][0][option]
    for option in ("within", "text"):
        del plain["objective"][1][option]
    old = from_plain(translated(json.loads(json.dumps(plain)))).objective
    assert to_plain(old[0]) == to_plain(term("local_alignment", normalise="none"))
    assert to_plain(old[1]) == to_plain(term("clip"))


def test_names_of_projectors_may_have_dots(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from mmcl_jax.config import experiment, projector\n"
        "def get_config():\n"
        "    config = experiment()\n"
        "    config.projectors = {name: projector('mlp') for name in ('image', 'image.local', 'image.local:pgs')}\n"
        "    config.predictors['image.local:pgs'] = projector('mlp')\n"
        "    return config\n"
    )
    overrides = [
        "projectors.image.out=1", "projectors.image.local.out=2", "projectors.image.local:pgs.out=3",
        "projectors.image.local:pgs.name=linear", "predictors.image.local:pgs.hidden=4",
    ]  # fmt: skip
    config = load(str(path), overrides)
    again = from_plain(json.loads(json.dumps(to_plain(config.copy_and_resolve_references()))))
    assert to_plain(again) == to_plain(config)
    assert [again.projectors[name].out for name in ("image", "image.local", "image.local:pgs")] == [1, 2, 3]
    assert (again.projectors["image.local:pgs"].name, again.predictors["image.local:pgs"].hidden) == ("linear", 4)
    with pytest.raises(UserError, match=r"config.projectors.image.loca: there is no such key"):
        load(str(path), ["projectors.image.loca.out=5"])


def test_a_config_file_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from mmcl_jax.config import load\ndef get_config(): return load('mmcl', ['epochs=3'])\n")
    assert load(str(path)).epochs == 3


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("batchsize=3", r"config.batchsize: there is no such key \(did you mean 'batch_size'\?\)"),
        ("encoders.image.widht=2", r"config.encoders.image.widht: there is no such key \(did you mean 'width'\?\)"),
        ("xyzzy=3", "config.xyzzy: there is no such key; the keys are average, batch_norm, batch_size"),
        ("objective.1.weight=3", "config.objective.1: config.objective has entries 0 to 0"),
        ("seed.x=3", "config.seed.x: config.seed has no keys below it"),
        ("encoders=3", "config.encoders: this is a group of keys"),
        ("objective=3", "config.objective: this is a group of keys"),
        ("epochs", "config.epochs: this override has no value; write --config.epochs=VALUE"),
        ("encoders.image.name=swin", "config.encoders.image.name: there is no encoder 'swin'; choose from bert"),
    ],
)
def test_bad_overrides_are_refused_by_name(override: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load("mmcl", [override])


OLD = {
    "missing": "mean", "outside": "clip", "columns": "all", "label_as_feature": True,
    "input.images": "mapped", "input.workers": 0,
}  # fmt: skip


@pytest.mark.parametrize("key", OLD)
def test_an_old_key_ends_with_the_name_that_it_has_now(key: str, tmp_path: Path) -> None:
    now = f"loader.{key.partition('.')[2]}" if "." in key else f"inputs.table.{key}"
    with pytest.raises(UserError, match=rf"^config.{key}: this key was renamed; write config.{now}.$"):
        load("mmcl", [f"{key}={OLD[key]}"])
    assert load("mmcl", [f"{now}={OLD[key]}"])
    path = tmp_path / "mine.py"
    path.write_text(
        f"from mmcl_jax.config import load\ndef get_config():\n    config = load('mmcl')\n"
        f"    config.{key} = {OLD[key]!r}\n    return config\n"
    )
    first = key.partition(".")[0]
    with pytest.raises(UserError, match=rf"mine.py: config.{first}: this key was renamed; write config\S+.$"):
        load(str(path))


@pytest.mark.parametrize("name", ["digits_mmcl", "digits_simclr", "mmcl/scarf:digits", "mmcl/laaf:digits"])
def test_the_config_of_an_old_run_is_the_experiment_of_today(name: str) -> None:
    today = to_plain(load(name))
    old = {key: value for key, value in today.items() if key not in ("inputs", "loader", "cohort", "fold")}
    table = {key: value for key, value in today["inputs"].get("table", OPTIONS).items() if key in TABLE_OPTIONS}
    assert translated({**old, **table, "input": today["loader"]}) == today
    assert translated(today) == today


def test_no_such_config(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"no config 'mmlc' \(did you mean 'mmcl'\?\): .*mmcl/{barlow_twins, byol, .*}, .*digits_mmcl, .*, simclr",
    ):
        load("mmlc")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UserError, match=r"has no function get_config"):
        load(str(tmp_path / "empty.py"))
