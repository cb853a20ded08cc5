"""What a step needs on a machine: memory, bytes moved, FLOPs and collectives, from its compiled program."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from mmcl_jax.aot.collectives import Collective, collectives_of
from mmcl_jax.aot.design import Design
from mmcl_jax.aot.parts import bytes_per_device, encoded, lowered_contrast
from mmcl_jax.aot.program import Program, compile_program
from mmcl_jax.aot.roofline import Bound, bound
from mmcl_jax.aot.topology import Machine
from mmcl_jax.backend import compiler_options
from mmcl_jax.training.build import Experiment
from mmcl_jax.training.flops import flops_of_jaxpr
from mmcl_jax.training.memory import memory_of_device
from mmcl_jax.training.step.train_step import check_step, make_step

# The share of its memory that a device gives to programs: JAX takes so much of a GPU, unless the variable
# XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise; the runtime of TPUs keeps the rest, which is 0.25 of 16 GiB on v5e.
_SHARE = {"gpu": 0.75, "tpu": 0.984}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """What a step needs; bytes, FLOPs and times are those of one device and one step.

    Attributes:
      machine: in words.
      batch_size: rows of a step, over all devices.
      devices: the number of devices.
      dtype: of the computation.
      memory: bytes by what they hold: "state", "input" (this batch and the next, and the constants), "temporary"
        (activations and all else that a step makes and drops), "program" and "results".
      refused: whether the compiler refuses the step because its memory is not there; then nothing is known of bytes
        moved and collectives.
      pairs: bytes that the contrast of the whole batch needs for itself; they are a part of "temporary".
      limit: bytes that there are; None if that is not known.
      flops: matrix products and convolutions, with what is computed a second time.
      moved: bytes between the device and its memory; None if the compiler does not tell.
      bound: the roofline's bound; None if the chip is not known.
      collectives: each with its purpose; None for what the design does not explain.
      seconds: the time of compiling.
      compiler: its version.
    """

    machine: str
    batch_size: int
    devices: int
    dtype: str
    memory: Mapping[str, int]
    refused: bool
    pairs: int
    limit: int | None
    flops: float
    moved: float | None
    bound: Bound | None
    collectives: tuple[tuple[Collective, str | None], ...]
    seconds: float
    compiler: str

    @property
    def total(self) -> int:
        """The bytes that are needed in all."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool | None:
        """Whether the memory is enough; None if it is not known how much there is."""
        return False if self.refused else None if self.limit is None else self.total <= self.limit

    @property
    def unexplained(self) -> tuple[Collective, ...]:
        """The collectives that the design does not explain."""
        return tuple(one for one, purpose in self.collectives if purpose is None)

    @property
    def rows_per_second(self) -> float | None:
        """The rows per second, over all devices, that the bound allows; None without a bound."""
        return self.batch_size / self.bound.seconds if self.bound else None


def needs_of(experiment: Experiment, machine: Machine, *, quiet: bool = False) -> Needs:
    """Compile the step of an experiment for a machine, and return what it needs.

    Raises:
      UserError: the parts of the experiment do not fit together, or the compiler refuses the step for another reason
        than memory.
    """
    shapes, dtype = experiment.shapes(), experiment.config.dtype
    traced, size = check_step(make_step(experiment), *shapes), experiment.mesh.size
    outputs = encoded(experiment, shapes)
    how: dict[str, Any] = {"options": compiler_options(machine.devices[0], dtype), "quiet": quiet}
    program = compile_program(traced.lower(), machine, "the step", **how)
    pairs = compile_program(lowered_contrast(experiment, shapes, outputs), machine, "the contrast", **how)
    flops = flops_of_jaxpr(traced.jaxpr) / size
    moved = program.moved if experiment.config.micro_batch is None else None  # the compiler counts one slice of many
    design = Design.of(experiment, shapes, outputs)
    return Needs(
        machine=machine.describe(),
        batch_size=experiment.config.batch_size,
        devices=size,
        dtype=dtype,
        memory=_memory(program, shapes),
        refused=program.refused,
        pairs=pairs.used or pairs.temporary,
        limit=_limit(experiment, machine),
        flops=flops,
        moved=moved,
        bound=bound(machine.chip, flops=flops, moved=moved, dtype=dtype),
        collectives=tuple(design.explained(collectives_of(program.text))) if program.text else (),
        seconds=program.seconds + pairs.seconds,
        compiler=machine.compiler,
    )


def _memory(program: Program, shapes: tuple[Any, Any, Any]) -> dict[str, int]:
    """Return the bytes by what they hold; a device holds the next batch while it computes."""
    state, batch = map(bytes_per_device, shapes[:2])
    return {
        "state": state,
        "input": max(program.arguments - state, batch) + batch,  # with the padding of the compiler's layout
        "temporary": max(program.temporary, program.used - state - batch),
        "program": program.code,
        "results": program.outputs,
    }


def _limit(experiment: Experiment, machine: Machine) -> int | None:
    """Return the bytes of a device that a program can have."""
    if machine.chip is None or not machine.name:
        return memory_of_device(experiment.mesh)
    share = _SHARE[machine.platform]
    if machine.platform == "gpu":
        share = float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", share))
    return int(share * machine.chip.memory)
