"""The published limits of accelerators."""

import types
from typing import Any, cast

import jax
import pytest

from mmcl_jax.training.chips import CHIPS, Chip, chip_of


@pytest.mark.parametrize("chip", CHIPS.values(), ids=list(CHIPS))
def test_units_are_flops_and_bytes(chip: Chip) -> None:
    for peak in chip.flops.values():
        assert 10 < peak / chip.bandwidth < 700  # FLOP per byte at which a program is bound by neither
    assert 0.9e-3 < chip.memory / chip.bandwidth < 0.1  # seconds to read the whole memory
    assert set(chip.flops) <= {"bfloat16", "float32"}


def test_names_are_unique() -> None:
    assert len({chip.name for chip in CHIPS.values()}) == len(CHIPS)


def test_a_chip_is_known_by_its_device_kind() -> None:
    device = cast(Any, types.SimpleNamespace(device_kind="NVIDIA H100 80GB HBM3"))
    chip = chip_of(device)
    assert chip
    assert (chip.name, chip.flops["bfloat16"], chip.bandwidth) == ("H100", 989.4e12, 3.35e12)
    assert chip_of(jax.devices("cpu")[0]) is None
