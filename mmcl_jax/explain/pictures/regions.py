"""The regions of an atlas: how much of a map lies in each."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mmcl_jax.data.schema import Entry
from mmcl_jax.errors import check
from mmcl_jax.explain.columns import OTHER, Columns
from mmcl_jax.files import reading
from mmcl_jax.prepare.images.files import Fit
from mmcl_jax.prepare.images.grid import Grid, nifti_levels

REGIONS = "regions.tsv"


@dataclasses.dataclass(frozen=True)
class Atlas:
    """An atlas in the grid of the stored volumes.

    Attributes:
      labels: the number of the region of each voxel `[D, H, W]`; 0 for none.
      names: of the regions, by number, in ascending order; those that have a voxel.
    """

    labels: Int[np.ndarray, "D H W"]
    names: dict[int, str]

    def table(self, maps: Float[np.ndarray, "K D H W"], signed: Float[np.ndarray, "K D H W"]) -> list[dict[str, Any]]:
        """Return what lies in every region, the densest first.

        Every row has the `region`, its `name` and `voxels`; `density`, the mean of the maps, which are not negative,
        over the voxels and the K maps; `share`, the part of the maps that is inside; `mean`, the mean of the signed
        maps; and `maps`, the density of each map.
        """
        total = float(maps.sum()) or 1.0
        rows = []
        for number, name in self.names.items():
            inside = self.labels == number
            part = maps[:, inside]
            rows.append(
                {
                    "region": number,
                    "name": name,
                    "voxels": int(inside.sum()),
                    "density": float(part.mean()),
                    "share": float(part.sum()) / total,
                    "mean": float(signed[:, inside].mean()),
                    "maps": [float(value) for value in part.mean(axis=1)],
                }
            )
        return sorted(rows, key=lambda row: (-row["density"], row["region"]))

    def ranked(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the regions as `explanation.json` has columns, ranked by density."""
        columns = Columns(tuple(row["name"] for row in rows), (OTHER,) * len(rows))
        return columns.ranked(np.array([row["density"] for row in rows]), np.array([row["mean"] for row in rows]))


def read_atlas(entry: Entry, of: str, file: Path, names: Path | None) -> Atlas:
    """Read an atlas, a NIfTI file of whole numbers, and the names of its regions.

    Args:
      entry: the volumes whose grid the atlas must have.
      of: the name of the entry.
      file: the atlas.
      names: a file with a line per region, tab between its number and its name, and the line `index name` first; None
        for the numbers.

    Raises:
      UserError: a file cannot be read, the grids differ, a number is not whole, or a number of the atlas has no name.
    """
    check(
        bool(entry.affine),
        f"--atlas: {of!r} has no affine in the store, so that no atlas can be laid over it; prepare the store from "
        "NIfTI files of one grid.",
    )
    levels, grid = nifti_levels(file, max_voxels=Fit.max_voxels, orientation="ras")
    own = Grid(tuple(entry.shape[:3]), entry.affine)
    assert grid is not None
    check(
        grid.same(own),
        f"--atlas: {file} has {grid}, and {of!r} has {own}; resample the atlas to the grid of the volumes, "
        "by the nearest voxel.",
    )
    values = np.asarray(levels.values, np.float64)
    check(values.shape[3] == 1, f"--atlas: {file} has {values.shape[3]} volumes; give a file with one.")
    whole = bool(np.isfinite(values).all() and (values == np.rint(values)).all() and values.min() >= 0)
    check(whole, f"--atlas: {file} has values other than the numbers of regions, 0, 1, 2 and so on.")
    labels = values[..., 0].astype(np.int64)
    numbers = [int(number) for number in np.unique(labels) if number > 0]
    check(len(numbers) > 0, f"--atlas: {file} has no region: all its voxels are 0.")
    known = {number: str(number) for number in numbers} if names is None else _names(names)
    for number in numbers:
        check(number in known, f"--atlas-names: {names} has no line for the region {number} of {file}; add it.")
    return Atlas(labels, {number: known[number] for number in numbers})


def write_regions(rows: Sequence[dict[str, Any]], outputs: Sequence[str], file: Path) -> None:
    """Write the table of regions, tab between cells: a line per region, and a column per map after the first six."""
    heads = ["region", "name", "voxels", "density", "share", "mean", *(outputs if len(outputs) > 1 else [])]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(heads)
        for row in rows:
            numbers = [row["density"], row["share"], row["mean"], *(row["maps"] if len(outputs) > 1 else [])]
            writer.writerow([row["region"], row["name"], row["voxels"], *(f"{number:.6g}" for number in numbers)])


def _names(file: Path) -> dict[int, str]:
    remedy = "write a first line, index and name, and a line per region, with a tab between number and name"
    with reading(file, remedy), file.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.reader(stream, delimiter="\t"))
    check(bool(lines) and lines[0][:2] == ["index", "name"], f"--atlas-names: {file} does not begin so; {remedy}.")
    known: dict[int, str] = {}
    for at, line in enumerate(lines[1:], 2):
        right = len(line) >= 2 and line[0].strip().isdigit() and bool(line[1].strip())
        check(right, f"--atlas-names: line {at} of {file} is no number and name; {remedy}.")
        number = int(line[0])
        check(number not in known, f"--atlas-names: {file} has the region {number} twice; name it once.")
        known[number] = line[1].strip()
    return known
