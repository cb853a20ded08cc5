"""Compare exported programs on another machine, such as one with a GPU, with a CPU where they were made.

    python -m benchmarks.programs make EXPORT OUT     where mmcl_jax is: copy the programs, rows and a CPU's outputs
    python benchmarks/programs.py check OUT           anywhere, with JAX and NumPy alone (onnxruntime if it is there)

The bound is 1e-4 of the largest output (of float32 programs; 2**-5 of bfloat16 ones), the same as `mmcl export` holds
to. `check` prints a line of JSON per program and ends with status 1 if one is above the bound.
"""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

BOUNDS = {"float32": 1e-4, "bfloat16": 2.0**-5}
COUNTS = (1, 7, 256, 1000)
CARD = "card.json"


def draw(rng: np.random.Generator, one: dict[str, Any], described: dict[str, Any], rows: int) -> np.ndarray:
    """Return random rows of an input; a tenth of a table's cells is missing if the run has a policy for them."""
    shape = (rows, *one["shape"])
    if one["kind"] == "table":
        columns = described["columns"]
        cells = [
            rng.choice(np.flatnonzero(column["seen"]), rows).astype(float)
            if column["categories"]
            else rng.uniform(column["low"], column["high"], rows)
            for column in columns
        ]
        table = np.stack(cells, axis=1)
        if described["missing"] != "refuse":
            table[rng.random(shape) < 0.1] = np.nan
        return table
    if one["kind"] == "text":
        return rng.integers(-1, 3, shape).astype(one["dtype"])
    if np.issubdtype(one["dtype"], np.integer):
        return rng.integers(0, np.iinfo(one["dtype"]).max, shape).astype(one["dtype"])
    return rng.random(shape).astype(one["dtype"])


def make(export: Path, out: Path) -> None:
    """Copy the programs of an export, and write rows for each with the outputs on this machine."""
    from mmcl_jax import load_program

    out.mkdir(parents=True)
    card = json.loads((export / CARD).read_text())
    for details in card["files"]:
        if details["format"] in ("stablehlo", "onnx"):
            shutil.copy(export / details["file"], out / details["file"])
        if details["format"] != "stablehlo":
            continue
        rng = np.random.default_rng(0)
        rows = {
            name: draw(rng, one, card["preprocessing"][name], max(COUNTS)) for name, one in details["arguments"].items()
        }
        outputs = load_program(export, details["input"])(**rows)
        arrays = {f"rows/{name}": array for name, array in rows.items()}
        arrays |= {f"outputs/{name}": array for name, array in outputs.items()}
        np.savez(out / f"{details['input']}.npz", **arrays)  # type: ignore[arg-type]
    shutil.copy(export / CARD, out / CARD)


def check(folder: Path) -> bool:
    """Print how far every program is from the stored outputs, and return whether all are within the bound."""
    card = json.loads((folder / CARD).read_text())
    good = True
    for details in card["files"]:
        if details["format"] not in ("stablehlo", "onnx"):
            continue
        with np.load(folder / f"{details['input']}.npz") as file:
            rows = {name.removeprefix("rows/"): file[name] for name in file.files if name.startswith("rows/")}
            expected = {name.removeprefix("outputs/"): file[name] for name in file.files if name.startswith("outputs/")}
        found = _stablehlo(folder, details) if details["format"] == "stablehlo" else _onnx(folder, details)
        if found is None:
            continue
        run, where = found
        differences, seconds = {}, 0.0
        for count in COUNTS:
            part = {name: array[:count] for name, array in rows.items()}
            run(part)  # compiles
            start = time.perf_counter()
            outputs = run(part)
            seconds = time.perf_counter() - start
            differences[count] = max(_difference(outputs[name], expected[name][:count]) for name in expected)
        bound = BOUNDS[card["config"]["dtype"]]
        good &= max(differences.values()) <= bound
        line = {"file": details["file"], "on": where, "difference": differences, "bound": bound}
        print(json.dumps({**line, "rows_per_second": round(max(COUNTS) / seconds)}), flush=True)
    return good


def _stablehlo(folder: Path, details: dict[str, Any]) -> Any:
    from jax import export

    exported = export.deserialize(bytearray((folder / details["file"]).read_bytes()))
    # JAX 0.12.0.1 computes garbage in fused bfloat16 convolutions on CPUs; see `mmcl_jax.backend`.
    on_cpu = jax.default_backend() == "cpu" and details["dtype"] == "bfloat16"
    call = jax.jit(exported.call, compiler_options={"xla_cpu_experimental_ynn_fusion_type": ""} if on_cpu else None)

    def run(rows: dict[str, np.ndarray]) -> Any:
        with jax.enable_x64(details["needs_x64"]):
            return jax.device_get(call(rows))

    return run, f"JAX {jax.__version__}, {jax.devices()[0].device_kind}; made by JAX {details['jax']}"


def _onnx(folder: Path, details: dict[str, Any]) -> Any:
    try:
        import onnxruntime
    except ImportError:
        print(f"{details['file']}: onnxruntime is not installed here", file=sys.stderr)
        return None
    session = onnxruntime.InferenceSession(str(folder / details["file"]), providers=["CPUExecutionProvider"])
    names = list(details["outputs"])
    where = f"onnxruntime {onnxruntime.__version__}, CPU"
    return (lambda rows: dict(zip(names, session.run(names, rows), strict=True))), where


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    if not np.array_equal(np.isnan(one), np.isnan(other)):
        return float("inf")
    return float(np.nanmax(np.abs(one - other)) / max(1.0, float(np.nanmax(np.abs(other)))))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(not check(Path(sys.argv[2])))
