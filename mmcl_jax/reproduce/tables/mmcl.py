"""The tables of MMCL (Hager et al., CVPR 2023) as data: columns, rows, the paper's claims, and the tables of these.

A claim is a list of differences that must all be above 0. The paper's "frozen" is a linear probe, its "trainable"
fine-tuning.
"""

import dataclasses

from mmcl_jax.reproduce import published
from mmcl_jax.reproduce.spec import Claim, Contrast, PaperTable, TableColumn, TableRow, difference

FROZEN = TableColumn(key="frozen", heading="Frozen", protocol="probe")
TRAINABLE = TableColumn(key="trainable", heading="Trainable", protocol="finetune")
FROZEN_TABLE = TableColumn(key="frozen-table", heading="Table, frozen", protocol="probe", input="table")
TRAINABLE_TABLE = TableColumn(key="trainable-table", heading="Table, trainable", protocol="finetune", input="table")
BOTH = TableColumn(key="trainable-both", heading="Image and table, trainable", protocol="finetune", input="both")

SHARES = tuple(
    TableColumn(
        key=column.key if share == 1 else f"{column.key}-{100 * share:g}",
        heading=f"{column.heading}, {100 * share:g} %",
        protocol=column.protocol,
        share=share,
    )
    for column in (FROZEN, TRAINABLE)
    for share in (1.0, 0.1, 0.01)
)

# Baselines take the encoder of the reference row; trained from scratch on labels, it is the supervised baseline.
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


def _with_published(numbers: dict[str, published.Numbers], *rows: TableRow) -> tuple[TableRow, ...]:
    return tuple(dataclasses.replace(row, published=numbers.get(row.key, {})) for row in rows)


TABLE1_ROWS = _with_published(
    published.TABLE1, SUPERVISED, SIMCLR, BYOL, SIMSIAM, BARLOW, MMCL, NNCLR, VICREG, SIGLIP, RANDOM, PIXELS
)

SCARF = TableRow(key="scarf", label="SCARF", config="mmcl/scarf", inputs=("table",), kind="table")
VIME = TableRow(key="vime", label="VIME", config="mmcl/vime", inputs=("table",), kind="table")
TABLE1_TABLE_ROWS = (
    dataclasses.replace(SUPERVISED, inputs=("table", "both")),
    SCARF,
    VIME,
    dataclasses.replace(MMCL, inputs=("table", "both")),
    dataclasses.replace(RANDOM, inputs=("table",)),
    COLUMNS,
)

MORPHOMETRIC = TableRow(
    key="mmcl_morphometric",
    label="MMCL, morphometric columns",
    config="mmcl/mmcl",
    overrides=("inputs.table.columns=morphometric", "name=mmcl_morphometric"),
    kind="multimodal",
)
NOT_MORPHOMETRIC = TableRow(
    key="mmcl_not_morphometric",
    label="MMCL, the other columns",
    config="mmcl/mmcl",
    overrides=("inputs.table.columns=not morphometric", "name=mmcl_not_morphometric"),
    kind="multimodal",
)
# SimCLR is no row of the paper's table, but the gain of which columns keep a part is the gain over it.
TABLE2_ROWS = _with_published(published.TABLE2, MMCL, MORPHOMETRIC, NOT_MORPHOMETRIC, SIMCLR)


def _labelled(key: str, label: str) -> TableRow:
    return TableRow(key=key, label=label, config=f"mmcl/{key}", kind="multimodal")


LAAF, ELIMINATION = _labelled("laaf", "LaaF"), _labelled("fn_elimination", "FN elimination")
ELIMINATION_LAAF = _labelled("fn_elimination_laaf", "FN elimination + LaaF")
SUPCON, SUPCON_LAAF = _labelled("supcon", "SupCon"), _labelled("supcon_laaf", "SupCon + LaaF")
TABLE3_ROWS = _with_published(published.TABLE3, MMCL, LAAF, ELIMINATION, ELIMINATION_LAAF, SUPCON, SUPCON_LAAF)

FIGURE2_ROWS = (SUPERVISED, SIMCLR, BYOL, SIMSIAM, BARLOW, MMCL, RANDOM)


def _above_all(rows: tuple[TableRow, ...], column: TableColumn) -> tuple[Contrast, ...]:
    return tuple(difference(MMCL, row, column) for row in rows if row.has(column))


_PUBLISHED = tuple(row for row in TABLE1_ROWS if row.published and row.key != MMCL.key)
_PRETRAINED = tuple(row for row in FIGURE2_ROWS if row.kind == "image")

TABLE1_CLAIMS = (
    Claim(
        "With the encoder frozen, multimodal pretraining is above every image-only method",
        _above_all(_PUBLISHED, FROZEN),
    ),
    Claim(
        "With the encoder trainable, multimodal pretraining is above every image-only method",
        _above_all(_PUBLISHED, TRAINABLE),
    ),
    Claim(
        "With the encoder frozen, it is also above image-only methods that the paper does not have",
        _above_all((NNCLR, VICREG), FROZEN),
        ours=True,
    ),
    Claim(
        "With the encoder trainable, it is also above image-only methods that the paper does not have",
        _above_all((NNCLR, VICREG), TRAINABLE),
        ours=True,
    ),
)

_TABLE_ONLY = tuple(row for row in TABLE1_TABLE_ROWS if row.key != MMCL.key)
TABLE1_TABLE_CLAIMS = tuple(
    Claim(
        f"On the table, {words}, multimodal pretraining is above every other method",
        _above_all(_TABLE_ONLY, column),
        True,
    )
    for words, column in (("frozen", FROZEN_TABLE), ("trainable", TRAINABLE_TABLE))
)


def _keeps_half(row: TableRow) -> Contrast:
    """Return a number above 0 if the row keeps more than half of what all columns gain over SimCLR."""
    key = FROZEN.key
    label = f"{row.label} − halfway from SimCLR to all columns"
    return Contrast(label, ((row.key, key, 1.0), (MMCL.key, key, -0.5), (SIMCLR.key, key, -0.5)))


TABLE2_CLAIMS = (
    Claim("All columns together are above image-only pretraining", (difference(MMCL, SIMCLR, FROZEN),)),
    # The first difference is the gain: columns cannot keep most of a gain that does not exist.
    Claim(
        "Morphometric columns alone keep most of the gain (more than half)",
        (difference(MMCL, SIMCLR, FROZEN), _keeps_half(MORPHOMETRIC)),
    ),
    Claim("Without the morphometric columns there is a loss", (difference(MMCL, NOT_MORPHOMETRIC, FROZEN),)),
    Claim(
        "Morphometric columns alone are above the others alone", (difference(MORPHOMETRIC, NOT_MORPHOMETRIC, FROZEN),)
    ),
)

TABLE3_CLAIMS = (
    Claim("The label as a feature (LaaF) is above MMCL", (difference(LAAF, MMCL, FROZEN),)),
    Claim("SupCon is above MMCL", (difference(SUPCON, MMCL, FROZEN),)),
    Claim(
        "The label as a feature improves FN elimination and SupCon",
        (difference(ELIMINATION_LAAF, ELIMINATION, FROZEN), difference(SUPCON_LAAF, SUPCON, FROZEN)),
    ),
    Claim(
        "SupCon with LaaF is the best of all",
        tuple(difference(SUPCON_LAAF, row, FROZEN) for row in TABLE3_ROWS if row.key != SUPCON_LAAF.key),
    ),
)


def _advantage_grows(row: TableRow, many: TableColumn, few: TableColumn) -> Contrast:
    """Return MMCL's advantage over the row with few labels minus its advantage with many."""
    weights = ((MMCL.key, few.key, 1.0), (row.key, few.key, -1.0), (MMCL.key, many.key, -1.0), (row.key, many.key, 1.0))
    return Contrast(f"advantage over {row.label}, {100 * few.share:g} % − {100 * many.share:g} % of labels", weights)


_FROZEN_SHARES, _TRAINABLE_SHARES = SHARES[:3], SHARES[3:]
FIGURE2_CLAIMS = tuple(
    claim
    for words, columns in (("frozen", _FROZEN_SHARES), ("trainable", _TRAINABLE_SHARES))
    for claim in (
        Claim(
            f"With the encoder {words}, the advantage over image-only pretraining is largest with the fewest labels",
            tuple(_advantage_grows(row, many, columns[-1]) for row in _PRETRAINED for many in columns[:-1]),
        ),
        Claim(
            f"With the encoder {words} and 1 % of labels, multimodal pretraining is above every image-only method",
            _above_all(_PRETRAINED, columns[-1]),
        ),
    )
)

_PAPER = "Hager et al., CVPR 2023"

TABLES = (
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
