"""The loss of YOLOv3 for one image: which anchors are responsible for its boxes, and what they should say."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from mmcl_jax.tasks.detection.anchors import Scales

PLACE, SHAPE, ABSENCE = 2.5, 2.5, 0.5  # the weights of the losses of centres, of sizes, and of cells without an object
IGNORED = 0.5  # the IoU above which an anchor that is not responsible is not punished
_TINY = 1e-16


def detection_loss(
    outputs: Float[Array, "cells values"], boxes: Float[Array, "M 5"], scales: Scales
) -> Float[Array, ""]:
    """Return the loss of one image, the sum over the grids.

    On every grid, each box has the anchor in the cell of its centre whose shape has the largest IoU with it. Of this
    anchor, the loss is 2.5 times the binary cross-entropy of each coordinate of the centre, 2.5 times the squared error
    of each logarithm of the size, and the cross-entropy of the objectness; of all anchors of the cell without an IoU
    above 0.5, and of all other cells, it is 0.5 times the cross-entropy of the objectness. With several classes comes
    the binary cross-entropy of every class. Each is divided by the number of all anchors of the grid (and of classes),
    as a mean over all cells. These are the released numbers of LoVT, with two habits: the IoU of shapes is that
    of pixels, `+ 1` to every length, though lengths are in cells; and an anchor whose IoU is at most 0.5 is pulled to 1
    as the best of its box and to 0 as the background.

    Args:
      outputs: logits, the cells of all grids row by row, and of each cell (x, y, width, height, objectness, classes) of
        every anchor.
      boxes: left, top, right, bottom in pixels of the stored image, and the class; padded with NaN. Of several boxes
        with one anchor, the last has it; a box whose centre the view does not show has none.
      scales: the grids and their anchors.
    """
    values, start = outputs.shape[-1] // scales.per_cell, 0
    total = jnp.zeros(())
    for (rows, columns), anchors in zip(scales.grids, scales.anchors, strict=True):
        part = outputs[start : start + rows * columns].reshape(rows * columns, scales.per_cell, values)
        total += _of_grid(part, boxes, scales.frame, (rows, columns), anchors)
        start += rows * columns
    return total


def shape_iou(sizes: Float[Array, "M 2"], anchors: Float[Array, "A 2"]) -> Float[Array, "M A"]:
    """Return the IoU of boxes and anchors that share a corner, in the convention of whole pixels.

    Example:
      >>> shape_iou(jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 1.0], [3.0, 0.0]])).tolist()
      [[1.0, 0.3333333432674408]]
    """
    inner = (jnp.minimum(sizes[:, None], anchors[None]) + 1).prod(axis=-1)
    return inner / ((sizes + 1).prod(axis=-1)[:, None] + (anchors + 1).prod(axis=-1)[None] - inner + _TINY)


def _of_grid(
    part: Float[Array, "n A values"],
    boxes: Float[Array, "M 5"],
    frame: tuple[float, float, float, float],
    grid: tuple[int, int],
    anchors: tuple[tuple[float, float], ...],
) -> Float[Array, ""]:
    """Return the loss of one grid."""
    rows, columns = grid
    left, top, width, height = frame
    per_pixel = jnp.array([[columns / width, rows / height]], jnp.float32)
    valid = ~jnp.isnan(boxes[:, 0])
    boxes = jnp.where(valid[:, None], boxes, 0)
    corners = (boxes[:, :4].reshape(-1, 2, 2) - jnp.array([[[left, top]]], jnp.float32)) * per_pixel[None]
    centres, sizes = corners.mean(axis=1), corners[:, 1] - corners[:, 0]
    shapes = jnp.array(anchors, jnp.float32) * per_pixel
    last = jnp.array([[columns - 1, rows - 1]], jnp.int32)
    valid &= ((centres >= 0) & (centres <= (last + 1).astype(jnp.float32))).all(axis=-1)
    place = jnp.clip(jnp.floor(centres).astype(jnp.int32), 0, last)
    cell = place[:, 1] * columns + place[:, 0]
    overlaps = shape_iou(sizes, shapes)
    best = overlaps.argmax(axis=1)
    owns, together = _owners(cell * len(anchors) + best, valid)

    ours = part[cell, best]  # the logits of the anchor of every box
    inside = centres - place.astype(jnp.float32)
    wanted = jnp.log(jnp.where(valid[:, None], sizes / shapes[best], 1) + _TINY)
    of_box = PLACE * optax.sigmoid_binary_cross_entropy(ours[:, :2], inside).sum(axis=1)
    of_box += SHAPE * jnp.square(ours[:, 2:4] - wanted).sum(axis=1)
    of_box += optax.sigmoid_binary_cross_entropy(ours[:, 4], jnp.ones_like(ours[:, 4]))
    classes = part.shape[-1] - 5
    if classes > 1:
        coded = boxes[:, 4].astype(jnp.int32)[:, None] == jnp.arange(classes)[None]
        named = (together[:, :, None] & coded[None]).any(axis=1).astype(jnp.float32)
        of_box += optax.sigmoid_binary_cross_entropy(ours[:, 5:], named).mean(axis=1)
    close = (overlaps > IGNORED) & valid[:, None]
    ignored = jnp.zeros(part.shape[:2], jnp.bool_).at[cell].max(close)
    absent = optax.sigmoid_binary_cross_entropy(part[..., 4], jnp.zeros_like(part[..., 4]))
    total = jnp.where(owns, of_box, 0).sum() + ABSENCE * jnp.where(ignored, 0, absent).sum()
    return total / (rows * columns * len(anchors))


def _owners(slots: Int[Array, "M"], valid: Bool[Array, "M"]) -> tuple[Bool[Array, "M"], Bool[Array, "M M"]]:
    """Return which boxes have their anchor, and by box the boxes that share its anchor."""
    together = (slots[:, None] == slots[None]) & valid[:, None] & valid[None]
    index = jnp.arange(len(slots))
    return valid & ~(together & (index[None] > index[:, None])).any(axis=1), together
