"""The check that the weights of a run are finite, without which no measurement has a meaning."""

from typing import Any

import jax

from mmcl_jax.errors import check
from mmcl_jax.training.step.finite_step import all_finite

_all_finite = jax.jit(all_finite)

REMEDY = (
    "remove the folder of that step to use the checkpoint before it, if any, or train anew in another "
    "--workdir with a lower config.schedule.learning_rate"
)


def is_finite(arrays: Any) -> bool:
    """Return whether every number in a tree of arrays is finite; random keys and integers always are."""
    return bool(_all_finite(arrays))


def check_finite(arrays: Any, what: str, *, remedy: str = REMEDY) -> None:
    """Raise `UserError` if a number in a tree of arrays is not finite; `what` names the run and the step."""
    check(is_finite(arrays), f"The weights of {what} are not finite, so nothing can be measured with them; {remedy}.")
