"""PixPro's pixel term: positions of two views that show the same place of an image predict each other."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.arrays import ArrayError
from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.stages import Each, Loss, Whole, masked_mean
from mmcl_jax.objectives.unit import unit
from mmcl_jax.views import Viewed


@TERMS.register("pixpro")
def pixpro(
    *, between: tuple[str, str] = ("image_1.local", "image_2.local"), threshold: float = 0.7, weight: float = 1.0
) -> Term:
    r"""Return the pixel term of PixPro (Xie et al., CVPR 2021), equations 2 and 5, in both directions.

    Two positions of the maps of two views are positives if the distance of their centres in the stored image, divided
    by the diagonal of a position's square there (the larger of the two views'), is at most the threshold. The loss is
    $\sum (1 - \cos(y_i, z'_j))$, averaged over the positive pairs of an image, then over the images with such a pair:
    $y$ are the predictions, and $z'$ the target network's embeddings of the other view. So the term needs views that
    say what their pixels show (`geometry`), a predictor, `pixel_propagation`, and a target network (`config.target`).

    Texts of pooled features are maps of one position: LoVT's released baseline, whose pixel layer is the pooled
    feature, so that its pixel term is one more instance term.

    Metrics: `overlap`, the share of images with a positive pair, and `agreement`, the mean cosine of positive pairs.

    Args:
      between: the two features.
      threshold: the largest distance; 0.7 in the paper.
      weight: factor of this term in the objective.

    Raises:
      ValueError: the weight is negative, or the threshold not positive.
      ArrayError: (a `UserError`, when the term is called) a view does not say what its pixels show, or local features
        are not those of a map.

    Example:
      >>> from mmcl_jax.encoders import Features
      >>> from mmcl_jax.views import resized
      >>> view = resized()(jnp.zeros((2, 8, 8, 1), jnp.uint8), train=False)  # the whole image
      >>> features = Features(pooled=jnp.zeros((2, 3)), local=jnp.zeros((2, 4, 3)), grid=(2, 2))
      >>> y, z = jnp.ones((2, 4, 3)), jnp.ones((2, 4, 3))
      >>> loss = pixpro()(features, features, predictions=(y, y), teacher=(z, z), views=(view, view))
      >>> round(float(loss), 4)
      0.0
    """
    check_weights(weight=weight)
    if threshold <= 0:
        raise ValueError(f"threshold must be positive, not {threshold}")

    def each(rows: Each) -> dict[str, Float[Array, "B"]]:
        maps = [_as_map(array) for array in rows.predictions]
        targets = [_as_map(array) for array in rows.teacher]
        grids = []
        for text, features, array in zip(between, rows.features, rows.predictions, strict=True):
            grid = features.grid if array.ndim == 3 else (1, 1)
            if grid is None or len(grid) != 2:
                raise ArrayError(f"pixpro compares {text}, which are not the local features of an image's map.")
            grids.append(grid)
        places = [_places(view, grid, text) for view, grid, text in zip(rows.views, grids, between, strict=True)]
        (centres, diagonal), (others, other_diagonal) = places
        positive = _distance(centres, others) <= threshold * jnp.maximum(diagonal, other_diagonal)[:, None, None]
        pairs = positive.sum(axis=(1, 2), dtype=jnp.float32)
        cosines = _cosines(maps[0], targets[1]), _cosines(maps[1], targets[0]).swapaxes(1, 2)
        agreement = sum(jnp.where(positive, one, 0).sum(axis=(1, 2)) for one in cosines) / (2 * jnp.maximum(pairs, 1))
        return {"agreement": agreement, "pairs": pairs}

    def loss(batch: Whole) -> Loss:
        overlap = batch.each["pairs"] > 0
        with_pair = overlap if batch.present is None else overlap & batch.present
        agreement = masked_mean(batch.each["agreement"], with_pair)
        counted = with_pair.sum(dtype=jnp.float32)
        value = jnp.where(counted > 0, 2 - 2 * agreement, 0)
        metrics = {"agreement": agreement, "overlap": batch.mean(overlap.astype(jnp.float32))}
        return Loss(value=value, metrics=metrics, rows=counted)

    return Term(
        name="pixpro",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        outputs=("prediction", "teacher"),
        local=True,
        unexplained="the geometry of augmented views",
    )


def _as_map(array: Float[Array, "B ..."]) -> Float[Array, "B L d"]:
    return array if array.ndim == 3 else array[:, None]


def _cosines(x: Float[Array, "B K d"], y: Float[Array, "B L d"]) -> Float[Array, "B K L"]:
    x, y = (unit(side.reshape(math.prod(side.shape[:2]), -1), dtype=jnp.float32).reshape(side.shape) for side in (x, y))
    return jnp.einsum("bkd,bld->bkl", x, y)


def _places(view: Viewed | None, grid: tuple[int, ...], text: str) -> tuple[Float[Array, "B L 2"], Float[Array, "B"]]:
    """Return the centres of a map's positions in the stored image, and the diagonal of one of them, in its pixels."""
    if view is None or view.geometry is None:
        raise ArrayError(
            f"pixpro compares {text}, and this view does not say what its pixels show; choose frontal, augment or "
            "resized."
        )
    sides = [side / cells for side, cells in zip(view.values.shape[1:3], grid, strict=True)]  # of a position
    steps = [jnp.arange(cells, dtype=jnp.float32) for cells in grid]
    middles = [step * side + (side - 1) / 2 for step, side in zip(steps, sides, strict=True)]
    points = [axis.ravel()[None, :, None] for axis in jnp.meshgrid(*middles, indexing="ij")]
    map_ = view.geometry  # products of float32, which a matrix product of an accelerator would round
    centres = map_[:, None, :, 0] * points[0] + map_[:, None, :, 1] * points[1]
    lengths = jnp.sum(jnp.square(map_[:, :, :2] * jnp.array(sides)[None, None]), axis=(1, 2))
    return centres + map_[:, None, :, 2], jnp.sqrt(lengths)


def _distance(x: Float[Array, "B K 2"], y: Float[Array, "B L 2"]) -> Float[Array, "B K L"]:
    return jnp.sqrt(jnp.square(x[:, :, None] - y[:, None]).sum(axis=3))
