"""The format "onnx": programs for onnxruntime and whatever else reads ONNX, without JAX.

    session = onnxruntime.InferenceSession("release/image.onnx")
    (features,) = session.run(["features"], {"image": pixels})  # pixels uint8 [B, H, W, C], any B

The graph is translated from the traced function (see `export.programs.onnx`), so it has the same preprocessing, every
encoder, and JAX's padding, rounding and order of axes. It is checked by onnx, and compared with the run in onnxruntime.
"""

import datetime
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.heads.encoded import IDS
from mmcl_jax.export.formats import Written
from mmcl_jax.export.programs.agreement import agreement
from mmcl_jax.export.programs.jaxprs import traced
from mmcl_jax.export.programs.program import Program, programs_of
from mmcl_jax.export.programs.stablehlo import described, shapes_in_words
from mmcl_jax.export.release import Release

SUFFIX = ".onnx"
_LARGEST = 2**31 - 1  # bytes of a protocol buffer

_USAGE = """`{file}` with onnxruntime, without JAX (opset {opset}):

```python
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(output,) = session.run(["{output}"], {{{inputs}}})
```

{shapes}"""


def check_release(release: Release) -> None:
    """Raise `UserError` if onnx or onnxruntime is not installed, or a program has no form in ONNX."""
    for name in ("onnx", "onnxruntime"):
        found = importlib.util.find_spec(name) is not None
        check(found, f"--format onnx: the package {name} is not installed; run pip install 'mmcl_jax[onnx]'.")
    for program in programs_of(release):
        model_of(program)


def write(release: Release, folder: Path) -> list[Written]:
    """Write a program for each input of the release, after it gave the features of the run in onnxruntime."""
    return [_written(release, program, folder, brief=n > 0) for n, program in enumerate(programs_of(release))]


def model_of(program: Program) -> Any:
    """Return the ONNX model of a program.

    Raises:
      UserError: a computation has no form in ONNX here, or the model is too large for one file.
    """
    from mmcl_jax.export.programs.onnx.convert import onnx_model
    from mmcl_jax.export.programs.onnx.graph import UnsupportedError

    check(
        IDS not in program.inputs,
        f"--format onnx: a view of {program.name!r} draws by the ids of rows, as part of the data, and ONNX has no "
        "random numbers by keys; take --format stablehlo, whose programs take the ids.",
    )
    try:
        model = onnx_model(traced(program), sorted(program.inputs), sorted(program.outputs), name=program.name)
    except UnsupportedError as error:
        raise UserError(
            f"--format onnx: the encoder of {program.name!r} has no form in ONNX here ({error}); take --format "
            "stablehlo, or export another --input."
        ) from error
    size = model.ByteSize()
    check(
        size <= _LARGEST,
        f"--format onnx: the encoder of {program.name!r} takes {size / 2**30:.1f} GiB, and a file of ONNX 2 at most; "
        "take --format stablehlo.",
    )
    return model


def _written(release: Release, program: Program, folder: Path, *, brief: bool) -> Written:
    import onnx
    import onnxruntime

    model = model_of(program)
    onnx.checker.check_model(model, full_check=True)
    path = folder / f"{program.name}{SUFFIX}"
    path.write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = list(program.outputs)
        return dict(zip(names, session.run(names, rows), strict=True))

    opset = model.opset_import[0].version
    details = {
        **described(program),
        "opset": opset,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "checked": agreement(release, program, run, what=f"The program {path.name}"),
    }
    shapes = shapes_in_words(program, path.name)
    usage = _USAGE.format(
        file=path.name,
        opset=opset,
        output=program.result,
        inputs=", ".join(f'"{name}": {name}' for name in program.inputs),
        shapes=shapes,
    )
    about = f"The encoder of {program.name} with its preprocessing and weights, for onnxruntime."
    return Written(file=path.name, about=about, usage=shapes if brief else usage, details=details)
