"""The tables of MMCL (Hager et al., CVPR 2023), as data."""

from mmcl_jax.config import data_names
from mmcl_jax.errors import UserError
from mmcl_jax.reproduce.tables.claims import (
    FIGURE2_CLAIMS,
    TABLE1_CLAIMS,
    TABLE1_TABLE_CLAIMS,
    TABLE2_CLAIMS,
    TABLE3_CLAIMS,
)
from mmcl_jax.reproduce.tables.columns import BOTH, FROZEN, FROZEN_TABLE, SHARES, TRAINABLE, TRAINABLE_TABLE
from mmcl_jax.reproduce.tables.rows import FIGURE2_ROWS, TABLE1_ROWS, TABLE1_TABLE_ROWS, TABLE2_ROWS, TABLE3_ROWS
from mmcl_jax.reproduce.tables.spec import PaperTable

VARIANTS = data_names()
_PAPER = "Hager et al., CVPR 2023"

TABLES = {
    table.name: table
    for table in (
        PaperTable(
            name="mmcl/table1",
            title="Images alone, after pretraining",
            source=f"{_PAPER}, table 1",
            rows=TABLE1_ROWS,
            columns=(FROZEN, TRAINABLE),
            claims=TABLE1_CLAIMS,
        ),
        PaperTable(
            name="mmcl/table1_table",
            title="The table as input, after pretraining",
            source=f"{_PAPER}, supplement; its numbers are not available to us",
            rows=TABLE1_TABLE_ROWS,
            columns=(FROZEN_TABLE, TRAINABLE_TABLE, BOTH),
            claims=TABLE1_TABLE_CLAIMS,
        ),
        PaperTable(
            name="mmcl/table2",
            title="Which columns the pretraining needs",
            source=f"{_PAPER}, table 2",
            rows=TABLE2_ROWS,
            columns=(FROZEN,),
            claims=TABLE2_CLAIMS,
            needs_tag="morphometric",
        ),
        PaperTable(
            name="mmcl/table3",
            title="Labels in the pretraining",
            source=f"{_PAPER}, table 3",
            rows=TABLE3_ROWS,
            columns=(FROZEN,),
            claims=TABLE3_CLAIMS,
        ),
        PaperTable(
            name="mmcl/figure2",
            title="Few labels",
            source=f"{_PAPER}, figure 2; its numbers are not available to us",
            rows=FIGURE2_ROWS,
            columns=SHARES,
            claims=FIGURE2_CLAIMS,
            curves=True,
        ),
    )
}


def find(name: str) -> PaperTable:
    """Return the table with this name.

    Raises:
      UserError: there is none.
    """
    if name not in TABLES:
        raise UserError(f"There is no table {name!r}; there are {', '.join(TABLES)}.")
    return TABLES[name]
