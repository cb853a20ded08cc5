"""The term of masked table modelling: reconstruct the cells of a row that a view masked."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from mmcl_jax.encoders import Features
from mmcl_jax.encoders.layers import linear
from mmcl_jax.encoders.projectors import MLPProjector
from mmcl_jax.encoders.table_input import one_hot
from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.stages import Each, Layer, LayerInput, Loss, Whole

Numbers = Literal["l1", "l2"]
Categories = Literal["cross_entropy", "l1"]
Over = Literal["own", "all"]
Cells = Float[Array, "B cells"]


@TERMS.register("masked_table")
def masked_table(
    *,
    widths: tuple[int, ...],
    between: tuple[str, ...] = ("table_masked",),
    numbers: Numbers = "l2",
    categories: Categories = "cross_entropy",
    over: Over = "all",
    entries: Literal["masked", "all"] = "masked",
    head: Literal["pooled", "tokens"] = "tokens",
    hidden: int | None = None,
    average: Literal["parts", "entries"] = "parts",
    weight: float = 1.0,
) -> Term:
    r"""Return the reconstruction of the original row from features of the row that the view `mask` made of it.

    The defaults are those of TIP's code (Du et al., ECCV 2024; it adds 1e-8 to probabilities, this term nothing):
    $\tfrac12(\mathrm{mean}_{\text{categories}}\,\mathrm{CE} + \mathrm{mean}_{\text{numbers}}(\hat x - x)^2)$ over masked
    cells. MT-CMTM (Roy et al., 2025) is the mean of $|\hat x - x|$ over the entries of the one-hot row: `numbers="l1"`,
    `categories="l1"`, `over="own"`, `head="pooled"`, `average="entries"`. A cell that is missing in the original row is
    no target. Numbers are in standard deviations of the training rows.

    Args:
      widths: one-hot width of every column of the last view's table.
      between: the masked view; or the features to reconstruct from, such as a fusion's, and the masked view.
      numbers: loss of a numeric column: absolute ("l1") or squared ("l2") error.
      categories: loss of a categorical column: cross-entropy of its value, or absolute errors of its one-hot entries.
      over: the softmax of the cross-entropy is over the column's "own" values, or over "all" values of all columns.
      entries: the loss counts "masked" cells, or "all" cells.
      head: what predicts the row: "pooled" is a perceptron with one hidden layer from the pooled feature to the one-hot
        row; "tokens" is a linear classifier over all categories and a linear regressor, which the columns' tokens share
        (local features after the first one, the class token).
      hidden: width of the perceptron's hidden layer; None for the width of the features.
      average: "parts" is the mean of the two kinds of columns' means; "entries" is the mean over entries, of which
        a category has one with the cross-entropy and its one-hot width with "l1", and a number one.
      weight: factor of this term in the objective.

    Raises:
      ValueError: the weight is negative, `between` has neither one nor two texts, its last is no view of a table, an
        option needs another one, or the features have no tokens of columns.

    Example:
      >>> from flax import nnx
      >>> from mmcl_jax.views import mask
      >>> rows = jnp.array([[0.5, 2.0], [-1.0, jnp.nan]])  # a number and a category of three
      >>> view = mask(rate=1.0)(rows, jax.random.key(0))
      >>> term, tokens = masked_table(widths=(1, 3)), jnp.zeros((2, 3, 8))  # a class token and two columns' tokens
      >>> layers = term.init(nnx.Rngs(0), tokens)
      >>> result = term.with_metrics(tokens, layers=layers, views=view, inputs=rows)
      >>> sorted(result.metrics)
      ['accuracy', 'categories', 'numbers']
    """
    check_weights(weight=weight)
    _check(between, widths, over=over, categories=categories, head=head, hidden=hidden)
    wide = np.array(widths) > 1
    columns = {"numbers": np.flatnonzero(~wide), "categories": np.flatnonzero(wide)}
    kinds = [kind for kind, indices in columns.items() if len(indices)]
    reads_tokens = head == "tokens"

    def each(rows: Each) -> dict[str, Float[Array, "B"]]:
        if not (rows.views and rows.inputs):
            raise ValueError("masked_table compares rows before and after masking; give them as inputs= and views=")
        features, view, row = rows.features[0], rows.views[-1], rows.inputs[-1]
        if view is None or view.changed is None:
            raise ValueError(
                f"the term 'masked_table' needs a view that says which cells it masked, such as mask, and "
                f"{between[-1]!r} does not"
            )
        observed = ~jnp.isnan(row)
        masked = view.changed & observed
        counted = masked if entries == "masked" else observed
        row = jnp.where(observed, row, 0)
        predicted = _from_tokens(rows, features, columns) if reads_tokens else _from_pooled(rows, features, widths)
        sums: dict[str, Array] = {"counted": counted.any(axis=1).astype(jnp.float32)}
        if "numbers" in kinds:
            cells = columns["numbers"]
            difference = predicted["numbers"].astype(jnp.float32) - row[:, cells]
            losses = jnp.abs(difference) if numbers == "l1" else jnp.square(difference)
            sums |= _summed("numbers", losses, counted[:, cells], np.ones(len(cells)))
        if "categories" in kinds:
            cells = columns["categories"]
            sizes = tuple(np.array(widths)[cells].tolist())
            codes, logits = row[:, cells], predicted["categories"].astype(jnp.float32)
            if over == "all":
                losses, hits = _among_all(logits, codes, sizes)
            else:
                losses, hits = _among_own(logits if logits.ndim == 2 else _own(logits, sizes), codes, sizes, categories)
            width = np.array(sizes) if categories == "l1" else np.ones(len(sizes))
            sums |= _summed("categories", losses, counted[:, cells], width)
            sums |= _summed("hits", hits.astype(jnp.float32), masked[:, cells], np.ones(len(sizes)))
        return sums

    def loss(batch: Whole) -> Loss:
        sums = {name: values.sum() for name, values in batch.each.items()}
        means = {kind: sums[kind] / jnp.maximum(sums[f"{kind}_entries"], 1) for kind in kinds}
        if average == "parts":
            value = jnp.stack(list(means.values())).mean()
        else:
            value = sum(sums[kind] for kind in kinds) / jnp.maximum(sum(sums[f"{kind}_entries"] for kind in kinds), 1)
        metrics = dict(means)
        if "categories" in kinds:
            metrics["accuracy"] = sums["hits"] / jnp.maximum(sums["hits_entries"], 1)
        return Loss(value=value, metrics=metrics, rows=sums["counted"])

    return Term(
        name="masked_table",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        outputs=(),
        layers=_token_layers(widths, columns) if reads_tokens else {"decoder": _decoder(hidden, sum(widths))},
    )


def _check(
    between: Sequence[str], widths: Sequence[int], *, over: Over, categories: Categories, head: str, hidden: int | None
) -> None:
    if len(between) not in (1, 2):
        raise ValueError(f"between must name the masked view, or features and the masked view, not {len(between)}")
    if not widths:
        raise ValueError(f"between must end with a view of a table, and {between[-1]!r} is none")
    if over == "all" and (head, categories) != ("tokens", "cross_entropy"):
        raise ValueError(
            f"over='all' is a cross-entropy of every column's token; set over='own' with head={head!r} and "
            f"categories={categories!r}"
        )
    if hidden is not None and (head == "tokens" or hidden < 1):
        raise ValueError(f"hidden is the width of the head 'pooled', positive or None, not {hidden} with head={head!r}")


def _decoder(hidden: int | None, outputs: int) -> Layer:
    def build(context: LayerInput) -> nnx.Module:
        width = context.sizes[0].pooled
        return MLPProjector(width, hidden or width, outputs, rngs=context.rngs, dtype=context.dtype)

    return Layer(build=build)


def _token_layers(widths: tuple[int, ...], columns: dict[str, np.ndarray]) -> dict[str, Layer]:
    def layer(outputs: int) -> Layer:
        def build(context: LayerInput) -> nnx.Module:
            width = context.sizes[0].local
            if width == 0:
                raise ValueError(
                    "the head 'tokens' needs a token per column, and the encoder has no local features; choose an "
                    "encoder with tokens, such as table_transformer, or set head='pooled' and over='own'"
                )
            return linear(width, outputs, rngs=context.rngs, dtype=context.dtype)

        return Layer(build=build)

    values = sum(widths[column] for column in columns["categories"])
    sizes = {"classifier": values, "regressor": int(len(columns["numbers"]) > 0)}
    return {name: layer(size) for name, size in sizes.items() if size}


def _from_tokens(rows: Each, features: Features, columns: dict[str, np.ndarray]) -> dict[str, Array]:
    """Return predicted numbers `[B, numbers]`, and logits of all values for every categorical column `[B, c, K]`."""
    count = sum(map(len, columns.values()))
    if features.local is None or features.grid is not None or features.local.shape[1] != count + 1:
        shape = "no local features" if features.local is None else f"{features.local.shape[1]} local features"
        raise ValueError(
            f"the term 'masked_table' with the head 'tokens' needs a class token and {count} tokens, one per column, and "
            f"the encoder gives {shape}; choose an encoder with tokens, such as table_transformer, or set head='pooled'"
        )
    tokens, predicted = features.local[:, 1:], {}
    if "regressor" in rows.layers:
        predicted["numbers"] = rows.layers["regressor"](tokens[:, columns["numbers"]])[..., 0]
    if "classifier" in rows.layers:
        predicted["categories"] = rows.layers["classifier"](tokens[:, columns["categories"]])
    return predicted


def _from_pooled(rows: Each, features: Features, widths: tuple[int, ...]) -> dict[str, Array]:
    """Return predicted numbers `[B, numbers]`, and logits of each categorical column's own values `[B, K]`."""
    outputs = rows.layers["decoder"](features.pooled, train=rows.train)
    wide = np.repeat(np.array(widths) > 1, widths)
    return {"numbers": outputs[:, ~wide], "categories": outputs[:, wide]}


def _own(logits: Float[Array, "B c K"], sizes: tuple[int, ...]) -> Float[Array, "B K"]:
    """Return every column's logits of its own values."""
    return logits[:, np.repeat(np.arange(len(sizes)), sizes), np.arange(sum(sizes))]


def _among_all(logits: Float[Array, "B c K"], codes: Cells, sizes: tuple[int, ...]) -> tuple[Cells, Bool[Array, "B c"]]:
    """Return the cross-entropy of every column among all values of all columns, and whether its value has the maximum."""
    target = codes.astype(jnp.int32) + np.cumsum([0, *sizes[:-1]])[None].astype(np.int32)
    likelihood = jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, :, None], axis=2)[..., 0]
    return -likelihood, jnp.argmax(logits, axis=2) == target


def _among_own(
    values: Float[Array, "B K"], codes: Cells, sizes: tuple[int, ...], categories: Categories
) -> tuple[Cells, Bool[Array, "B c"]]:
    """Return the loss of every column by its own values, and whether its value has the maximum."""
    column, count = np.repeat(np.arange(len(sizes)), sizes), len(sizes)
    target = one_hot(codes, sizes)

    def over_columns(reduce: jax.stages.Wrapped, array: Float[Array, "B K"]) -> Cells:
        return reduce(array.T, column, count, indices_are_sorted=True).T

    largest = over_columns(jax.ops.segment_max, jax.lax.stop_gradient(values))
    own = over_columns(jax.ops.segment_sum, target * values)
    hits = own >= largest
    if categories == "l1":
        return over_columns(jax.ops.segment_sum, jnp.abs(values - target)), hits
    total = over_columns(jax.ops.segment_sum, jnp.exp(values - largest[:, column]))
    return jnp.log(total) + largest - own, hits


def _summed(name: str, losses: Cells, counted: Bool[Array, "B cells"], width: np.ndarray) -> dict[str, Array]:
    """Return the sum of every row's counted losses, and the number of their entries, `width` for each cell."""
    weight = jnp.asarray(width, jnp.float32)[None]
    return {
        name: jnp.where(counted, losses, 0).sum(axis=1),
        f"{name}_entries": jnp.where(counted, weight, 0).sum(axis=1),
    }
