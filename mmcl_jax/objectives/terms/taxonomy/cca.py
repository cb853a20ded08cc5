"""The term of deep canonical correlation: two views correlate in every direction."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Array

from mmcl_jax.arrays import ArrayError
from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.correlation import Norm, norm_of, whitened_covariance
from mmcl_jax.objectives.stages import Loss, Whole

Orders = Literal["both", "one"]


@TERMS.register("cca")
def cca(
    *,
    between: tuple[str, str] = ("image:none", "table:none"),
    norm: Norm = "frobenius",
    orders: Orders = "both",
    r1: float = 1e-7,
    r2: float = 1e-7,
    cut: float = 1e-3,
    weight: float = 1.0,
) -> Term:
    r"""Return the negative norm of $T = \Sigma_{11}^{-1/2} \Sigma_{12} \Sigma_{22}^{-1/2}$ over the whole batch.

    Andrew et al. (Deep CCA, ICML 2013), section 3, maximise the nuclear norm of T, the sum of the canonical
    correlations. The released code of Fedorov et al. computes the Frobenius norm, of at most $\sqrt d$, and adds the
    loss of both orders of the two modalities; `norm` and `orders` choose. Its older version, which made the published
    figures, reads the encoder's features with the defaults below. Its newer version reads the output of the latent
    head with `r1=r2=1e-3` and `cut=1e-9`.

    With fewer rows than dimensions, some direction of one view correlates perfectly with one of the other whatever the
    embeddings are, so such a batch is refused. With no more rows than twice the dimensions a part of the loss is
    constant in this way, which the program says. (The paper trains with 64 rows of 64 dimensions, and reports that it
    was unstable.)

    Args:
      between: the two features.
      norm: "frobenius" (the released code) or "nuclear" (Andrew et al.).
      orders: "both" adds the loss of first and second to that of second and first, as released; "one" counts it once.
      r1: added to the variances of the first view.
      r2: added to the variances of the second view.
      cut: eigenvalues of the covariances up to this are left out.
      weight: factor of this term in the objective.

    Raises:
      ValueError: a number is negative.

    Example:
      >>> import jax
      >>> x, y = jax.random.normal(jax.random.key(0), (2, 64, 3))
      >>> term = cca(orders="one", norm="nuclear")
      >>> [round(float(term(x, other)), 2) for other in (x, -2 * x, y)]
      [-3.0, -3.0, -0.42]
    """
    check_weights(r1=r1, r2=r2, cut=cut, weight=weight)

    def loss(batch: Whole) -> Loss:
        first, second = batch.embeddings
        try:
            check_rows(len(first), [first.shape[1], second.shape[1]])
        except ValueError as error:
            raise ArrayError(f"{error}.") from error

        def correlation(x: Array, y: Array) -> Array:
            return norm_of(whitened_covariance(x, y, r1=r1, r2=r2, cut=cut, present=batch.present), norm)

        value = correlation(first, second)
        if orders == "one":
            return Loss(value=-value, metrics={"correlation": value})
        # T of the other order is the transposed T, unless the variances are regularised differently.
        other = value if r1 == r2 else correlation(second, first)
        return Loss(value=-(value + other), metrics={"correlation": value})

    return Term(name="cca", between=between, weight=weight, loss=loss, caution=check_rows)


def check_rows(rows: int, widths: Sequence[int]) -> str:
    """Return a sentence about a batch with few rows for embeddings of these widths, "" if it has enough.

    Raises:
      ValueError: the batch has fewer rows than dimensions.

    Example:
      >>> check_rows(256, [64, 64])
      ''
    """
    width = max(widths)
    if rows < width:
        raise ValueError(
            f"cca correlates embeddings of {width} dimensions over {rows} rows, and with fewer rows than dimensions "
            f"they correlate whatever they are; give at least {width} rows (config.batch_size), or embeddings of at "
            f"most {rows} dimensions"
        )
    constant = min(sum(widths) - (rows - 1), min(widths), rows - 1)
    if constant <= 0:
        return ""
    return (
        f"of {rows} rows with {width} dimensions, {constant} of {min(*widths, rows - 1)} canonical correlations are 1 "
        f"whatever the embeddings are, but for the eigenvalues that are left out; {sum(widths) + 1} rows measure all"
    )
