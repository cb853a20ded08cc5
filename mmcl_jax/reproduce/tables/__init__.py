"""The tables that can be reproduced, a file per paper."""

from typing import get_args

from mmcl_jax.config import RetinaData, data_names
from mmcl_jax.errors import check_name
from mmcl_jax.reproduce.spec import PaperTable
from mmcl_jax.reproduce.tables import contig, contig_analyses, mmcl, mt_cmtm, tip

VARIANTS = (*data_names(), *get_args(RetinaData))
_BY_FILE = (mmcl.TABLES, mt_cmtm.TABLES, tip.TABLES, contig.TABLES, contig_analyses.TABLES)
TABLES = {table.name: table for tables in _BY_FILE for table in tables}


def find(name: str) -> PaperTable:
    """Return the table with this name.

    Raises:
      UserError: there is no such table.
    """
    check_name(name, TABLES.keys(), "There is no table")
    return TABLES[name]
