"""Machines by name."""

import importlib.util
import os
import re

import jax
import pytest

from mmcl_jax.aot.gpus import GPUS
from mmcl_jax.aot.topology import TPUS, machine_of
from mmcl_jax.errors import UserError
from mmcl_jax.training.chips import CHIPS


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is not a topology"),
        ("v5e", "is not a topology"),
        ("v5e:", "is not a topology"),
        ("V5E:2x4", "is not a topology"),
        ("v5e:2x4x4x4", "is not a topology"),
        ("v5e:2x-4", "is not a topology"),
        ("v5e:٣", "is not a topology"),
        ("v5:2x4", "there is no chip 'v5'"),
        ("h10:8", "did you mean 'h100'"),
        ("v5e:0x4", "has 0 chips"),
        ("v5e:1000x1000", "has 1,000,000 chips"),
        ("h100:2x2x2", "such as h100:8x4"),
        ("2xh100:8", "such as h100:8x4"),
    ],
)
def test_a_machine_that_does_not_exist_is_refused(name: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        machine_of(name)
    sentence = str(caught.value)
    assert words in sentence
    assert sentence.startswith("--topology: ")
    assert "\n" not in sentence


@pytest.mark.parametrize(("name", "extra"), [("v5e:2x4", "mmcl_jax[aot]"), ("h100:8", "mmcl_jax[cuda]")])
def test_a_compiler_that_is_not_installed_is_named(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install") as caught:
        machine_of(name)
    assert extra in str(caught.value)


def test_the_machine_at_hand_has_no_name() -> None:
    machine = machine_of(None)
    assert machine.devices == tuple(jax.devices())
    assert machine.describe() == f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    assert jax.__version__ in machine.compiler


def test_every_chip_that_is_compiled_for_has_limits() -> None:
    assert set(TPUS) <= {chip.name for chip in CHIPS.values()}
    for text in GPUS.values():
        (kind,) = [kind for kind in CHIPS if f'device_description_str: "{kind}"' in text]
        (found,) = re.findall(r"memory_bandwidth: (\d+)", text)
        assert int(found) == pytest.approx(CHIPS[kind].bandwidth, rel=0.01)


@pytest.mark.foreign
@pytest.mark.parametrize(
    ("name", "devices", "hosts", "kind"),
    [
        ("v5e:1", 1, 1, "v5e"),
        ("v5e:2x4", 8, 2, "v5e"),
        ("2xv5e:2x4", 16, 4, "v5e"),
        ("v5p:4x4x4", 64, 16, "v5p"),
        ("v6e:16x16", 256, 64, "v6e"),
    ],
)
def test_tpus_are_described_without_a_tpu(name: str, devices: int, hosts: int, kind: str) -> None:
    pytest.importorskip("libtpu")
    before = dict(os.environ)
    machine = machine_of(name)
    assert dict(os.environ) == before
    assert len(machine.devices) == devices
    assert len({device.process_index for device in machine.devices}) == hosts
    assert machine.chip is not None
    assert machine.chip.name == kind


@pytest.mark.foreign
@pytest.mark.parametrize("name", ["v6e:3x5", "v5e:16", "v5p:3x3x3"])
def test_what_the_compiler_does_not_know_is_refused_in_one_sentence(name: str) -> None:
    pytest.importorskip("libtpu")
    with pytest.raises(UserError, match=f"'{name}' is not a machine that the compiler knows") as caught:
        machine_of(name)
    assert "\n" not in str(caught.value)
