"""The format "stablehlo": programs that a process with JAX alone runs on CPUs, CUDA GPUs and TPUs.

    from jax import export

    program = export.deserialize(Path("release/image.stablehlo").read_bytes())
    program.call({"image": pixels})["features"]  # pixels uint8 [B, H, W, C], any B above 0

`export.load_program` reads the same files, for any number of rows, and says what is wrong with a file.
"""

import datetime
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from mmcl_jax.backend import compiler_options
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.heads.encoded import IDS
from mmcl_jax.export.formats import Written
from mmcl_jax.export.programs.agreement import agreement
from mmcl_jax.export.programs.jaxprs import traced
from mmcl_jax.export.programs.program import PRECISION, Program, programs_of
from mmcl_jax.export.release import Release

Rows = dict[str, np.ndarray]

SUFFIX = ".stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")
# What JAX promises: a file is read by versions of about half a year after that which wrote it.
READABLE_DAYS = 180

_USAGE = """`{file}` in a process that has only JAX (`pip install jax flatbuffers`), on {platforms}. Products of
matrices are in full float32 on all of them.

```python
from pathlib import Path

import jax
from jax import export

program = export.deserialize(Path("{file}").read_bytes())
{call}
```

{shapes}
{version} made the file, and newer versions read it for about six months after {date}. For older files, and for batches
of 0 rows, use `mmcl_jax.load_program`, which says what to do."""


def check_release(release: Release) -> None:
    """Raise `UserError` if flatbuffers is not installed, or a program of the release draws at random."""
    found = importlib.util.find_spec("flatbuffers") is not None
    check(found, "--format stablehlo: JAX writes it with the package flatbuffers; run pip install flatbuffers.")
    for program in programs_of(release):
        traced(program)


def write(release: Release, folder: Path) -> list[Written]:
    """Write a program for each input of the release, after it gave the features of the run."""
    return [_written(release, program, folder, brief=n > 0) for n, program in enumerate(programs_of(release))]


def _written(release: Release, program: Program, folder: Path, *, brief: bool) -> Written:
    blob = serialized(program)
    (folder / f"{program.name}{SUFFIX}").write_bytes(blob)
    exported = export.deserialize(bytearray(blob))
    run = callable_of(exported, wide=program.wide, dtype=release.run.config.dtype)
    details = {
        **described(program),
        "jax": jax.__version__,
        "calling_convention": exported.calling_convention_version,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "readable_days": READABLE_DAYS,
        "platforms": list(exported.platforms),
        "precision": PRECISION,
        "dtype": release.run.config.dtype,
        "needs_x64": program.wide,
        "checked": agreement(release, program, run, what=f"The program {program.name}{SUFFIX}"),
    }
    about = f"The encoder of {program.name} with its preprocessing and weights, for JAX on {', '.join(PLATFORMS)}."
    usage = shapes_in_words(program, f"{program.name}{SUFFIX}") if brief else _usage(program, details)
    return Written(file=f"{program.name}{SUFFIX}", about=about, usage=usage, details=details)


def serialized(program: Program) -> bytes:
    """Return the bytes of a program with a symbolic number of rows, for all `PLATFORMS`."""
    (rows,) = export.symbolic_shape("b")
    with jax.enable_x64(program.wide):
        exported = export.export(jax.jit(program.function), platforms=PLATFORMS)(program.arguments(rows))
    return bytes(exported.serialize())


def callable_of(exported: export.Exported, *, wide: bool, dtype: str) -> Callable[[Rows], Rows]:
    """Return a function that runs a program on the default device, for at least one row; it compiles each number once.

    Args:
      exported: the program.
      wide: whether it takes or computes float64.
      dtype: of the computation.
    """
    run = jax.jit(exported.call, compiler_options=compiler_options(jax.local_devices()[0], dtype))

    def call(rows: Rows) -> Rows:
        with jax.enable_x64(wide):
            return jax.device_get(run(rows))

    return call


def described(program: Program) -> dict[str, Any]:
    """Return the inputs and outputs of a program as JSON values."""
    return {
        "input": program.name,
        "arguments": {
            name: {"kind": one.kind, "shape": list(one.shape), "dtype": one.dtype}
            for name, one in program.inputs.items()
        },
        "outputs": {name: list(shape) for name, shape in program.outputs.items()},
    }


def _usage(program: Program, details: dict[str, Any]) -> str:
    call = "program.call({" + ", ".join(f'"{name}": {name}' for name in program.inputs) + "})"
    lines = f'output = {call}["{program.result}"]'
    if program.wide:
        lines = f"with jax.enable_x64(True):  # cells are float64\n    {lines}"
    return _USAGE.format(
        file=f"{program.name}{SUFFIX}",
        platforms=", ".join(details["platforms"]),
        call=lines,
        shapes=shapes_in_words(program, f"{program.name}{SUFFIX}"),
        version=f"JAX {details['jax']}",
        date=details["date"],
    )


def shapes_in_words(program: Program, file: str) -> str:
    """Return sentences on the inputs and outputs of the program in a file."""
    inputs = ", ".join(
        f"`{name}` {one.dtype} [{', '.join(map(str, ('B', *one.shape)))}]" for name, one in program.inputs.items()
    )
    outputs = ", ".join(f"`{name}` [{', '.join(map(str, ('B', *shape)))}]" for name, shape in program.outputs.items())
    cells = (
        " Cells are numbers, days since 1970-01-01, or codes of the categories listed below, from 0; NaN is missing."
    )
    tables = cells if any(one.kind == "table" for one in program.inputs.values()) else ""
    ids = " A view draws what is part of the data, such as a rotation, by `id`, the ids of rows, as `mmcl embed` does."
    ids = ids if IDS in program.inputs else ""
    return f"`{file}` takes {inputs}, and gives {outputs}, float32.{tables}{ids}"


def refused(file: Path, details: Mapping[str, Any], command: str, error: Exception) -> UserError:
    """Return the error for a file that this version of JAX does not read."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return UserError(
        f"{file} was written by JAX {details['jax']} on {details['date']}, for versions of about half a year, and JAX "
        f"{jax.__version__} does not read it ({reason.rstrip('.')}); make it again with {command}, or use a version of "
        "JAX nearer to that date."
    )
