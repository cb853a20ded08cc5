"""Weights that are not finite: nothing can be measured with them."""

from typing import Any

import jax

from mmcl_jax.errors import check
from mmcl_jax.training.step.finite_step import all_finite

_all_finite = jax.jit(all_finite)

REMEDY = (
    "remove that step's folder to go back to the checkpoint before, if there is one, or pretrain anew in another "
    "--workdir with a lower config.schedule.learning_rate"
)


def is_finite(arrays: Any) -> bool:
    """Return whether every number of a tree of arrays is finite; keys and integers always are."""
    return bool(_all_finite(arrays))


def check_finite(arrays: Any, what: str, *, remedy: str = REMEDY) -> None:
    """Raise `UserError` if a number of a tree of arrays is not finite; `what` names the run and the step."""
    check(is_finite(arrays), f"The weights of {what} are not finite, so nothing can be measured with them; {remedy}.")
