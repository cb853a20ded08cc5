"""The prediction of a grade as ContIG's code does it, with an output that is always 1 and a cut of the logits."""

import dataclasses

from mmcl_jax.tasks.ordinal import Ordinal


@dataclasses.dataclass(frozen=True, kw_only=True)
class OrdinalLogits(Ordinal):
    """The prediction of a grade by K cumulative logits, the first of which is trained to say 1 for every row.

    This is what the code of ContIG (Taleb et al., CVPR 2022) does: the grade is the number of logits (not
    probabilities) above 0.5, minus 1. So a threshold is passed at a probability above 0.62, and the grade may be -1,
    which is no grade and always an error.

    Example:
      >>> import numpy as np
      >>> task = OrdinalLogits(label="retinopathy", classes=3)
      >>> task.grades(np.array([[0.4, -1.0, -2.0], [3.0, 0.4, -2.0], [3.0, 0.6, 0.6]])).tolist()
      [-1, 0, 2]
    """

    name = "ordinal_logits"
    cut = 0.5
    passed = 1
