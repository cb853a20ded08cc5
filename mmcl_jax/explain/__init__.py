"""Explanations of encoders, of kept heads and of the loss: which columns matter, and which pixels.

A method is one file here and a line in this list; `mmcl explain --method NAME` runs it. It is a function
`(Subject, folder) -> Result` that is registered under its name and writes its own files into the folder. Everything
else is shared: the choice of rows, the head, the groups of columns, and the folder of an explanation:

    RUN/explanations/METHOD-INPUT/            or, of a kept head, METHOD-INPUT-HEAD/; under --out in place of
                                              RUN/explanations where that is given
      explanation.json                        what was explained and how, and the result; see below
      attributions.parquet                    a row per explained row (methods on columns): `key`; `attributions`, a
                                              fixed-size list with a number per column, in the order of
                                              explanation.json (of a text, per position); `change`,
                                              f(x) - f(baseline); `error`, what the attributions leave of it; all are
                                              null for a row that takes part in no term of the input. Of several
                                              outputs, all three are means of absolute values. Of an ablation,
                                              `attributions` are the changes, and there is neither `change` nor `error`
      ranking.png, ranking.svg                the ranked columns, coloured by group
      maps.npz                                Grad-CAM: `keys` of the rows, `maps` `[N, h, w]` at the resolution of the
                                              stage, and the index of the explained `output` of each row
      maps.npy                                of integrated gradients and a loss, of an image or a volume: the
                                              attribution of every pixel `[N, H, W]`, summed over channels; NaN for a
                                              row without the image. attributions.parquet then has a number
                                              `attribution`, the sum over pixels
      absolute.npy, signed.npy                of these, saliency and canonical: the means over rows of the absolute
                                              values and of the values, float32 `[K, H, W]` or `[K, D, H, W]` for K
                                              outputs, in the grid of the stored images, 0 where the view does not reach
      effect.npy                              of saliency and canonical: likewise |gradient x (pixel - training mean)|
      absolute.nii.gz, ...                    the same of volumes with an affine, as K volumes in the patient's axes
      regions.tsv                             with --atlas: per region its number, name, voxels, density (the mean
                                              effect, or else absolute value, of a voxel), share (of the sum of them),
                                              mean (of signed values) and, of several outputs, the density of each
      individual-*.png                        of a loss: the features that raise and lower the loss of a row the most
      guided.npy                              guided Grad-CAM `[N, H, W, C]`, in the size of the view
      attention.npz                           the attention of a fusion: names of `tokens` and their `columns`, `mean`
                                              maps `[K, h, w]`, the number of `rows` in each; `keys` and `maps` of the
                                              first rows
      sentences.npz, sentences.html           where sentences point: the maps, and a page with the sentences beside them
      overlay-*.png                           of the first rows: the image, and the map over it
      *.png                                   other pictures
      checksums.json                          size and SHA-256 of these files, written last

`explanation.json` has the keys

    format          1
    method          name of the method, such as "integrated_gradients"
    input, kind     the explained input of the run and its kind, such as "table"
    of              what is explained, in words, such as "the 2,048 dimensions of the embedding"
    run, step, split, rows, store, head
                    the run's folder, the step of its checkpoint (null for the random encoder), the split, the number of
                    explained rows, the fingerprint of the store; null, or the `name` of the head's folder and what it
                    was trained on
    settings        the options of the method
    columns         per column, in the order of the input: name, group, importance, share (of the sum of importances),
                    rank (from 1) and, where the attributions have a sign, mean; with --atlas per region, whose
                    importance is its density, the densest first; else [] for images
    groups          per group: name, colour, columns (their number), importance and share (their sums); [] for images
    pictures        per picture: file, alternative (its description in a sentence)
    details         what only this method reports: `completeness` of integrated gradients, with the relative `error`
                    over all rows, the largest of a row, and whether the tolerance was `reached` (null if the number of
                    steps was given); `absent`, the number of rows without an attribution; of a single output,
                    `modality`: the mean over rows of the sum (`summed`) and of the mean (`mean`) of absolute
                    attributions; of regions, `unit`: "region"; of saliency and the like, as `outputs`, the `name` of
                    each and the `total` of its absolute map; of canonical, the `partner`, the `directions`, and the
                    `correlations` on training rows and (`correlations_explained`) on the explained rows; of a loss,
                    `individuals`: per row `key`, whether it is `absent`, and the features with the `highest` and
                    `lowest` attributions; of an ablation, the change, the outputs that change most and the metrics of
                    each group; of an attention, the `fusion`, the `grid`, and per token: name, rows,
                    focus, region and its share, and the mean weights of all regions; of sentences, what they point
                    `by`, the `grid`, and per sentence its row and its strongest region
    notes           sentences for the user
    made_by         command, versions and machine

Every number is finite or null. `Explanation.read` reads a folder, and `explanations_of(run)` lists those of a run.
"""

from mmcl_jax.explain import ablation as ablation
from mmcl_jax.explain import integrated_gradients as integrated_gradients
from mmcl_jax.explain.base import METHODS
from mmcl_jax.explain.fusions import attention as attention
from mmcl_jax.explain.losses import loss as loss
from mmcl_jax.explain.pictures import canonical as canonical
from mmcl_jax.explain.pictures import grad_cam as grad_cam
from mmcl_jax.explain.pictures import saliency as saliency
from mmcl_jax.explain.result import Explanation, explanations_of
from mmcl_jax.explain.sentences import sentences as sentences

__all__ = ["METHODS", "Explanation", "explanations_of"]
