"""The rows of MMCL's tables."""

import dataclasses

from mmcl_jax.reproduce.tables import published
from mmcl_jax.reproduce.tables.spec import TableRow

# Baselines take the encoder of the reference row. Trained from scratch with labels it is the supervised baseline.
SUPERVISED = TableRow(key="supervised", label="Supervised", baseline="random", protocols=("finetune",), kind="labels")
RANDOM = TableRow(key="random", label="Random encoder", baseline="random", protocols=("probe",), kind="nothing")
COLUMNS = TableRow(
    key="columns",
    label="Columns themselves",
    baseline="columns",
    protocols=("probe",),
    inputs=("table",),
    kind="nothing",
)
PIXELS = TableRow(key="pixels", label="Pixels", baseline="pixels", protocols=("probe",), kind="nothing")


def _image(key: str, label: str) -> TableRow:
    return TableRow(key=key, label=label, config=f"mmcl/{key}", kind="image")


MMCL = TableRow(key="mmcl", label="MMCL", config="mmcl/mmcl", inputs=("image", "table", "both"), kind="multimodal")
SIGLIP = TableRow(key="siglip", label="MMCL, sigmoid loss", config="mmcl/siglip", inputs=MMCL.inputs, kind="multimodal")
SIMCLR, BYOL, SIMSIAM = _image("simclr", "SimCLR"), _image("byol", "BYOL"), _image("simsiam", "SimSiam")
BARLOW = _image("barlow_twins", "Barlow Twins")
NNCLR, VICREG = _image("nnclr", "NNCLR"), _image("vicreg", "VICReg")


def _with(numbers: dict[str, published.Numbers], *rows: TableRow) -> tuple[TableRow, ...]:
    return tuple(dataclasses.replace(row, published=numbers.get(row.key, {})) for row in rows)


TABLE1_ROWS = _with(
    published.TABLE1, SUPERVISED, SIMCLR, BYOL, SIMSIAM, BARLOW, MMCL, NNCLR, VICREG, SIGLIP, RANDOM, PIXELS
)

_SCARF = TableRow(key="scarf", label="SCARF", config="mmcl/scarf", inputs=("table",), kind="table")
_VIME = TableRow(key="vime", label="VIME", config="mmcl/vime", inputs=("table",), kind="table")
TABLE1_TABLE_ROWS = (
    dataclasses.replace(SUPERVISED, inputs=("table", "both")),
    _SCARF,
    _VIME,
    dataclasses.replace(MMCL, inputs=("table", "both")),
    dataclasses.replace(RANDOM, inputs=("table",)),
    COLUMNS,
)

ONLY = TableRow(
    key="mmcl_morphometric",
    label="MMCL, morphometric columns",
    config="mmcl/mmcl",
    overrides=("inputs.table.columns=morphometric", "name=mmcl_morphometric"),
    kind="multimodal",
)
WITHOUT = TableRow(
    key="mmcl_not_morphometric",
    label="MMCL, the other columns",
    config="mmcl/mmcl",
    overrides=("inputs.table.columns=not morphometric", "name=mmcl_not_morphometric"),
    kind="multimodal",
)
# Not a row of the paper's table: without it nobody can say what is kept of the gain.
TABLE2_ROWS = _with(published.TABLE2, MMCL, ONLY, WITHOUT, SIMCLR)


def _labelled(key: str, label: str) -> TableRow:
    return TableRow(key=key, label=label, config=f"mmcl/{key}", kind="multimodal")


LAAF, ELIMINATION = _labelled("laaf", "LaaF"), _labelled("fn_elimination", "FN elimination")
ELIMINATION_LAAF = _labelled("fn_elimination_laaf", "FN elimination + LaaF")
SUPCON, SUPCON_LAAF = _labelled("supcon", "SupCon"), _labelled("supcon_laaf", "SupCon + LaaF")
TABLE3_ROWS = _with(published.TABLE3, MMCL, LAAF, ELIMINATION, ELIMINATION_LAAF, SUPCON, SUPCON_LAAF)

FIGURE2_ROWS = (SUPERVISED, SIMCLR, BYOL, SIMSIAM, BARLOW, MMCL, RANDOM)
