"""The command `python -m benchmarks NAME [--size small|full] [--out FOLDER] [--check]`."""

import argparse
import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax

from benchmarks import record

NAMES = {
    "compiled": "memory, FLOPs and collectives of compiled programs on 8 devices; only compiles them",
    "compile": "memory, bytes, FLOPs and collectives on TPUs and GPUs that are not here; only compiles for them",
    "slices": "collectives of two TPU slices, within slices and between them; only compiles for them",
    "places": "memory of the taxonomy's edges at 32,768 samples of 64 places; only compiles them",
    "pairs": "time and memory of the all-pairs kernel, beside the dense execution and PyTorch",
    "augment": "time, bytes and memory of the fused augmentation, beside one operation after the other",
    "losses": "memory, FLOPs and time of the all-pairs kernel, beside the forms of OpenCLIP and Inf-CL",
    "step": "images/s, MFU, memory and input wait of the train step, beside PyTorch",
    "operations": "gradients of single operations on CPUs, in our form and as JAX has them",
    "torch_step": "time of the train step of ResNet-50 at 32, 64 and 128 pixels, in turns with PyTorch",
    "input": "samples/s of a mapped and a streamed store, beside a bare gather and a pipeline of single samples",
    "prepare": "images/s of mmcl prepare, beside a bare decode loop",
    "genotypes": "time and memory of reading genotypes, by number of people and of variants",
    "embed": "rows/s of mmcl embed, a table alone and small images, with peak memory",
    "stored": "sharpness, crops and blur of views of 128 pixels from images stored at 128 and at 300 pixels",
    "column_order": "accuracy of resnet1d_cbam on the shipped digits, with the columns in several orders",
    "scale": "time and memory of prepare, the first batch and resuming, by number of rows",
    "columns": "time and memory of prepare, and the size of the card, by number of columns and rows",
    "gwas": "time per variant of the association of mmcl gwas, beside plink2",
    "similarity": "time and memory of the measures of similarity, at 50,000 rows of 2,048 features",
    "host": "processor time of the Python thread per train step",
}


def main() -> None:
    """Run a benchmark, print its table and write its JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = "\n".join(f"{name:13} {text}" for name, text in NAMES.items())
    parser.add_argument("name", choices=NAMES)
    parser.add_argument(
        "--size", choices=["small", "full"], help="small (the default on CPUs) or full (on accelerators)"
    )
    parser.add_argument("--out", type=Path, default=record.RESULTS, help="folder for the JSON file")
    parser.add_argument(
        "--check", action="store_true", help="compile: compare with the figures in --out, and fail where one is larger"
    )
    parser.add_argument("--machines", nargs="+", metavar="NAME", help="compile: such as v5e:1; by default all")
    parser.add_argument("--programs", nargs="+", metavar="NAME", help="compile: such as resnet50; by default all")
    options = parser.parse_args()
    for name in ("check", "machines", "programs"):
        if getattr(options, name) and options.name != "compile":
            parser.error(f"--{name} is an option of compile")
    if options.name in ("compiled", "compile", "slices", "losses", "places"):
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", 8)
    size = options.size or ("small" if jax.default_backend() == "cpu" else "full")
    benchmark = importlib.import_module(f"benchmarks.{options.name}")
    where = jax.devices()[0].device_kind.lower().replace(" ", "-")
    suffix = f"jax{jax.__version__}" if options.name in ("compiled", "slices", "places") else size
    if options.name == "compile":
        chosen = {"names": options.machines, "programs": options.programs}
        found = benchmark.run(size, **{name: value for name, value in chosen.items() if value})
        _compile(benchmark, found, options.out, check=options.check)
        return
    rows: list[dict[str, Any]] = []
    for row in benchmark.run(size):  # saved one by one, so that a lease that ends early has cost nothing
        rows.append(row)
        path = record.save(f"{options.name}-{where}-{suffix}", rows, options.out)
    record.show(options.name, benchmark.brief(rows))
    print(path)


def _compile(benchmark: Any, found: Iterable[dict[str, Any]], folder: Path, *, check: bool) -> None:
    """Record the figures of every machine in a file of its own, or compare them with these files."""
    rows: list[dict[str, Any]] = []
    grown: list[str] = []
    for row in found:
        rows.append(row)
        grown += benchmark.growth(row, folder) if check else []
        if not check:
            record.update(benchmark.file_of(row), row, folder, key_of=benchmark.key_of)
    if not rows:
        sys.exit("no compiler is installed; see the extras aot and cuda")
    record.show("compile", benchmark.brief(rows))
    sys.exit("\n".join(grown) if grown else 0)


if __name__ == "__main__":
    main()
