"""Maps of a view in the grid of the stored volume, and as NIfTI files in the patient's coordinates."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import ndimage

from mmcl_jax.data.affine import affine_of, nifti_axes
from mmcl_jax.evaluation.heads.encoded import built, plain_spec
from mmcl_jax.explain.base import Subject


def geometry_of(subject: Subject) -> Float[np.ndarray, "n m"]:
    """Return the affine map from the pixels of the plain view of an input to its stored pixels; see `views.geometry`.

    All rows have the same, since a plain view neither crops nor turns at random.
    """
    run = subject.source.run
    view = built(plain_spec(run.config, subject.input))
    row = np.asarray(subject.inputs(subject.input)[subject.rows[:1]])
    fitted = jax.tree.map(jnp.asarray, dict(run.inputs.fitted.get(subject.input, {})))
    seen = jax.jit(view.plain)(jnp.asarray(row), jax.random.split(jax.random.key(0), 1), fitted)
    assert seen.geometry is not None  # views of images and volumes have it
    return np.asarray(seen.geometry[0], np.float64)


def is_turned(subject: Subject) -> bool:
    """Return whether the stored rows are volumes in RAS+, which begin at the bottom and at the back."""
    return bool(subject.store.schema.entries[subject.spec.of].affine)


def in_stored_grid(
    maps: Float[np.ndarray, "K *space"], geometry: Float[np.ndarray, "n m"], shape: tuple[int, ...]
) -> Float[np.ndarray, "K *stored"]:
    """Return maps of a view in the grid of the stored array, float32; 0 where the view does not reach.

    Where the view is resized, values are interpolated linearly, so that densities are kept and sums are not.

    Args:
      maps: `[K, *space]`, in the grid of the view.
      geometry: from the view to the stored array, which mixes no axes.
      shape: of the stored array.

    Example:
      >>> middle = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])  # a view of 2 x 2 that sees a 4 x 4 from (1, 1)
      >>> in_stored_grid(np.ones((1, 2, 2)), middle, (4, 4))[0].sum(axis=0).tolist()
      [0.0, 2.0, 2.0, 0.0]
    """
    step, offset = np.diag(geometry[:, :-1]), geometry[:, -1]
    points = [(np.arange(length) - start) / by for length, start, by in zip(shape, offset, step, strict=True)]
    indices = np.stack(np.meshgrid(*points, indexing="ij"))
    last = np.array(maps.shape[1:], float).reshape(-1, *[1] * len(shape)) - 0.5
    inside = ((indices >= -0.5) & (indices <= last)).all(axis=0)
    seen = [ndimage.map_coordinates(one.astype(np.float64), indices, order=1, mode="nearest") for one in maps]
    return (np.stack(seen) * inside).astype(np.float32)


def write_nifti(subject: Subject, file: Path, maps: Float[np.ndarray, "K D H W"]) -> str | None:
    """Write maps `[K, D, H, W]` in the grid of the stored volumes as a NIfTI file of K volumes.

    Returns:
      None, or a sentence that says why there is no file: the store has no affine of the volumes, or nibabel is not
      installed.
    """
    schema, of = subject.store.schema, subject.spec.of
    affine = affine_of(schema, of)
    if affine is None:
        return f"{of} has no affine in the store, so that maps are written as arrays alone, without NIfTI files."
    try:
        nibabel = importlib.import_module("nibabel")
    except ImportError:
        return 'nibabel is not installed, so that no NIfTI file is written; run pip install "mmcl_jax[medical]".'
    values = np.moveaxis(maps, 0, -1) if len(maps) > 1 else maps[0]
    image = nibabel.Nifti1Image(nifti_axes(values), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, file)
    return None
