"""The method `integrated_gradients`: the importance of columns for every dimension of an embedding, or for a head."""

from pathlib import Path as FilePath

from mmcl_jax.errors import check
from mmcl_jax.explain.attributed import explained_columns
from mmcl_jax.explain.base import COLUMN_KINDS, IMAGE_KINDS, METHODS, Result, Subject
from mmcl_jax.explain.outputs import Outputs
from mmcl_jax.explain.pictures.pixels import explained_pixels


@METHODS.register("integrated_gradients", takes=(*COLUMN_KINDS, *IMAGE_KINDS), first=COLUMN_KINDS, regions=True)
def integrated_gradients(subject: Subject, folder: FilePath) -> Result:
    """Explain an embedding, or a head, by integrated gradients (Hager et al., CVPR 2023, section 3.2).

    The gradients of every dimension of the embedding are integrated from the baseline to each row. One-hot columns, or
    the vector of a token, are summed to their column. The importance of a column is the mean of the absolute value over
    dimensions and rows. (The paper takes absolute values before it sums one-hot columns; with its zero baseline only
    the chosen category differs from the baseline, so both orders are equal.) With a single output, such as one logit
    of a head, the attributions of rows keep their sign.

    The pixels of an image or a volume are explained for one number: an output of a head, or a latent dimension. A map
    of each row is written, and the means over rows in the grid of the stored images.

    Raises:
      UserError: the head has no such output, or the encoder or the head cannot be explained; of pixels, several numbers
        are to be explained.
    """
    explained, title = Outputs(subject), "Integrated gradients"
    if subject.spec.kind not in IMAGE_KINDS:
        return explained_columns(subject, explained, folder, title=title)
    check(
        explained.outputs == 1,
        f"--method integrated_gradients: the pixels of {subject.input} are explained for one number, and there are "
        f"{explained.outputs}; choose it by --dimension, or by --head and --output, or take the method saliency.",
    )
    return explained_pixels(subject, explained, folder, title=title)
