"""PixPro's pixel-to-propagation consistency (Xie et al., CVPR 2021): positions that show the same place agree."""

import itertools

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from mmcl_jax.arrays import ArrayError
from mmcl_jax.encoders import Features
from mmcl_jax.encoders.layers import linear
from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.stages import Each, Layer, LayerInput, Loss, Whole
from mmcl_jax.objectives.unit import unit
from mmcl_jax.views import Viewed


@TERMS.register("pixpro")
def pixpro(
    *,
    between: tuple[str, str] = ("image_1.local", "image_2.local"),
    gamma: float = 2.0,
    threshold: float = 0.7,
    weight: float = 1.0,
) -> Term:
    r"""Return PixPro's loss: $-\cos(y_i, x'_j) - \cos(y_j, x'_i)$, a mean over the pairs of near positions i, j.

    x are local embeddings of one view, x' those of the other view by the target network, an EMA of encoder and
    projector (`config.target`), and $y_i = \sum_j \max(\cos(x_i, x_j), 0)^\gamma g(x_j)$ are the propagated ones; g is
    one linear layer, shared by all positions and both views (Xie et al., CVPR 2021, equations 1, 3 and 4; in LoVT's
    baseline PixelPro, too). Two positions of the two views are a pair if their distance in the stored image is below
    the threshold. Its unit is the diagonal of one cell of the map, of the view whose cells are larger.

    The loss of an image is the mean over its pairs, 0 without any, and the loss of the batch the mean over its images.
    Both views must show the same stored image, so a row of several images needs views that draw alike. Metrics:
    `agreement`, the mean cosine; `overlapping`, the share of the images that have pairs.

    Between pooled features, such as `("image_1", "image_2")`, the map has one position, which is always a pair. This is
    the setting of LoVT's released baseline, whose pixel layer is the average pool: nothing is local then.

    Args:
      between: the local features of two views of an image or a volume, behind projectors.
      gamma: exponent of the similarity in the propagation.
      threshold: distance from which on two positions are no pair, in diagonals of a cell.
      weight: factor of this term in the objective.

    Raises:
      ValueError: a number is out of range, or local features are to be compared with pooled ones.
      ArrayError: (a `UserError`, when the term is called) a view has no geometry, or local features are on no map.

    Example:
      >>> import jax
      >>> from mmcl_jax.views import resized
      >>> first, second = resized()(jnp.zeros((1, 8, 8, 1), jnp.uint8)), resized()(jnp.zeros((1, 8, 8, 1), jnp.uint8))
      >>> x = jax.random.normal(jax.random.key(0), (1, 4, 16))
      >>> features = Features(pooled=x.mean(axis=1), local=x, grid=(2, 2))
      >>> term = pixpro()
      >>> layers = term.init(nnx.Rngs(0), features, features)
      >>> loss = term(features, features, teacher=(x, x), views=(first, second), layers=layers)
      >>> bool(-2 <= loss <= 2)
      True
    """
    check_weights(weight=weight, gamma=gamma)
    if threshold <= 0:
        raise ValueError(f"threshold must be positive, not {threshold}")
    local, *others = {".local" in text for text in between}
    if others:
        raise ValueError(f"pixpro compares local features with local ones, or pooled with pooled, not {between}")

    def each(rows: Each) -> dict[str, Float[Array, "B"]]:
        (x1, x2), (t1, t2) = (
            tuple(side if side.ndim == 3 else side[:, None] for side in sides)
            for sides in (rows.embeddings, rows.teacher)
        )
        near = jnp.ones((len(x1), 1, 1), bool)
        if local:
            places = [_places(*given) for given in zip(between, rows.features, rows.views or (None, None), strict=True)]
            near = _near(*places, threshold=threshold)
            for axis, features in enumerate(rows.features):
                if features.mask is not None:
                    near = near & jnp.expand_dims(features.mask, 2 - axis)
        count = near.sum(axis=(1, 2)).astype(jnp.float32)
        transform = rows.layers["transform"]

        def agreement(x: Float[Array, "B K d"], target: Float[Array, "B M d"], near: Bool[Array, "B K M"]) -> Array:
            y = propagated(x, transform(x), gamma)
            cosines = jnp.einsum("bkd,bmd->bkm", _unit(y), _unit(target))
            return jnp.where(near, cosines, 0).sum(axis=(1, 2)) / jnp.maximum(count, 1)

        both = agreement(x1, t2, near) + agreement(x2, t1, near.swapaxes(1, 2))
        return {"agreement": both / 2, "overlapping": (count > 0).astype(jnp.float32)}

    def loss(batch: Whole) -> Loss:
        metrics = {name: batch.mean(values) for name, values in batch.each.items()}
        return Loss(value=-2 * metrics["agreement"], metrics=metrics)

    return Term(
        name="pixpro",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        local=True,
        outputs=("embedding", "teacher"),
        layers={"transform": Layer(build=_transform)},
    )


def propagated(x: Float[Array, "B L d"], values: Float[Array, "B L d"], gamma: float) -> Float[Array, "B L d"]:
    r"""Return $y_i = \sum_j \max(\cos(x_i, x_j), 0)^\gamma v_j$, in float32 (equations 3 and 4 of PixPro's paper).

    Example:
      >>> x = jnp.array([[[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]])
      >>> propagated(x, x, 2.0).tolist()  # three positions that are not alike
      [[[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]]
    """
    directions = _unit(x)
    cosines = jnp.einsum("bkd,bld->bkl", directions, directions)
    positive = cosines > 0  # at 0 the power would have an infinite slope for gamma < 1
    similarity = jnp.where(positive, jnp.where(positive, cosines, 1.0) ** gamma, 0)
    return jnp.einsum("bkl,bld->bkd", similarity, values.astype(jnp.float32))


def _transform(context: LayerInput) -> nnx.Module:
    width = context.sizes[0].embedding
    return linear(width, width, rngs=context.rngs, dtype=context.dtype)


def _unit(x: Float[Array, "B L d"]) -> Float[Array, "B L d"]:
    return unit(x.reshape(-1, x.shape[2]), dtype=jnp.float32).reshape(x.shape)


def _places(text: str, features: Features, view: Viewed | None) -> tuple[Float[Array, "B L n"], Float[Array, "B"]]:
    """Return the stored index that the centre of each cell of a map shows, and the diagonal of a cell, in pixels.

    Raises:
      ArrayError: the view has no geometry, or the local features are on no map.
    """
    if view is None or view.geometry is None:
        raise ArrayError(f"pixpro compares positions in the stored image, and the view of {text!r} has no geometry.")
    if features.grid is None:
        raise ArrayError(f"pixpro compares positions of a map, and the local features of {text!r} are on no map.")
    sizes = np.array(view.values.shape[1:-1]) / np.array(features.grid)  # of a cell, in pixels of the view
    cells = np.array(list(itertools.product(*map(range, features.grid))))
    centres = jnp.asarray((cells + 0.5) * sizes - 0.5, jnp.float32)
    linear_part, offset = view.geometry[:, :, :-1], view.geometry[:, :, -1]
    places = jnp.einsum("bij,lj->bli", linear_part, centres, precision="highest") + offset[:, None]
    edges = linear_part * jnp.asarray(sizes, jnp.float32)[None, None]
    return places, jnp.sqrt(jnp.square(edges).sum(axis=(1, 2)))


def _near(first: tuple[Array, Array], second: tuple[Array, Array], *, threshold: float) -> Bool[Array, "B K M"]:
    (here, cell), (there, other_cell) = first, second
    squares = jnp.square(here[:, :, None] - there[:, None]).sum(axis=3)
    return squares < jnp.square(threshold * jnp.maximum(cell, other_cell))[:, None, None]
