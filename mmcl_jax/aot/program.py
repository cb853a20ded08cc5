"""Compiling a lowered program for a machine, with progress, and what the compiler tells of it, kept for next time."""

import contextlib
import dataclasses
import gzip
import hashlib
import os
import re
import time
import zlib
from pathlib import Path
from typing import Any

import jax

from mmcl_jax.aot.topology import Machine
from mmcl_jax.aot.waiting import waiting
from mmcl_jax.border import to_json, written
from mmcl_jax.errors import UserError
from mmcl_jax.files import atomic

# How compilers say that a program is too large: with what it needs in all, or for temporary arrays alone.
_USED = re.compile(r"Used ([\d.]+)([KMGT]?)i?B? of [\d.]+[KMGT]?i?B? hbm")
_TEMPORARY = re.compile(r"HLO temporaries \(([\d.]+)([KMGT]?)i?B?\) exceeds? available HBM")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS_PER_LINE = {"tpu": 4e-3, "gpu": 1.5e-3, "cpu": 2e-3}  # of a lowered program, on two idle cores; rough


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What a compiler tells of a program; bytes are those of one device.

    Attributes:
      arguments: bytes of the arguments.
      outputs: bytes of the results that take no argument's memory.
      temporary: bytes of everything in between, at its peak.
      code: bytes of the instructions.
      moved: bytes between the device and its memory by the compiler's count, in which a loop counts once; None if the
        compiler does not tell.
      refused: whether the compiler refuses the program because its memory is not there. Then only `temporary` is known,
        or `used`, the bytes of arguments, results and temporary arrays together.
      text: the optimised program; "" of a program that was refused.
      seconds: the time of compiling.
    """

    arguments: int = 0
    outputs: int = 0
    temporary: int = 0
    code: int = 0
    moved: float | None = None
    refused: bool = False
    used: int = 0
    text: str = ""
    seconds: float = 0.0


def compile_program(lowered: Any, machine: Machine, what: str, *, options: dict[str, Any], quiet: bool) -> Program:
    """Compile a lowered program, or read what the same compiler told of the same program before.

    Args:
      lowered: of `jax.jit(...).lower(...)`.
      machine: that the program is for.
      what: what the progress line calls it.
      options: of the compiler.
      quiet: whether no progress is shown.

    Raises:
      UserError: the compiler refuses the program for another reason than memory.
    """
    source = lowered.as_text()
    described = "\n".join([source, machine.describe(), machine.compiler, repr(sorted(options.items())), _flags()])
    path = cache_folder() / f"{hashlib.sha256(described.encode()).hexdigest()[:32]}.json.gz"
    if path.is_file():
        try:
            return written(Program, gzip.decompress(path.read_bytes()))
        except (OSError, EOFError, ValueError, zlib.error):
            path.unlink()  # damaged, or of another version
    estimate = source.count("\n") * _SECONDS_PER_LINE.get(machine.platform, 2e-3)
    began = time.monotonic()
    with waiting(f"compiling {what} for {machine.describe()}", estimate, quiet=quiet):
        try:
            compiled = lowered.compile(compiler_options=options)
        except jax.errors.JaxRuntimeError as error:
            program = _refused(error, machine, time.monotonic() - began)
        else:
            program = _told(compiled, time.monotonic() - began)
    with contextlib.suppress(OSError):  # a folder that cannot be written costs the time of compiling again
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic(path) as partial:
            partial.write_bytes(gzip.compress(to_json(dataclasses.asdict(program)).encode(), 6))
    return program


def cache_folder() -> Path:
    """Return the folder of what compilers told: `$XDG_CACHE_HOME/mmcl_jax/compiled`, by default in `~/.cache`."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path("~/.cache").expanduser()) / "mmcl_jax" / "compiled"


def _told(compiled: Any, seconds: float) -> Program:
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    return Program(
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporary=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        moved=cost.get("bytes accessed") or None,
        text=compiled.as_text(),
        seconds=seconds,
    )


def _refused(error: jax.errors.JaxRuntimeError, machine: Machine, seconds: float) -> Program:
    """Return what the compiler's message tells of a program whose memory is not there."""
    for pattern, field in ((_USED, "used"), (_TEMPORARY, "temporary")):
        if found := pattern.search(str(error)):
            size = int(float(found[1]) * _UNITS[found[2]])
            return Program(refused=True, seconds=seconds, **{field: size})  # type: ignore[arg-type]
    reason = next(iter(str(error).splitlines()), "no reason given").rstrip(".")
    raise UserError(f"The compiler cannot compile this step for {machine.describe()}: {reason[:300]}.") from error


def _flags() -> str:
    """Return the environment variables that change what compilers make of a program."""
    return " ".join(os.environ.get(name, "") for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS"))
