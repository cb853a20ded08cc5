"""The all-pairs kernel under every contrastive term.

`contrast` (softmax) and `sigmoid_contrast` compare every row of one side with every row of the other, in both
directions at once. `local_contrast` (softmax) and `fenchel_contrast` (other divergences) compare pooled with local
features, and `draw_partners` draws hard negatives.
`rules` decide which pairs are positives and which are valid, `Execution` how the pairs are computed. Inside: `sums`
(the sums per anchor that make a loss), `tiles` (one device's sweep), `execution` (one sweep over many devices).
"""

from mmcl_jax.objectives.pairs import rules
from mmcl_jax.objectives.pairs.execution import EXECUTIONS, Execution
from mmcl_jax.objectives.pairs.fenchel import Measure, fenchel_contrast
from mmcl_jax.objectives.pairs.local import local_contrast, mean_squared_product
from mmcl_jax.objectives.pairs.losses import AnchorLosses, PairLosses
from mmcl_jax.objectives.pairs.partners import PairPartners, Partners, draw_partners
from mmcl_jax.objectives.pairs.rules import PairRule, also, exclude, exclude_self, identity, present, same, within
from mmcl_jax.objectives.pairs.sigmoid import sigmoid_contrast
from mmcl_jax.objectives.pairs.softmax import Denominator, contrast

__all__ = [
    "EXECUTIONS",
    "AnchorLosses",
    "Denominator",
    "Execution",
    "Measure",
    "PairLosses",
    "PairPartners",
    "PairRule",
    "Partners",
    "also",
    "contrast",
    "draw_partners",
    "exclude",
    "exclude_self",
    "fenchel_contrast",
    "identity",
    "local_contrast",
    "mean_squared_product",
    "present",
    "rules",
    "same",
    "sigmoid_contrast",
    "within",
]
