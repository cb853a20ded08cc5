"""The tables that can be reproduced, a file per paper."""

from typing import get_args

from mmcl_jax.config import ChestData, RetinaData, TaxonomyData, data_names
from mmcl_jax.errors import check_name
from mmcl_jax.reproduce.spec import PaperTable
from mmcl_jax.reproduce.tables import contig, contig_analyses, lovt, mmcl, mt_cmtm, taxonomy, tip

VARIANTS = (*data_names(), *get_args(RetinaData), *get_args(TaxonomyData), *get_args(ChestData))
_PAPERS = (mmcl, mt_cmtm, tip, contig, contig_analyses, taxonomy, lovt)
TABLES = {table.name: table for paper in _PAPERS for table in paper.TABLES}


def find(name: str) -> PaperTable:
    """Return the table with this name.

    Raises:
      UserError: there is no such table.
    """
    check_name(name, TABLES.keys(), "There is no table")
    return TABLES[name]
