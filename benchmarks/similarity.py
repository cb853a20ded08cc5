"""Time and memory of the measures of similarity, at 50,000 rows of 2,048 features.

    python -m benchmarks similarity --size full

Every row of the results is measured in a process of its own, whose peak memory is that of the two arrays, of the
libraries and of the measures. Processor time stands beside the time, since the machine may be busy. Kernels are
measured on fewer rows: their time grows with the square of the rows, and their memory does not.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

SIZES = {"small": (2_000, 256), "full": (50_000, 2_048)}  # rows, features
OF_KERNELS = {"small": 2_000, "full": 8_000}  # rows
MEASURES = {
    "linear": ["cka", "cka_debiased", "procrustes"],
    "canonical": ["cca", "svcca_anatome", "svcca_google", "pwcca_morcos", "pwcca_google", "pwcca_anatome"],
    "kernel": ["kernel_cka", "kernel_cka_debiased"],
}
_CHILD = """
import json, resource, sys, time
import numpy as np
from mmcl_jax.evaluation.similarity import similarity

rows, features, measures = json.loads(sys.argv[1])
random = np.random.default_rng(0)
x = random.standard_normal((rows, features), np.float32)
y = random.standard_normal((rows, features), np.float32)
y[:, : features // 2] += x[:, : features // 2]
arrays = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
began, worked = time.perf_counter(), time.process_time()
found = similarity(x, y, measures, permutations=0)
seconds, worked = time.perf_counter() - began, time.process_time() - worked
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
values = {name: round(one.value, 6) for name, one in found.items()}
told = {"seconds": seconds, "processor_seconds": worked, "arrays_gb": arrays, "peak_gb": peak}
print(json.dumps({**told, "values": values}))
"""


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield a row per family of measures: seconds, and peak memory before the measures and with them."""
    rows, features = SIZES[size]
    for family, measures in MEASURES.items():
        yield _row(family, OF_KERNELS[size] if family == "kernel" else rows, features, measures)


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without the values of the measures."""
    return [{name: value for name, value in row.items() if name not in ("measures", "values")} for row in rows]


def _row(family: str, rows: int, features: int, measures: list[str]) -> dict[str, Any]:
    words = [sys.executable, "-c", _CHILD, json.dumps([rows, features, measures])]
    found = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return {"family": family, "rows": rows, "features": features, "measures": measures, **json.loads(found)}
