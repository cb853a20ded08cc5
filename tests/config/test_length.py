"""The length of a training: the warm-up that fits it, and when a run can be lengthened."""

from pathlib import Path

import pytest

from mmcl_jax.cli.main import main
from mmcl_jax.config import experiments, load
from mmcl_jax.config.length import keep_warmup
from mmcl_jax.errors import UserError
from mmcl_jax.files import damage
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.optim.schedules import SCHEDULES
from mmcl_jax.training.runs.run import Run
from tests.config.test_load import NAMES
from tests.config.test_own import CARS
from tests.training.test_loop import bits, losses, quiet, stop_at


@pytest.mark.parametrize("epochs", [1, 4, 30])
@pytest.mark.parametrize("name", [*NAMES, *(name for name in experiments() if name.endswith(":own"))])
def test_any_experiment_can_be_made_shorter(name: str, epochs: int) -> None:
    """The warm-up keeps its share of the training, with a log line; without a shorter training it does not change."""
    said: list[str] = []
    data = CARS if name.endswith(":own") else None
    whole, config = load(name, data=data), load(name, [f"epochs={epochs}"], data=data, log=said.append)
    SCHEDULES.build(config.schedule, "config.schedule", epochs=config.epochs, steps_per_epoch=10)
    if "warmup_epochs" not in config.schedule:
        assert said == []
        return
    expected = whole.schedule.warmup_epochs
    if epochs < whole.epochs:
        expected = min(round(expected * epochs / whole.epochs), epochs - 1)
    assert config.schedule.warmup_epochs == expected
    assert len(said) == (expected != whole.schedule.warmup_epochs)
    assert all(f"warm-up of {expected} epochs instead of {whole.schedule.warmup_epochs}" in line for line in said)


def test_a_warm_up_that_is_given_is_kept_or_refused(tiny_config, tmp_path: Path) -> None:
    said: list[str] = []
    for order in (["epochs=4", "schedule.warmup_epochs=3"], ["schedule.warmup_epochs=3", "epochs=4"]):
        assert load("digits_mmcl", order, log=said.append).schedule.warmup_epochs == 3
    assert said == []
    with pytest.raises(UserError, match=r"warmup_epochs must lie in \[0, 4\), the training's epochs, not 8"):
        pretrain(tiny_config("digits_mmcl", "epochs=4", "schedule.warmup_epochs=8"), tmp_path / "run")


@pytest.mark.parametrize("value", ["0", "-3", "many", "2.5", "True"])
def test_lengths_that_are_none_are_left_to_the_check(value: str, tiny_config, tmp_path: Path) -> None:
    config = load("digits_mmcl", [f"epochs={value}"])
    assert config.schedule.warmup_epochs == load("digits_mmcl").schedule.warmup_epochs
    with pytest.raises(UserError, match=r"config\.epochs"):
        pretrain(tiny_config("digits_mmcl", f"epochs={value}"), tmp_path / "run")


def test_the_command_says_it_and_a_run_of_an_earlier_version_keeps_its_own(
    digits_store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = [
        "pretrain", "--config", "digits_simclr", f"--config.data={digits_store.directory}", "--config.epochs=2",
        "--config.batch_size=256", "--config.batch_norm.group_size=8", "--config.encoders.image.channels=(4, 8)",
        "--config.monitor.epochs=None", "--workdir", str(run),
    ]  # fmt: skip
    assert main(command) == 0
    default = load("digits_simclr")
    shorter = round(default.schedule.warmup_epochs * 2 / default.epochs)
    assert f"warm-up of {shorter} epochs instead of {default.schedule.warmup_epochs}, in" in capsys.readouterr().out
    assert Run.open(run).config.schedule.warmup_epochs == shorter
    assert main(command) == 0
    begun = load("digits_simclr", ["epochs=30", "schedule.warmup_epochs=8"])
    config = load("digits_simclr", ["epochs=30"])
    keep_warmup(config, begun, ["epochs=30"])
    assert config.schedule.warmup_epochs == 8


def test_a_constant_rate_can_be_lengthened_to_the_same_bits(
    tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a finished run and of one that was stopped."""

    def config(epochs: int):
        return tiny_config("digits_simclr", "schedule.name=constant", f"epochs={epochs}")

    whole = pretrain(config(3), tmp_path / "whole", log=quiet)
    for run, stopped in ((tmp_path / "finished", False), (tmp_path / "stopped", True)):
        with monkeypatch.context() as patch:
            if stopped:
                stop_at(patch, 7)
            pretrain(config(1), run, log=quiet)
        result = pretrain(config(3), run, log=quiet)
        assert result.step == 54
        assert bits(result.state) == bits(whole.state)
        assert losses(run) == losses(tmp_path / "whole")
        assert Run.open(run).config.epochs == 3
        assert damage(run) is None
    with pytest.raises(UserError, match="has done 54 steps, more than 2 epochs of 18"):
        pretrain(config(2), tmp_path / "stopped", log=quiet)


@pytest.mark.parametrize(
    ("name", "overrides", "reason"),
    [
        ("digits_simclr", [], "schedule 'warmup_cosine' spreads the learning rate over all epochs"),
        (
            "mmcl/byol:digits",
            ["schedule.name=constant", "projectors.image.hidden=(8,)"],
            "target network's decay rises to 1 over all epochs",
        ),
    ],
)
def test_what_follows_the_length_cannot_be_lengthened_and_says_why(
    name: str, overrides: list[str], reason: str, tiny_config, tmp_path: Path
) -> None:
    pretrain(tiny_config(name, *(one for one in overrides), "checkpoint_every=9"), tmp_path / "run", log=quiet)
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(UserError, match=reason) as error:
        pretrain(tiny_config(name, *overrides, "epochs=3"), tmp_path / "run", log=quiet)
    assert "Train anew in another --workdir" in str(error.value)
    assert (tmp_path / "run" / "config.json").read_bytes() == before
