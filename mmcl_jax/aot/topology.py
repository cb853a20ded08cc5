"""Machines by name: the devices that a program is compiled for, which need not be there."""

import dataclasses
import importlib.util
import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import jax
from jax.experimental.topologies import get_topology_desc

from mmcl_jax.aot.gpus import GPUS
from mmcl_jax.errors import UserError, check_name
from mmcl_jax.training.chips import CHIPS, Chip, chip_of

TPUS = tuple(chip.name for kind, chip in CHIPS.items() if kind.startswith("TPU"))
_NAME = re.compile(r"(?:(\d+)x)?([a-z]\w*(?:-\w+)*):(\d+(?:x\d+){0,2})", re.ASCII)
_FORM = "a topology is a chip and how many, such as v5e:16x16, v5p:4x4x4, 2xv5e:16x16 (two slices), h100:8 or h200:8x4"
# No TPU is touched: libtpu must neither ask the cloud which TPU this is, nor complain that it does not know, nor lock
# the TPU against other processes.
_NO_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
_MOST = 2**16  # devices; the largest machines have a few ten thousand


@dataclasses.dataclass(frozen=True)
class Machine:
    """The devices that a program is compiled for.

    Attributes:
      name: as the user gives it; "" for the machine at hand.
      devices: described or real.
    """

    name: str
    devices: tuple[jax.Device, ...]

    @property
    def chip(self) -> Chip | None:
        """The published limits of a device, if they are known."""
        return chip_of(self.devices[0])

    @property
    def platform(self) -> str:
        """The platform: "cpu", "gpu" or "tpu"."""
        return self.devices[0].platform

    @property
    def compiler(self) -> str:
        """The version of the compiler, in one line."""
        version = " ".join(self.devices[0].client.platform_version.split())
        return f"jax {jax.__version__}, {version}"

    def describe(self) -> str:
        """Return the number and kind of the devices."""
        count = len(self.devices)
        return f"{count} x {self.devices[0].device_kind}" + (f" ({self.name})" if self.name else "")


def machine_of(name: str | None) -> Machine:
    """Return the machine of this name, or the machine at hand.

    Names are those of Cloud TPU, `CHIP:AxB` or `CHIP:AxBxC`, with the number of slices before them if there are
    several (`2xv5e:16x16`), and `GPU:DEVICES` or `GPU:DEVICESxHOSTS`.

    Raises:
      UserError: there is no such machine, or its compiler is not installed.
    """
    if name is None:
        return Machine("", tuple(jax.devices()))
    found = _NAME.fullmatch(name)
    if found is None:
        raise UserError(f"--topology: {name!r} is not a topology; {_FORM}.")
    slices, kind, sides = int(found[1] or 1), found[2], [int(side) for side in found[3].split("x")]
    check_name(kind, (*TPUS, *GPUS), f"--topology: {name!r}: there is no chip", "choose from")
    count = slices
    for side in sides:
        count *= side
    if not 0 < count <= _MOST:
        raise UserError(f"--topology: {name!r} has {count:,} chips; choose 1 to {_MOST:,}.")
    devices = _gpus(name, kind, slices, sides) if kind in GPUS else _tpus(name, kind, slices, sides)
    return Machine(name, devices)


def _tpus(name: str, kind: str, slices: int, sides: list[int]) -> tuple[jax.Device, ...]:
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "--topology: compiling for TPUs needs their compiler, libtpu; install it with pip install 'mmcl_jax[aot]'."
        )
    options: dict[str, object] = {"num_slices": slices} if slices > 1 else {}
    if all(side == 1 for side in sides):  # a single chip, which is less than the usual host has
        sides, options = [1, 1], {**options, "chips_per_host_bounds": [1, 1, 1]}
    layout = f"{kind}:{'x'.join(map(str, sides))}"
    with _explained(name), _variables(_NO_TPU):
        return tuple(get_topology_desc(layout, "tpu", **options).devices)


def _gpus(name: str, kind: str, slices: int, sides: list[int]) -> tuple[jax.Device, ...]:
    if slices > 1 or len(sides) > 2:
        raise UserError(f"--topology: {name!r}: GPUs are GPU:DEVICES or GPU:DEVICESxHOSTS, such as {kind}:8x4.")
    if not any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
        raise UserError(
            "--topology: compiling for GPUs needs NVIDIA's compiler, which is in JAX's packages; install them with pip "
            "install 'mmcl_jax[cuda]'."
        )
    devices, hosts = sides[0], sides[1] if len(sides) == 2 else 1
    with _explained(name):
        description = get_topology_desc(platform="cuda", target_config=GPUS[kind], topology=f"1x{hosts}x{devices}")
        return tuple(description.devices)


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, for the time of the block."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (jax.errors.JaxRuntimeError, RuntimeError, NotImplementedError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        reason = textwrap.shorten(lines[0].partition(": ")[2] or lines[0], 200)
        raise UserError(f"--topology: {name!r} is not a machine that the compiler knows: {reason}.") from error
