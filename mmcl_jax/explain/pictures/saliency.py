"""The method `saliency`: gradients of latent dimensions, or of a head, by the pixels of images and volumes."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path as FilePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mmcl_jax.errors import check
from mmcl_jax.explain.base import IMAGE_KINDS, METHODS, Result, Subject
from mmcl_jax.explain.embedded import padded
from mmcl_jax.explain.integrate import Noise, Path
from mmcl_jax.explain.outputs import Explained, Outputs, paths
from mmcl_jax.explain.pictures.whole import write_maps
from mmcl_jax.page.wording import counted
from mmcl_jax.progress import Bar


@METHODS.register("saliency", takes=IMAGE_KINDS, regions=True)
def saliency(subject: Subject, folder: FilePath) -> Result:
    """Explain every latent dimension, or the outputs of a head, by its gradient by the pixels (Simonyan et al., 2014).

    `absolute` is the mean over rows of the absolute gradient, summed over channels, and `signed` that of the gradient.
    The gradient says what an output would react to, also where all rows are alike, and a network that pools reacts to
    voxels everywhere. So `effect` is the mean of |gradient x (voxel - its mean over the training rows)|, which says
    what moves the output from row to row; pictures and regions are of it.

    With `--noise-samples`, all are means over draws of noise on the view too (SmoothGrad, Smilkov et al., 2017), as the
    released code of the taxonomy of Fedorov et al. does for each latent dimension. Maps are in the grid of the stored
    rows; of volumes, NIfTI files have them, and with `--atlas` a table has their densities by region.

    Raises:
      UserError: the head has no such output, or the embedding no such dimension; or the rows have several images.
    """
    explained = Outputs(subject)
    return explained_gradients(subject, explained, explained.names, folder, title=f"Saliency of {explained.of}")


def explained_gradients(
    subject: Subject, explained: Explained, outputs: Sequence[str], folder: FilePath, *, title: str
) -> Result:
    """Write the gradients of a function of an image or a volume by its pixels, averaged over rows; see `saliency`."""
    check(
        subject.source.run.schema.entries[subject.spec.of].pictures == 1,
        f"--input {subject.input}: its rows have several images; gradients of rows with one image are explained.",
    )
    options, embedded = subject.options, explained.embedded
    noise = Noise(options.noise_samples, options.noise_std) if options.noise_samples else None
    shape = embedded.layout.shapes[0]
    sums = {name: np.zeros((len(outputs), embedded.width)) for name in ("absolute", "signed", "effect")}
    image = np.zeros(shape)
    with Bar(f"{title}: rows", len(subject.rows)) as bar:
        for block, path in paths(subject, explained, "mean"):
            count = block.stop - block.start
            weight = jnp.asarray((np.arange(len(path.rows)) < count).astype(np.float32))  # not of rows that pad
            ids = jnp.asarray(padded(subject.rows[block], len(path.rows)))
            draws: Iterable[Path] = [path] if noise is None else noise.on(path, ids)
            for draw in draws:
                for chosen, part in draw.gradients():
                    for name, found in _summed(part, weight, path.rows - path.baseline[None], shape[-1]).items():
                        sums[name][chosen] += np.asarray(found, np.float64)
            image += np.asarray(path.rows[:count], np.float64).sum(axis=0).reshape(shape)
            bar.advance(count)
    rows = len(subject.rows)
    draws_of = rows * (1 if noise is None else noise.samples)
    maps = {name: total.reshape(-1, *embedded.space) / draws_of for name, total in sums.items()}
    written = write_maps(subject, folder, maps, image / rows, outputs, title=title, shown="effect")
    settings: dict[str, Any] = {**explained.settings, "noise": None if noise is None else dataclasses.asdict(noise)}
    return Result(
        of=explained.of,
        settings=settings,
        columns=written.columns,
        pictures=written.pictures,
        details={**written.details, "signed": True},
        notes=[
            f"Maps are means over {counted(rows, 'row')}: pictures and regions show the effect, |gradient x (what the "
            "encoder reads - its mean over the training rows)|; absolute.npy has the absolute gradients.",
            *written.notes,
        ],
    )


@functools.partial(jax.jit, static_argnums=3)
def _summed(
    part: Float[Array, "R k E"], weight: Float[Array, "R"], difference: Float[Array, "R E"], channels: int
) -> dict[str, Float[Array, "k F"]]:
    """Return sums over rows: of absolute gradients, of gradients, and of their absolute products with a difference."""

    def of_pixels(values: Float[Array, "R k E"]) -> Float[Array, "k F"]:
        return values.reshape(*values.shape[:2], -1, channels).sum(axis=(0, 3))

    weighted = part * weight[:, None, None]
    return {
        "absolute": of_pixels(jnp.abs(weighted)),
        "signed": of_pixels(weighted),
        "effect": of_pixels(jnp.abs(weighted * difference[:, None])),
    }
