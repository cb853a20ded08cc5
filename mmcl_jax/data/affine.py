"""Where the voxels of a stored volume lie in the patient, and volumes in the axes of NIfTI.

A volume is stored as `[depth, height, width, channels]`. Its affine maps the voxel (i, j, k) of a NIfTI file, which is
stored at [k, j, i], to millimetres towards the right, the front and the top (RAS+).
"""

import numpy as np
from jaxtyping import Float, Shaped

from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import check_name


def affine_of(schema: Schema, name: str) -> Float[np.ndarray, "4 4"] | None:
    """Return the RAS+ affine of all volumes of an entry, in millimetres; None for volumes without a common grid.

    Volumes of `.npy` files and DICOM series have none, and neither have volumes that were stretched to one size.

    Args:
      schema: of a store (`store.schema`) or of a run's inputs (`inputs.schema`).
      name: of the entry, which is `InputSpec.of` for an input of an experiment.

    Raises:
      UserError: there is no such entry.

    Example:
      >>> from mmcl_jax.data.schema import Entry
      >>> affine = (3.0, 0.0, 0.0, -90.0, 0.0, 3.0, 0.0, -126.0, 0.0, 0.0, 3.0, -72.0, 0.0, 0.0, 0.0, 1.0)
      >>> t1 = Entry(kind="volume", shape=(64, 64, 64, 1), dtype="float16", affine=affine)
      >>> affine_of(Schema({"t1": t1}), "t1")[:3, 3].tolist()
      [-90.0, -126.0, -72.0]
    """
    check_name(name, schema.entries.keys(), "The store has no entry", "its entries are")
    affine = schema.entries[name].affine
    return np.array(affine, np.float64).reshape(4, 4) if affine else None


def nifti_axes(volume: Shaped[np.ndarray, "depth height width *channels"]) -> Shaped[np.ndarray, "..."]:
    """Return a stored volume `[D, H, W]` or `[D, H, W, C]` as `[x, y, z]` or `[x, y, z, C]`, as NIfTI indexes it.

    A single channel is left out. With `affine_of`, the result makes a NIfTI image:
    `nibabel.Nifti1Image(nifti_axes(volume), affine)`.

    Example:
      >>> nifti_axes(np.zeros((2, 3, 4, 1))).shape
      (4, 3, 2)
    """
    if volume.ndim == 4 and volume.shape[3] == 1:
        volume = volume[..., 0]
    return np.moveaxis(volume, (2, 1, 0), (0, 1, 2))
