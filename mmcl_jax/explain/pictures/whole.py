"""What methods on images and volumes write of maps over all rows: arrays, NIfTI files, pictures and regions."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from mmcl_jax.data.affine import affine_of
from mmcl_jax.data.kinds.intensity import foreground
from mmcl_jax.explain.base import Picture, Subject
from mmcl_jax.explain.pictures.overlays import overlay
from mmcl_jax.explain.pictures.regions import REGIONS, write_regions
from mmcl_jax.explain.pictures.slices import write_slices
from mmcl_jax.explain.pictures.stored import geometry_of, in_stored_grid, write_nifti

_SHOWN = 6  # maps of single outputs with a picture
_LOOKED_AT = 64  # volumes, to tell a head from the empty space around it
_WORST = 1e-12  # of the largest total: a map below is taken as zero


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written, as parts of a `Result`."""

    columns: Sequence[Mapping[str, Any]]
    pictures: Sequence[Picture]
    details: Mapping[str, Any]
    notes: Sequence[str]


def write_maps(
    subject: Subject,
    folder: Path,
    maps: Mapping[str, Float[np.ndarray, "K *space"]],
    image: Float[np.ndarray, "*space C"],
    outputs: Sequence[str],
    *,
    title: str,
    shown: str = "absolute",
) -> Written:
    """Write maps over all rows in the grid of the stored rows, and the table of regions of an atlas.

    Of every name of `maps`, `NAME.npy` has them float32 `[K, H, W]` or `[K, D, H, W]`, and of volumes with an affine
    `NAME.nii.gz`. Pictures show the mean over the outputs, in which each output counts alike, and the largest maps of
    single outputs, of volumes without the empty space around them (`intensity.foreground`): there, too, z-scores differ
    from scan to scan.

    Args:
      subject: what was explained.
      folder: of the files.
      maps: "absolute", the means over rows of absolute values, "signed", those of the values, and maybe others; in the
        grid of the view.
      image: the mean of the views.
      outputs: the K names of the outputs.
      title: what was done, in words.
      shown: name of the maps, not negative, that pictures and regions are of.
    """
    space = subject.spec.shape[-len(image.shape) : -1]
    geometry, notes, files = geometry_of(subject), list[str](), list[str]()
    stored = {name: in_stored_grid(values, geometry, space) for name, values in maps.items()}
    for name, values in stored.items():
        np.save(folder / f"{name}.npy", values)
        files.append(f"{name}.npy")
        if subject.spec.kind == "volume":
            note = write_nifti(subject, folder / f"{name}.nii.gz", values)
            files += [f"{name}.nii.gz"] if note is None else []
            notes += [note] if note is not None and note not in notes else []
    found = stored[shown]
    totals = found.reshape(len(found), -1).sum(axis=1, dtype=np.float64)
    rows = [] if subject.atlas is None else subject.atlas.table(found, stored["signed"])
    if subject.atlas is not None:
        write_regions(rows, outputs, folder / REGIONS)
        files.append(REGIONS)
    named = [{"name": name, "total": float(total)} for name, total in zip(outputs, totals, strict=True)]
    return Written(
        columns=subject.atlas.ranked(rows) if subject.atlas is not None else (),
        pictures=_pictures(subject, folder, found, totals, _middle(image, geometry, space), outputs, title),
        details={"files": files, "outputs": named, "grid": list(space), **({"unit": "region"} if rows else {})},
        notes=notes,
    )


def _middle(image: np.ndarray, geometry: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """Return the mean view in the grid of the stored rows, `[*space, C]`."""
    return np.moveaxis(in_stored_grid(np.moveaxis(image, -1, 0), geometry, space), 0, -1)


def _inside(subject: Subject) -> np.ndarray:
    """Return the voxels of some of the explained volumes that are not empty space; all where there is none."""
    inside = foreground(np.asarray(subject.inputs(subject.input)[subject.rows[:_LOOKED_AT]]))
    return inside if inside.any() else np.ones_like(inside)


def _pictures(
    subject: Subject,
    folder: Path,
    maps: np.ndarray,
    totals: np.ndarray,
    image: np.ndarray,
    outputs: Sequence[str],
    title: str,
) -> list[Picture]:
    space = (1,) * (maps.ndim - 1)
    live = totals > _WORST * max(float(totals.max()), 1e-300)
    scaled = maps / np.where(live, totals, 1).reshape(-1, *space)
    chosen = [("mean.png", scaled.mean(axis=0), title)]
    if len(outputs) > 1:
        order = np.argsort(-totals, kind="stable")[: min(_SHOWN, subject.options.top)]
        digits = len(str(len(order)))
        for place, at in enumerate(order, 1):
            chosen.append((f"output-{place:0{digits}d}.png", maps[at], f"{title}, {outputs[at]}"))
    pictures = []
    inside = _inside(subject) if maps.ndim == 4 else None
    for file, found, words in chosen:
        if inside is not None:
            affine = affine_of(subject.store.schema, subject.spec.of)
            grey = image.mean(axis=-1)
            pictures.append(write_slices(folder, file, grey, found, inside, title=words, affine=affine))
        else:
            Image.fromarray(overlay(image.astype(np.float32), found.astype(np.float32))).save(folder / file)
            pictures.append(Picture(file, f"{words}: left the mean of the images, then the map over it."))
    return pictures
