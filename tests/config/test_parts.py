"""Config files: complete, made of parts, with aliases as short names, and written by users like the shipped ones."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from mmcl_jax.config import Data, data_names, load, preset, shipped
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.step.train_step import check_step, make_step
from mmcl_jax.training.validate import check_config
from tests.config.test_own import CARS

pytestmark = pytest.mark.core

ALIASES = {
    "mmcl": "mmcl/mmcl:dvm",
    "simclr": "mmcl/simclr:dvm",
    "digits_mmcl": "mmcl/mmcl:digits",
    "digits_simclr": "mmcl/simclr:digits",
}
NAMED = [name for name in data_names() if name != "own"]


@pytest.mark.parametrize("name", sorted(set(shipped()) - set(ALIASES)))
def test_a_config_states_its_whole_experiment(name: str) -> None:
    """The file changes no other config, deletes no key, and copies no part of itself."""
    nodes = list(ast.walk(ast.parse(shipped()[name].read_text())))
    called = {ast.unparse(node.func).rpartition(".")[2] for node in nodes if isinstance(node, ast.Call)}
    assert not any(isinstance(node, ast.Delete) for node in nodes)
    assert not called & {"load", "alias", "pop", "items", "run_path"}
    stated = {
        ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    assert stated >= {"config.inputs", "config.views", "config.encoders", "config.objective"}


@pytest.mark.parametrize(("short", "long"), ALIASES.items())
def test_a_short_name_is_an_alias(short: str, long: str) -> None:
    """The experiment equals that of the long name, but runs and results have the short name."""
    docstring, _, line = map(ast.unparse, ast.parse(shipped()[short].read_text()).body)
    assert f"`{long}`" in docstring
    assert line == f"get_config = alias('{long}')"
    assert to_plain(load(short)) == {**to_plain(load(long)), "name": short}
    with pytest.raises(UserError, match="takes no argument 'cars'"):
        load(f"{short}:cars")


@pytest.mark.parametrize("data", [*NAMED, CARS], ids=[*NAMED, "own"])
def test_parts_of_a_preset_are_new_each_time(data: Data) -> None:
    """Changing a part of a config changes no other config."""
    base = preset(data)
    for make in (
        base.experiment, base.table_input, base.augment, base.corrupt, base.image_encoder, base.table_encoder,
        base.projector, base.table_resnet, base.image_resnet18,
    ):  # fmt: skip
        changed, before = make(), make()
        with changed.ignore_type():
            for key in changed:
                changed[key] = None
        assert changed != before
        assert make() == before


def test_a_preset_can_be_changed_and_an_unknown_one_is_named() -> None:
    base = dataclasses.replace(preset("digits"), epochs=7, learning_rate=0.5)
    config = base.experiment()
    assert (config.epochs, config.schedule.learning_rate, config.schedule.warmup_epochs) == (7, 0.5, 6)
    assert base.augment(flip=0.5).flip == 0.5
    assert base.augment().flip == 0.0
    with pytest.raises(
        UserError, match=r"no preset for the data 'photos'; choose from dvm, cardiac, digits, cars, membranes\."
    ):
        preset("photos")


def examples() -> list[str]:
    """Return the config files that the page about experiments shows."""
    page = Path(__file__).parents[2] / "docs" / "experiments.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [block for block in blocks if "def get_config" in block]


def test_the_page_shows_a_config_of_each_kind() -> None:
    assert ["data: Data" in text for text in examples()] == [False, True]


@pytest.mark.parametrize("text", examples(), ids=["alone", "of_any_data"])
def test_the_configs_of_the_page_can_be_trained(text: str, digits_store: Store, tmp_path: Path) -> None:
    """They are complete files outside of the checkout, and their step can be traced."""
    path, data = tmp_path / "mine.py", f"data={digits_store.directory}"
    path.write_text(text)
    for choice in data_names() if "data: Data" in text else ("",):
        config = load(f"{path}:{choice}".rstrip(":"), [data])
        check_config(config)
        assert config.name == "mine"
        if choice in ("", "digits"):
            experiment = build_experiment(config, digits_store)
            check_step(make_step(experiment), *experiment.shapes())
