"""The rivals of table encoders as rows: trained with labels, they stand in the columns of fine-tuning."""

from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.reproduce.spec import TableRow

RIVAL_ROWS = tuple(
    TableRow(key=name, label=rival.words, rival=name, protocols=("finetune",), inputs=("table",), kind="labels")
    for name, rival in RIVALS.items()
)
