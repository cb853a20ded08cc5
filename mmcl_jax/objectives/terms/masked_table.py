"""The term of masked table modelling: reconstruct the cells of a row that a view masked."""

from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from mmcl_jax.arrays import ArrayError
from mmcl_jax.encoders.layers import linear
from mmcl_jax.encoders.projectors import MLPProjector
from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.cells import losses_among_all, losses_among_own, own_values, summed
from mmcl_jax.objectives.stages import Each, Layer, LayerInput, Loss, Whole

_REMEDY = "choose an encoder with tokens, such as table_transformer, or set head='pooled' and over='own'"


@TERMS.register("masked_table")
def masked_table(
    *,
    widths: tuple[int, ...],
    between: tuple[str, ...] = ("table_masked",),
    numbers: Literal["l1", "l2"] = "l2",
    categories: Literal["cross_entropy", "l1"] = "cross_entropy",
    over: Literal["own", "all"] = "all",
    entries: Literal["masked", "all"] = "masked",
    head: Literal["pooled", "tokens"] = "tokens",
    hidden: int | None = None,
    average: Literal["parts", "entries"] = "parts",
    weight: float = 1.0,
) -> Term:
    r"""Return the reconstruction of a row from features of the view that the view `mask` made of it.

    The defaults are those of TIP's code (Du et al., ECCV 2024), over masked cells:

    $$\tfrac12 \left(\mathrm{mean}_{\text{categories}}\, \mathrm{CE} + \mathrm{mean}_{\text{numbers}}\, (\hat x - x)^2
    \right)$$

    (The code adds 1e-8 to every probability; this term adds nothing.) MT-CMTM (Roy et al., 2025) takes the mean of
    $|\hat x - x|$ over the entries of the one-hot row: `numbers="l1"`, `categories="l1"`, `over="own"`,
    `head="pooled"`, `average="entries"`. A cell that is missing in the row, or whose category is unknown, is no target.
    Numbers are in standard deviations of the training rows. The metrics are the means of the two kinds of columns, and
    the accuracy on masked categories.

    Args:
      widths: one-hot width of every column of the table.
      between: the masked view; or the features to reconstruct from, such as a fusion's, and the masked view.
      numbers: loss of a number: its absolute ("l1") or squared ("l2") error.
      categories: loss of a category: its cross-entropy, or the absolute errors of its one-hot entries ("l1").
      over: the softmax of the cross-entropy is over the column's "own" categories, or over "all" of all columns.
      entries: the loss counts "masked" cells, or "all" cells.
      head: "pooled" is a perceptron with one hidden layer from the pooled feature to the one-hot row; "tokens" is a
        linear classifier over all categories and a linear regressor, which all columns share, on the columns' tokens
        (the local features after the first, the class token).
      hidden: width of the perceptron's hidden layer; None for the width of the features.
      average: "parts" is the mean of the means of the two kinds of columns; "entries" is the mean over all entries: a
        number and a cross-entropy have one, a category with "l1" has as many as the column has categories.
      weight: factor of this term in the objective.

    Raises:
      ValueError: the weight is negative, `between` has neither one nor two texts, its last is no view of a table, or
        options contradict each other.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> from mmcl_jax.views import mask
      >>> rows = jnp.array([[0.5, 2.0], [-1.0, jnp.nan]])  # a number and a category of three
      >>> view = mask(rate=1.0)(rows, jax.random.key(0))
      >>> term, tokens = masked_table(widths=(1, 3)), jnp.ones((2, 3, 8))  # a class token and two columns' tokens
      >>> layers = term.init(nnx.Rngs(0), tokens)
      >>> sorted(term.with_metrics(tokens, layers=layers, views=view, inputs=rows).metrics)
      ['accuracy', 'categories', 'numbers']
    """
    check_weights(weight=weight)
    _check_between(between, widths)
    if over == "all" and (head != "tokens" or categories != "cross_entropy"):
        raise ValueError(
            f"over='all' is for the cross-entropy of columns' tokens; set over='own', as head is {head!r} and "
            f"categories is {categories!r}"
        )
    if hidden is not None and (head != "pooled" or hidden < 1):
        raise ValueError(f"hidden is a positive width of the head 'pooled', not {hidden} of {head!r}; set hidden=None")
    wide = np.array(widths) > 1
    number, category = np.flatnonzero(~wide), np.flatnonzero(wide)
    sizes = tuple(width for width in widths if width > 1)
    kinds = [kind for kind, columns in (("numbers", number), ("categories", category)) if len(columns)]

    def each(rows: Each) -> dict[str, Float[Array, "B"]]:
        if not (rows.views and rows.inputs):
            raise ArrayError("masked_table compares rows with their masked view; give them as inputs= and views=.")
        view, row = rows.views[-1], rows.inputs[-1]
        assert row is not None  # only fused views have no row
        if view is None or view.changed is None:
            raise ArrayError(
                f"masked_table needs to know which cells {between[-1]!r} masked; give it the result of a view such as "
                f"mask, which has `changed`."
            )
        observed = ~(jnp.isnan(row) | (wide[None] & (row < 0)))  # an unknown category, -1, has no code to predict
        masked, row = view.changed & observed, jnp.where(observed, row, 0)
        counted = masked if entries == "masked" else observed
        predict = _from_tokens if head == "tokens" else _from_pooled
        predicted = predict(rows, number, category, widths)
        sums = {"counted": counted.any(axis=1).astype(jnp.float32)}
        if len(number):
            error = predicted["numbers"].astype(jnp.float32) - row[:, number]
            losses = jnp.abs(error) if numbers == "l1" else jnp.square(error)
            sums |= summed("numbers", losses, counted[:, number])
        if len(category):
            outputs, codes = predicted["categories"].astype(jnp.float32), row[:, category]
            if over == "all":
                losses, hits = losses_among_all(outputs, codes, sizes)
            else:
                own = own_values(outputs, sizes) if head == "tokens" else outputs
                losses, hits = losses_among_own(own, codes, sizes, categories)
            sums |= summed("categories", losses, counted[:, category], sizes if categories == "l1" else 1)
            sums |= summed("hits", hits.astype(jnp.float32), masked[:, category])
        return sums

    def loss(batch: Whole) -> Loss:
        sums = {name: values.sum() for name, values in batch.each.items()}
        counts = {name: jnp.maximum(count, 1) for name, count in sums.items() if name.endswith("_entries")}
        metrics = {kind: sums[kind] / counts[f"{kind}_entries"] for kind in kinds}
        if average == "parts":
            value = jnp.stack([metrics[kind] for kind in kinds]).mean()
        else:
            total, count = (jnp.stack([sums[f"{kind}{end}"] for kind in kinds]).sum() for end in ("", "_entries"))
            value = total / jnp.maximum(count, 1)
        if len(category):
            metrics["accuracy"] = sums["hits"] / counts["hits_entries"]
        return Loss(value=value, metrics=metrics, rows=sums["counted"])

    return Term(
        name="masked_table",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        outputs=(),
        layers=_token_layers(len(number), sum(sizes)) if head == "tokens" else {"decoder": _decoder(hidden, widths)},
        unexplained="masked cells",
    )


def _check_between(between: Sequence[str], widths: Sequence[int]) -> None:
    if len(between) not in (1, 2):
        raise ValueError(
            f"between must name the masked view, or features and the masked view, not {len(between)} texts"
        )
    if not widths:
        raise ValueError(f"between must end with a view of a table, and {between[-1]!r} is none")


def _decoder(hidden: int | None, widths: Sequence[int]) -> Layer:
    def build(context: LayerInput) -> nnx.Module:
        features = context.sizes[0].pooled
        return MLPProjector(features, hidden or features, sum(widths), rngs=context.rngs, dtype=context.dtype)

    return Layer(build=build)


def _token_layers(numbers: int, categories: int) -> dict[str, Layer]:
    """Return the layers on tokens that the table's columns need: `regressor` and `classifier`."""

    def layer(outputs: int) -> Layer:
        def build(context: LayerInput) -> nnx.Module:
            if context.sizes[0].local == 0:
                raise ValueError(f"the head 'tokens' needs local features, and the encoder has none; {_REMEDY}")
            return linear(context.sizes[0].local, outputs, rngs=context.rngs, dtype=context.dtype)

        return Layer(build=build)

    outputs = {"regressor": min(numbers, 1), "classifier": categories}
    return {name: layer(size) for name, size in outputs.items() if size}


def _from_tokens(
    rows: Each, number: Int[np.ndarray, "n"], category: Int[np.ndarray, "c"], widths: Sequence[int]
) -> dict[str, Array]:
    """Return the predicted numbers `[B, n]`, and every categorical column's logits of all K categories `[B, c, K]`."""
    local = rows.features[0].local
    if local is None or rows.features[0].grid is not None or local.shape[1] != len(widths) + 1:
        raise ArrayError(
            f"the head 'tokens' of masked_table needs a class token and {len(widths)} tokens, one per column, and the "
            f"encoder gives {0 if local is None else local.shape[1]} positions of another kind; {_REMEDY}."
        )
    predicted = {}
    if len(number):
        predicted["numbers"] = rows.layers["regressor"](local[:, 1 + number])[..., 0]
    if len(category):
        predicted["categories"] = rows.layers["classifier"](local[:, 1 + category])
    return predicted


def _from_pooled(
    rows: Each, number: Int[np.ndarray, "n"], category: Int[np.ndarray, "c"], widths: Sequence[int]
) -> dict[str, Array]:
    """Return the predicted numbers `[B, n]`, and the outputs for each categorical column's own categories `[B, K]`."""
    column = np.repeat(np.arange(len(widths)), widths)
    outputs = rows.layers["decoder"](rows.features[0].pooled, train=rows.train)
    return {
        "numbers": outputs[:, np.isin(column, number)],
        "categories": outputs[:, np.isin(column, category)],
    }
