"""Generating polymer membranes: electron micrographs, the table of their making, and how much water passes."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmcl_jax.errors import check
from mmcl_jax.synthetic.membranes.draw import Micrograph, draw
from mmcl_jax.synthetic.membranes.process import MAY_MISS, Process
from mmcl_jax.synthetic.membranes.structure import Structure

ERROR = 0.06  # standard deviation of the logarithm of a measured permeance


def generate_membranes(
    root: Path, *, membranes: int = 1800, image_size: int = 64, seed: int = 0, missing: float = 0.05
) -> None:
    """Write `membranes.csv`, `images/KEY.png` and `truth.csv`: a small data set for regression from the table.

    It stands in for HIPMP, the membranes of MT-CMTM (Roy et al., arXiv 2501.07304), which is not public: under 2,000
    rows with an image, a table and a number to predict. A process of 13 columns leads, with luck, to a structure
    (`Structure`), which a grey section shows; the structure alone decides the permeance, of which the table has a
    measurement. So the image tells more about the number than the table does, and tells it without labels. Four columns
    are noise.

    A membrane depends only on the seed and its number.

    Args:
      root: the folder to write to.
      membranes: number of membranes.
      image_size: height and width of an image in pixels.
      seed: the seed of all random numbers.
      missing: the share of empty cells in each of the columns that may have them.

    Raises:
      UserError: an option is out of range.
    """
    check(membranes >= 1, f"--dataset.membranes={membranes} is too small; give 1 or more.")
    check(16 <= image_size <= 512, f"--dataset.image_size={image_size} is not between 16 and 512.")
    check(0 <= missing <= 0.5, f"--dataset.missing={missing} is not a share between 0 and 0.5.")
    check(seed >= 0, f"--dataset.seed={seed} is negative; give 0 or more.")
    rows, truth = [], []
    images = root / "images"
    images.mkdir(parents=True)
    for number in range(membranes):
        random = {
            part: np.random.default_rng((seed, turn, number)) for turn, part in enumerate(("made", "cells", "drawn"))
        }
        key = f"M{number + 1:04d}"
        process = Process.random(random["made"])
        structure = Structure.of(process, random["made"])
        measured = structure.permeance * float(np.exp(ERROR * random["made"].standard_normal()))
        cells = {
            name: "" if name in MAY_MISS and random["cells"].random() < missing else value
            for name, value in dataclasses.asdict(process).items()
        }
        rows.append({"membrane": key, "image": f"{key}.png", **cells, "permeance": round(measured, 2)})
        seen = {name: f"{value:.5g}" for name, value in dataclasses.asdict(structure).items()}
        truth.append(
            {"membrane": key, **seen, "permeance": f"{structure.permeance:.5g}", **dataclasses.asdict(process)}
        )
        micrograph = Micrograph.random(random["drawn"])
        picture = draw(structure, micrograph, shape=process.shape, size=image_size, random=random["drawn"])
        Image.fromarray(picture).save(images / f"{key}.png")
    _write(root / "membranes.csv", rows)
    _write(root / "truth.csv", truth)


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
