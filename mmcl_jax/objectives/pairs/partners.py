"""Hard negatives: a partner for every anchor, drawn from the softmax of its similarities."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Bool, Float, Int32, Key, UInt32

from mmcl_jax.arrays import ArrayError, ArrayLike, as_floats
from mmcl_jax.objectives.pairs.arguments import ExecutionLike, MetadataLike, Number, Presence, read_pairs, read_scale
from mmcl_jax.objectives.pairs.execution import pair_sums
from mmcl_jax.objectives.pairs.losses import scaled
from mmcl_jax.objectives.pairs.rules import Metadata, PairRule, identity, zero_absent_rows
from mmcl_jax.objectives.pairs.softmax import SoftmaxSums
from mmcl_jax.objectives.pairs.sums import LOWEST, Mask, PairSums, Sums, Tile

# Indices are sent as float32, which holds whole numbers exactly up to this one.
MOST_ROWS = 2**24


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Partners:
    """Per anchor, the partner's index in the batch and its id.

    An anchor that is absent, or has no candidate, has the index -1 and the id 0. Mask with `found` when taking rows by
    index: -1 would take the last row.
    """

    index: Int32[Array, "n"]
    id: UInt32[Array, "n"]

    @property
    def found(self) -> Bool[Array, "n"]:
        """The mask of the anchors that have a partner."""
        return self.index >= 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PairPartners:
    """The partners of both sides: a column for each row (`forward`), and a row for each column (`backward`)."""

    forward: Partners
    backward: Partners


def draw_partners(
    x: ArrayLike,
    y: ArrayLike,
    *,
    key: Key[Array, ""],
    rule: PairRule | None = None,
    metadata: MetadataLike | None = None,
    x_metadata: MetadataLike | None = None,
    y_metadata: MetadataLike | None = None,
    present: Presence = None,
    temperature: Number | None = None,
    scale: Number | None = None,
    floor: float = 1e-4,
    execution: ExecutionLike = None,
    mesh: Mesh | AbstractMesh | None = None,
) -> PairPartners:
    r"""Draw for every anchor a hard negative, as ALBEF's and TIP's matching of images with texts and tables does.

    With $s_{ij} = \cos(x_i, y_j) / \tau$ and the set $C_i$ of valid columns of row $i$, its partner is a column $j$ of
    $C_i$ that is not a positive, with a probability proportional to

    $$p_{ij} = e^{s_{ij}} \Big/ \sum_{k \in C_i} e^{s_{ik}} + \text{floor}.$$

    The partner has the highest $\log p_{ij} + g_{ij}$, where the Gumbel noise $g_{ij}$ is a hash of the key and both
    ids. So partners are drawn tile by tile, and are the same on any number of devices, with tiles of any size and in
    every execution. Rows that share an id share their noise. There is no gradient; the cost is that of two forward
    passes of `contrast`.

    Args:
      x: embeddings of the rows, `[A, d]`.
      y: embeddings of the columns, `[B, d]`, of the same dtype.
      key: random key, a function of the seed and the step.
      rule: decides which pairs are positives, such as the own pair, and which are valid; see `rules`.
      metadata: arrays for the rule, for both sides, and `id`, the seed of the noise; the index by default.
      x_metadata: arrays for the rule, for the rows alone.
      y_metadata: arrays for the rule, for the columns alone.
      present: bool `[A]`; an absent row has no partner and is no row's partner; see `contrast`.
      temperature: tau; 0.1 by default.
      scale: 1 / tau, in place of the temperature.
      floor: added to every probability, so that every candidate can be drawn; 1e-4 in TIP.
      execution: how the pairs are computed, as in `contrast`.
      mesh: the devices, as in `contrast`.

    Raises:
      ArrayError: (a `UserError`) for the reasons of `contrast`; A or B is above 16,777,216, or the floor is negative.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> ids = {"id": jnp.array([7, 8])}
      >>> both = draw_partners(jnp.eye(2), jnp.eye(2), metadata=ids, key=jax.random.key(0))
      >>> both.forward.index.tolist(), both.forward.id.tolist()
      ([1, 0], [8, 7])
    """
    if not floor >= 0:
        raise ArrayError(f"floor must not be negative, as {floor} is; give 0 or more.")
    if max(len(x), len(y)) > MOST_ROWS:
        raise ArrayError(f"a side has {max(len(x), len(y))} rows; draw_partners takes at most {MOST_ROWS}.")
    scale = jax.lax.stop_gradient(read_scale(temperature, scale))
    pairs = read_pairs(
        jax.lax.stop_gradient(as_floats(x, "x")),
        jax.lax.stop_gradient(as_floats(y, "y")),
        rule=rule or identity(),
        metadata=metadata,
        x_metadata=x_metadata,
        y_metadata=y_metadata,
        present=present,
        execution=execution,
        mesh=mesh,
        also_read=("id",),
    )
    rule, execution = pairs.rule, pairs.execution
    x_metadata, y_metadata = pairs.x_metadata, pairs.y_metadata
    x = scaled(zero_absent_rows(pairs.x, rule, x_metadata), scale)
    y = scaled(zero_absent_rows(pairs.y, rule, y_metadata))
    softmax = SoftmaxSums("all")
    sums = pair_sums(softmax, x, y, rule=rule, x_metadata=x_metadata, y_metadata=y_metadata, execution=execution)
    words = jax.random.bits(key, (2,))
    sides = [
        {
            **metadata,
            _ID: metadata["id"].astype(jnp.uint32),
            _INDEX: jnp.arange(len(metadata["id"]), dtype=jnp.float32),
            _TOTAL: softmax.log_total(side),
            _WORDS[0]: jnp.full(len(metadata["id"]), words[0]),
            _WORDS[1]: jnp.full(len(metadata["id"]), words[1]),
        }
        for metadata, side in zip((x_metadata, y_metadata), sums, strict=True)
    ]
    rows, columns = pair_sums(
        _Drawing(floor), x, y, rule=rule, x_metadata=sides[0], y_metadata=sides[1], execution=execution
    )

    def partners(drawn: Sums, candidates: Metadata) -> Partners:
        index = drawn["index"].astype(jnp.int32)
        ids = candidates[_ID][jnp.maximum(index, 0)]
        return Partners(index=index, id=jnp.where(index < 0, jnp.uint32(0), ids))

    return PairPartners(forward=partners(rows, sides[1]), backward=partners(columns, sides[0]))


# Keys of the metadata that a draw adds.
_ID, _INDEX, _TOTAL, _WORDS = "draw id", "draw index", "draw log total", ("draw word 0", "draw word 1")


class _Draws(NamedTuple):
    """For each axis that may be reduced: the scores of the candidates along that axis, and their indices."""

    scores: tuple[Tile, Tile]
    indices: tuple[Float[Array, "A 1"], Float[Array, "1 B"]]


@dataclasses.dataclass(frozen=True)
class _Drawing(PairSums):
    """Per anchor: the highest `score` of a candidate, and its `index`. Both are constant to differentiation."""

    floor: float

    def scores(self, logits: Tile, rows: Metadata, columns: Metadata) -> _Draws:
        """See `PairSums`."""
        # One hash of both ids gives two words: noise for either direction.
        words = rows[_WORDS[0]][0, 0], rows[_WORDS[1]][0, 0]
        bits = threefry_2x32(words, jnp.stack(jnp.broadcast_arrays(rows[_ID], columns[_ID])))
        by_axis = [
            jnp.logaddexp(logits - side[_TOTAL], self._log_floor) + _gumbel(noise)
            for side, noise in ((columns, bits[1]), (rows, bits[0]))
        ]
        return _Draws(scores=(by_axis[0], by_axis[1]), indices=(rows[_INDEX], columns[_INDEX]))

    def empty(self, anchors: int) -> Sums:
        """See `PairSums`."""
        return {"score": jnp.full(anchors, LOWEST), "index": jnp.full(anchors, -1.0)}

    def reduce(self, logits: Any, positive: Mask, valid: Mask, axis: int) -> Sums:
        """See `PairSums`. Of candidates with equal scores, the lowest index wins, in tiles of any size."""
        candidate = valid & ~positive
        score = jnp.where(candidate, logits.scores[axis], LOWEST)
        best = jnp.max(score, axis=axis)
        tied = jnp.where(candidate & (score == jnp.expand_dims(best, axis)), logits.indices[axis], jnp.inf)
        index = jnp.min(tied, axis=axis)
        return {"score": best, "index": jnp.where(index == jnp.inf, -1, index)}

    def merge(self, a: Sums, b: Sums) -> Sums:
        """See `PairSums`."""
        first = (a["score"] > b["score"]) | ((a["score"] == b["score"]) & (a["index"] < b["index"]))
        return {name: jnp.where(first, a[name], b[name]) for name in a}

    def residuals(self, sums: Sums, cotangents: Sums) -> Sums:
        """See `PairSums`."""
        return {"score": cotangents["score"]}

    def dlogits(self, logits: Any, positive: Mask, valid: Mask, residuals: Sums) -> Tile:
        """See `PairSums`."""
        return jnp.zeros(positive.shape)

    @property
    def _log_floor(self) -> float:
        return math.log(self.floor) if self.floor else -math.inf


def _gumbel(bits: UInt32[Array, "A B"]) -> Float[Array, "A B"]:
    """Return standard Gumbel noise with a fine upper tail, which the highest of a million candidates lies in."""
    uniform = jnp.minimum(bits.astype(jnp.float32) * 2.0**-32 + 2.0**-33, 1 - 2.0**-24)
    return -jnp.log(-jnp.log1p(-uniform))
