"""The mesh of several slices, whose devices are stand-ins: there is one slice here."""

import types
from typing import Any, cast

import jax
import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.training import mesh
from mmcl_jax.training.mesh import make_mesh


@pytest.fixture(autouse=True)
def grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mesh is its array of devices."""
    monkeypatch.setattr(mesh, "Mesh", lambda devices, names, axis_types: devices)


def device(number: int, process: int, slice_index: int | None) -> jax.Device:
    return cast(Any, types.SimpleNamespace(id=number, process_index=process, slice_index=slice_index))


def numbers(devices: list[jax.Device], model: int = 1) -> list[list[int]]:
    return np.vectorize(lambda one: one.id)(cast(Any, make_mesh(devices, model=model))).tolist()


def test_devices_are_ordered_by_slice_then_by_process() -> None:
    """Whatever the numbers of processes and devices are, neighbours along both axes are of one slice."""
    devices = [
        device(number, process, number % 2) for number, process in zip(range(8), (3, 0, 3, 0, 1, 2, 1, 2), strict=True)
    ]
    assert numbers(devices) == [[4], [6], [0], [2], [1], [3], [5], [7]]
    assert numbers(devices, model=4) == [[4, 6, 0, 2], [1, 3, 5, 7]]


def test_without_slices_devices_are_ordered_by_process() -> None:
    assert numbers([device(0, 1, None), device(1, 0, None), device(2, 0, None)]) == [[1], [2], [0]]


def test_the_model_axis_stays_within_a_slice() -> None:
    devices = [device(number, 0, number // 6) for number in range(12)]
    with pytest.raises(UserError, match=r"config\.mesh\.model: 4 does not divide 6, the number of devices of a slice"):
        make_mesh(devices, model=4)


def test_slices_have_one_size() -> None:
    with pytest.raises(UserError, match="slices of this job have 2, 1 devices: use slices of one size"):
        make_mesh([device(0, 0, 0), device(1, 0, 0), device(2, 1, 1)])
