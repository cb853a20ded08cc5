"""The preprocessing of an export's inputs: a description for the card, and the fitted arrays."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.format.format3 import LIKE, names_file
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.encoders import view_specs
from mmcl_jax.evaluation.heads.encoded import ViewSpec, plain_spec
from mmcl_jax.export.formats import Written
from mmcl_jax.export.release import Release
from mmcl_jax.prepare.entries.variants import variants_file
from mmcl_jax.training.runs.run import read_origin
from mmcl_jax.views import VIEWS

ARRAYS = "preprocessing.safetensors"
_DIVIDE_BY = {"uint8": 255, "uint16": 65535, "float16": 1}
_WINDOW = "not resized: the middle of the volume, with zeros beyond it, as the steps under `scan` leave it"
_STEPS = ("mask", "rescale", "histogram", "normalise")  # of the view `scan`, in their order
_RESIZE = "linear at half-pixel centres, not antialiased, edge pixels repeated"
_FEATURES = {"names": "The names of the features", "variants": "The variants, with both alleles and the counted one,"}
# What the request of a store says about its pictures.
_PICTURES = (
    "channels",
    "image_size",
    "resize",
    "antialias",
    "aspect",
    "transparent",
    "intensity",
    "equalise",
    "nan",
    "bits",
)


def preprocessing_of(release: Release, name: str) -> dict[str, Any]:
    """Return how stored rows of an input become what its encoder reads, as JSON values.

    Every kind has `kind`, `view` (its name) and the `shape` of one stored row, or of one image where rows have several
    `images`. An image or volume has its `dtype`, the number to `divide_by` and the `size` that it is resized to, or, of
    the view `scan`, of its window in the middle; its key `scan` has the steps before. An image of the view `frontal`
    has the pixels that `pad` it on both sides of its axes, and the `channels` that a grey image is repeated to. A table
    has its columns with their fitted statistics. A text of the view `report` has its `max_tokens` and whether it gets
    `special_tokens`. A vector may have a file with the `names` of its features, and genotypes with the `variants`:
    chromosome, position, id, the counted allele and the other one.
    """
    run = release.run
    spec, view = run.inputs.specs[name], plain_spec(run.config, name)
    entry = run.schema.entries.get(spec.of)
    card: dict[str, Any] = {
        "kind": spec.kind,
        "view": dict(view)["name"],
        "shape": spec.shape,
        "dtype": spec.dtype,
        "entry": spec.of,
    }
    if spec.kind in ("image", "volume"):
        size = view_specs(run.config, run.inputs.specs)[name].shape[:-1]
        images = entry.pictures if entry is not None else 1
        return {
            **card,
            "shape": spec.shape[-len(size) - 1 :],
            "images": images,
            "divide_by": _DIVIDE_BY[spec.dtype],
            "size": size,
            **padding_of(spec.shape[-len(size) - 1 :], view),
            **({"scan": _steps(view), "resize": _WINDOW} if dict(view)["name"] == "scan" else {"resize": _RESIZE}),
            "fit": entry.fit if entry is not None else "",
            "prepared": _prepared(release),
        }
    if spec.kind == "table":
        encoding = run.inputs.tables[name]
        policies = {"missing": encoding.missing, "outside": encoding.outside}
        return {**card, **policies, "missing_words": run.declaration.missing, "columns": table_columns(encoding)}
    if card["view"] == "report":
        options = {**VIEWS.spec("report"), **dict(view)}
        card |= {key: options[key] for key in ("max_tokens", "special_tokens")}
    return {**card, **{key: path.name for key, path in _features(release, name).items()}}


def padding_of(shape: Sequence[int], view: ViewSpec) -> dict[str, Any]:
    """Return how the view `frontal` pads an image `[H, W, C]` to a square; {} for other views."""
    options = dict(view)
    if options["name"] != "frontal":
        return {}
    return {"pad": [(max(shape[:2]) - side) // 2 for side in shape[:2]], "channels": options["channels"] or shape[2]}


def write_features(release: Release, folder: Path) -> list[Written]:
    """Write the names of the features of vectors and the variants of genotypes with their alleles, as the run has them.

    Runs of earlier versions have none of these files.
    """
    written: dict[str, Written] = {}
    for name in release.sources:
        for key, path in _features(release, name).items():
            shutil.copyfile(path, folder / path.name)
            about = f"{_FEATURES[key]} of {name!r}, in the order of its numbers."
            written[path.name] = Written(file=path.name, about=about)
    return list(written.values())


def _features(release: Release, name: str) -> dict[str, Path]:
    """Return the files of the run that say what the numbers of a vector are."""
    spec, folder = release.run.inputs.specs[name], release.run.directory / LIKE
    if spec.kind != "vector":
        return {}
    paths = {"names": folder / names_file(spec.of), "variants": folder / variants_file(spec.of)}
    return {key: path for key, path in paths.items() if path.is_file()}


def arrays_of(release: Release) -> dict[str, np.ndarray]:
    """Return the fitted arrays by "INPUT/NAME".

    They are imputers and quantiles of tables, moments of vectors, known tokens, and landmarks and masks of volumes.
    """
    arrays = {}
    for name in release.sources:
        for key, array in release.run.inputs.fitted.get(name, {}).items():
            arrays[f"{name}/{key}"] = np.ascontiguousarray(array)
        if name in release.run.inputs.tables:
            arrays |= {f"{name}/{key}": array for key, array in table_arrays(release.run.inputs.tables[name]).items()}
    return arrays


def views_of(release: Release) -> dict[str, str]:
    """Return the name of the view of every input whose plain form the export reproduces."""
    return {name: str(dict(plain_spec(release.run.config, name))["name"]) for name in release.sources}


def table_columns(encoding: Encoding) -> list[dict[str, Any]]:
    """Return the columns of a table with their fitted statistics, and whether each category is known.

    A category is known if training rows have it, and it is not rare.
    """
    statistics, columns = encoding.statistics, []
    for index, column in enumerate(encoding.schema.columns):
        numbers = {key: getattr(statistics, key)[index] for key in ("mean", "std", "fill", "low", "high")}
        seen = [count >= encoding.least_rows[index] for count in statistics.counts[index]]
        columns.append({**dataclasses.asdict(column), **numbers, "seen": seen, "width": column.width})
    return columns


def table_arrays(encoding: Encoding) -> dict[str, np.ndarray]:
    """Return the quantiles of columns, by their index, and the arrays of the imputer."""
    arrays = {
        f"quantiles.{index}": np.array(quantiles, np.float64)
        for index, quantiles in enumerate(encoding.statistics.quantiles)
        if len(quantiles)
    }
    if encoding.imputer is not None:
        fields = dataclasses.fields(encoding.imputer)
        arrays |= {f"imputer.{f.name}": np.ascontiguousarray(getattr(encoding.imputer, f.name)) for f in fields}
    return arrays


def _steps(view: ViewSpec) -> dict[str, Any]:
    """Return the options of the view `scan` that its plain form depends on, defaults filled in."""
    options = {**VIEWS.spec("scan"), **dict(view)}
    return {key: options[key] for key in _STEPS}


def _prepared(release: Release) -> dict[str, Any]:
    """Return how `mmcl prepare` fitted the store's pictures; {} where the run does not know."""
    request = read_origin(release.run.directory).get("request") or {}
    return {key: request[key] for key in _PICTURES if key in request}
