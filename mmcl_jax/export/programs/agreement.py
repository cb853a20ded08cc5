"""The check of a written program: on random rows it gives what the run's own encoders give."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import beside
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.export.programs.program import PRECISION, Program, ProgramInput
from mmcl_jax.export.release import Release

ROWS = 8
# Largest difference from the run's outputs, as a share of their largest absolute value, or absolute below 1. bfloat16
# has 8 bits: a number that lies between two neighbours is rounded to either one by the order of a sum.
BOUNDS = {"float32": 1e-4, "bfloat16": 2.0**-5}


def agreement(
    release: Release, program: Program, run: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]], *, what: str
) -> dict[str, float | int]:
    """Return how far a program's outputs on random rows are from those of the run.

    The features are compared with those that `mmcl evaluate` and `mmcl embed` compute, which encode tables with NumPy;
    predictions with those of the head.

    Args:
      release: of the program.
      program: the function.
      run: runs the file.
      what: names the file.

    Raises:
      UserError: the difference is above the bound.
    """
    bound = BOUNDS[release.run.config.dtype]
    rows = random_rows(program, release.run.inputs, ROWS)
    outputs, expected = run(rows), expected_outputs(release, program, rows)
    difference = max(relative_difference(outputs[name], array) for name, array in expected.items())
    check(
        difference <= bound,
        f"{what} differs by {difference:.2g} from the run on random rows, and {bound:g} is the limit; nothing was "
        "written. Please report this with the config of the run.",
    )
    return {"rows": ROWS, "difference": difference, "bound": bound}


def relative_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference, as a share of the largest absolute value of `other` if that is above 1.

    It is infinite if an output is NaN in only one of them.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.shape != other.shape or not np.array_equal(np.isnan(one), np.isnan(other)):
        return float("inf")
    scale = max(1.0, float(np.nanmax(np.abs(other), initial=0.0)))
    return float(np.nanmax(np.abs(one - other), initial=0.0)) / scale


def expected_outputs(release: Release, program: Program, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs that the run itself gives for raw rows, by its own encoding, views and encoders."""
    inputs, config, modalities = release.run.inputs, release.run.config, modalities_of(program.name)
    encoded = {
        name: inputs.tables[name].encode(values) if program.inputs[name].kind == "table" else values
        for name, values in rows.items()
    }
    outputs: dict[str, np.ndarray] = {}
    with jax.default_matmul_precision(PRECISION):
        if release.head is not None:
            outputs["prediction"] = release.head.outputs(encoded)
        if release.head is None or release.head.standard is not None:
            parts = []
            for modality in modalities:
                encode = frozen_encoder(
                    release.model, config=config, modality=modality, fitted=inputs.fitted, batch_size=ROWS
                )
                own = {name: encoded[name] for name in inputs_of(config.views, modality)}
                parts.append(encode(own | beside(encoded, ())))
            outputs["features"] = np.concatenate(parts, axis=1)
    return outputs


def random_rows(program: Program, inputs: Inputs, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random rows that the program accepts: cells in the range of the training rows, every pixel and token."""
    rng = np.random.default_rng(seed)
    return {name: _random(rng, one, inputs, name, count) for name, one in program.inputs.items()}


def _random(rng: np.random.Generator, one: ProgramInput, inputs: Inputs, name: str, count: int) -> np.ndarray:
    shape = (count, *one.shape)
    if one.kind == "table":
        encoding = inputs.tables[name]
        columns, statistics = encoding.schema.columns, encoding.statistics
        cells = np.empty(shape)
        for index, column in enumerate(columns):
            if column.coded:
                known = np.flatnonzero(statistics.counts[index])
                cells[:, index] = rng.choice(known, count) if len(known) else np.nan
            else:
                cells[:, index] = rng.uniform(statistics.low[index], statistics.high[index], count)
        if encoding.missing != "refuse":
            cells[rng.random(shape) < 0.1] = np.nan
        return cells
    if one.kind == "text":
        tokens = np.stack([rng.integers(0, inputs.specs[name].widths[0], shape[:-1]), np.zeros(shape[:-1], int)], -1)
        tokens[np.arange(shape[1])[None] >= rng.integers(0, shape[1] + 1, (count, 1))] = -1
        return tokens.astype(one.dtype)
    if np.issubdtype(one.dtype, np.integer):
        low, high = (0, 3) if one.kind == "vector" else (0, int(np.iinfo(one.dtype).max) + 1)
        values = rng.integers(low, high, shape).astype(one.dtype)
    else:
        drawn = rng.random(shape) if one.kind in ("image", "volume") else rng.normal(size=shape)
        values = drawn.astype(one.dtype)
    if one.kind == "vector" and inputs.specs[name].missing != "refuse":
        values[rng.random(shape) < 0.1] = KINDS["vector"].fill(values.dtype)
    return values
