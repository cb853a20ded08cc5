"""The pairs of pooled features with the local features of all samples, and the logits of a sample's own pairs."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Bool, Float

from mmcl_jax.arrays import ArrayError, ArrayLike, as_array, as_floats
from mmcl_jax.objectives.pairs.arguments import ExecutionLike, MetadataLike, Number, read_pairs, read_scale
from mmcl_jax.objectives.pairs.execution import Execution, pair_sums
from mmcl_jax.objectives.pairs.losses import check_clip, scaled
from mmcl_jax.objectives.pairs.rules import Metadata, PairRule, zero_absent_rows
from mmcl_jax.objectives.pairs.sums import LOWEST, PairSums, Sums, soft_clip


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalPairs:
    """Scaled features of the rows and of all locations, and each row's pairs with the locations of its own sample.

    Attributes:
      x: features of the rows.
      y: features of the locations, those of one sample after another.
      own: clipped logits of each row with its sample's locations.
      positive: which of these are positives.
      rule, x_metadata, y_metadata, clip, execution: as in `pair_sums`.
    """

    x: Float[Array, "B d"]
    y: Float[Array, "BL d"]
    own: Float[Array, "B L"]
    positive: Bool[Array, "B L"]
    rule: PairRule
    x_metadata: Metadata
    y_metadata: Metadata
    clip: float | None
    execution: Execution

    def sums(self, loss: PairSums) -> tuple[Sums, Sums]:
        """Return the sums of `loss` over all pairs, for each row and for each location."""
        return pair_sums(
            loss,
            self.x,
            self.y,
            rule=self.rule,
            x_metadata=self.x_metadata,
            y_metadata=self.y_metadata,
            clip=self.clip,
            execution=self.execution,
        )

    def positives_of(self, anchors: int) -> tuple[Float[Array, "n k"], Bool[Array, "n k"]]:
        """Return the own logits of anchors, B rows or B L locations, and which of them are positives."""
        return self.own.reshape(anchors, -1), self.positive.reshape(anchors, -1)


def read_locations(
    x: ArrayLike,
    y: ArrayLike,
    *,
    rule: PairRule | None,
    metadata: MetadataLike | None,
    present: ArrayLike | None,
    mask: ArrayLike | None,
    scale: Number | None,
    normalise: bool,
    clip: float | None,
    execution: ExecutionLike,
    mesh: Mesh | AbstractMesh | None,
) -> LocalPairs:
    """Return the checked and scaled arguments of `local_contrast`.

    Raises:
      ArrayError: a shape or dtype is wrong, the rule reads what the metadata lack, or the clip is not positive.
    """
    check_clip(clip)
    y = as_floats(y, "y")
    if y.ndim != 3:
        raise ArrayError(f"y has the shape {y.shape}; give local features [samples, locations, width].")
    samples, locations, width = y.shape
    index = jnp.arange(samples, dtype=jnp.int32)
    per_sample = {"id": index, "index": index, **(metadata or {})}
    per_sample = {name: as_array(values, f"metadata {name!r}") for name, values in per_sample.items()}
    both_present = None
    if present is not None or mask is not None:
        rows = jnp.ones(samples, bool) if present is None else as_array(present, "present")
        columns = jnp.ones((samples, locations), bool) if mask is None else as_array(mask, "mask")
        if rows.shape != (samples,) or columns.shape != (samples, locations):
            raise ArrayError(
                f"present has the shape {rows.shape} and mask {columns.shape}; give booleans [{samples}] and "
                f"[{samples}, {locations}]."
            )
        both_present = rows, (columns & rows[:, None]).reshape(-1)
    pairs = read_pairs(
        x,
        y.reshape(-1, width),
        rule=rule,
        metadata=None,
        x_metadata=per_sample,
        y_metadata={name: jnp.repeat(values, locations) for name, values in per_sample.items()},
        present=both_present,
        execution=execution,
        mesh=mesh,
    )
    rule, x_metadata, y_metadata = pairs.rule, pairs.x_metadata, pairs.y_metadata
    scale = width**-0.5 if scale is None else read_scale(None, scale)
    x = scaled(zero_absent_rows(pairs.x, rule, x_metadata), scale, normalise=normalise)
    y = scaled(zero_absent_rows(pairs.y, rule, y_metadata), normalise=normalise)
    by_sample = jax.tree.map(lambda values: values.reshape(samples, locations), y_metadata)
    positive, _ = rule({name: values[:, None] for name, values in x_metadata.items()}, by_sample)
    own = y.reshape(samples, locations, width)
    products = jnp.einsum("bd,bld->bl", x, own, precision="highest", preferred_element_type=jnp.float32)
    return LocalPairs(
        x=x,
        y=y,
        own=soft_clip(products, clip),
        positive=positive,
        rule=rule,
        x_metadata=x_metadata,
        y_metadata=y_metadata,
        clip=clip,
        execution=pairs.execution,
    )


def best_of(own: Float[Array, "n k"], positive: Bool[Array, "n k"]) -> Float[Array, "n"]:
    """Return the highest logit of each anchor's positives, `LOWEST` without one."""
    return jnp.max(jnp.where(positive, own, LOWEST), axis=1)


def mean_of(values: Float[Array, "n k"], positive: Bool[Array, "n k"]) -> Float[Array, "n"]:
    """Return the mean of values over each anchor's positives, 0 without one."""
    count = jnp.maximum(jnp.sum(positive, axis=1, dtype=jnp.float32), 1)
    return jnp.sum(jnp.where(positive, values, 0), axis=1) / count
