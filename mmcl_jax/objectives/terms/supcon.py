"""The SupCon term: samples of one class attract across two modalities."""

import dataclasses

from mmcl_jax.objectives.base import TERMS, Term
from mmcl_jax.objectives.terms.clip import clip


@TERMS.register("supcon")
def supcon(
    *,
    between: tuple[str, str] = ("image", "table"),
    temperature: float = 0.1,
    weight: float = 1.0,
    balance: float = 0.5,
    target: str | None = None,
    background: int | None = None,
) -> Term:
    """Return SupCon (Khosla et al., NeurIPS 2020, equation 2) between two views: `clip` with `labels="attract"`.

    All samples of an anchor's class are its positives, and the loss is the mean over the positives. For SupCon among
    the views of one modality, use `nt_xent` with `labels="attract"`.

    Args:
      between: the two features.
      temperature: tau.
      weight: factor of this term in the objective.
      balance: weight of the direction first -> second, in [0, 1].
      target: name of the class label; None for the store's first.
      background: see `labels.classes`.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> images, tables, labels = jnp.eye(4), jnp.eye(4), jnp.array([0, 0, 1, -1])  # the last has no label
      >>> round(float(supcon(temperature=0.5)(images, tables, labels=labels)), 4)
      0.8408
    """
    term = clip(
        between=between,
        temperature=temperature,
        weight=weight,
        balance=balance,
        labels="attract",
        target=target,
        background=background,
    )
    return dataclasses.replace(term, name="supcon")
