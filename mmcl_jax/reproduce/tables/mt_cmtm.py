"""The tables of MT-CMTM (Roy et al., arXiv 2501.07304): what a table encoder gains from images, beside its rivals.

The paper's tables are not available to us, only two differences: they are compared with ours. Every pretrained row and
the encoder from scratch is fine-tuned in the same way, by OneCycle with the same maxima to choose from, and a rival has
as many trials, if `--trials` is the number of `--learning-rates`.
"""

import dataclasses

from mmcl_jax.reproduce.published import MT_CMTM_GAIN
from mmcl_jax.reproduce.spec import COLUMNS_USED, Claim, Contrast, PaperTable, TableColumn, TableRow, difference
from mmcl_jax.reproduce.tables import mmcl
from mmcl_jax.reproduce.tables.rivals import RIVAL_ROWS

_PAPER = "Roy et al., arXiv 2501.07304; its tables are not available to us"
_CYCLE = {"schedule": "one_cycle"}

PROBE = TableColumn(key="frozen", heading="Frozen", protocol="probe", input="table")
TUNED = TableColumn(key="trainable", heading="Trainable", protocol="finetune", input="table", options=_CYCLE)
SHARES = tuple(
    dataclasses.replace(
        TUNED,
        key=TUNED.key if share == 1 else f"{TUNED.key}-{100 * share:g}",
        heading=f"Trainable, {100 * share:g} %",
        share=share,
    )
    for share in (1.0, 0.1, 0.01)
)


def _method(key: str, label: str, *overrides: str, config: str = "") -> TableRow:
    return TableRow(
        key=key,
        label=label,
        config=config or f"mt_cmtm/{key}",
        overrides=overrides,
        inputs=("table",),
        kind="multimodal",
    )


MT_CMTM = _method("mt_cmtm", "MT-CMTM")
MASK = dataclasses.replace(_method("mask", "Masked modelling alone"), kind="table")
CONTRAST = _method("contrast", "Contrast alone")
SCRATCH = TableRow(
    key="scratch",
    label="Same encoder from scratch",
    baseline="random",
    protocols=("finetune",),
    inputs=("table",),
    kind="labels",
)
RANDOM = dataclasses.replace(mmcl.RANDOM, inputs=("table",))
MMCL = dataclasses.replace(mmcl.MMCL, label="MMCL's table tower", inputs=("table",))
OTHERS = (MMCL, mmcl.SCARF, mmcl.VIME)

TABLE_ROWS = (MT_CMTM, MASK, CONTRAST, SCRATCH, RANDOM, *OTHERS, mmcl.COLUMNS, *RIVAL_ROWS)

_GAIN = difference(MT_CMTM, SCRATCH, TUNED, MT_CMTM_GAIN)


def _above(rows: tuple[TableRow, ...], column: TableColumn) -> tuple[Contrast, ...]:
    return tuple(difference(MT_CMTM, row, column) for row in rows)


TABLE_CLAIMS = (
    Claim("Fine-tuned on the table, MT-CMTM is above the same encoder from scratch", (_GAIN,)),
    Claim(
        "Fine-tuned, both terms together are above either alone",
        _above((MASK, CONTRAST), TUNED),
        ours=True,
    ),
    Claim(
        "Frozen, both terms together are above either alone and above an encoder that was never trained",
        _above((MASK, CONTRAST, RANDOM), PROBE),
        ours=True,
    ),
    Claim("Fine-tuned, MT-CMTM is above MMCL's table tower, SCARF and VIME", _above(OTHERS, TUNED), ours=True),
    Claim("Fine-tuned, MT-CMTM is above every rival on the columns", _above(RIVAL_ROWS, TUNED), ours=True),
)


LOWDATA_ROWS = (MT_CMTM, MASK, CONTRAST, SCRATCH, *RIVAL_ROWS)
LOWDATA_CLAIMS = tuple(
    Claim(
        f"With {100 * column.share:g} % of labels, MT-CMTM is above the same encoder from scratch",
        (difference(MT_CMTM, SCRATCH, column),),
        ours=True,
    )
    for column in SHARES
)


def _setting(name: str, key: str, value: float) -> TableRow:
    named = f"{name}_{value:g}"
    label = f"{name.replace('_', ' ')} {value:g}"
    return _method(named, label, f"{key}={value}", f"name={named}", config=MT_CMTM.config)


# Only the ratio of the two weights matters to Adam, but for weight decay: they are varied both ways.
SETTINGS = tuple(
    _setting(name, key, value)
    for name, key, values in (
        ("lambda_c", "objective.0.weight", (0.25, 4.0)),
        ("lambda_m", "objective.1.weight", (0.25, 4.0)),
        ("rate", "views.table.rate", (0.15, 0.5)),
    )
    for value in values
)
SENSITIVITY_ROWS = (dataclasses.replace(MT_CMTM, label="MT-CMTM: weights 1 and 1, rate 0.3"), *SETTINGS, SCRATCH)

USED = tuple(
    dataclasses.replace(column, key=f"{column.key}-used", heading=heading, metric=COLUMNS_USED)
    for column, heading in ((PROBE, "Frozen features"), (TUNED, "Trained predictions"))
)
EXPLAIN_ROWS = (MT_CMTM, MASK, CONTRAST, SCRATCH, RANDOM)

TABLES = (
    PaperTable(
        name="mt_cmtm/table",
        title="The table alone, after pretraining with images",
        source=_PAPER,
        rows=TABLE_ROWS,
        columns=(PROBE, TUNED),
        claims=TABLE_CLAIMS,
        reference="mt_cmtm",
        task=None,
        beside=("metrics", "ranks", "cost"),
    ),
    PaperTable(
        name="mt_cmtm/lowdata",
        title="The table alone, with few labels",
        source=_PAPER,
        rows=LOWDATA_ROWS,
        columns=SHARES,
        claims=LOWDATA_CLAIMS,
        reference="mt_cmtm",
        curves=True,
        task=None,
        beside=("metrics", "ranks"),
    ),
    PaperTable(
        name="mt_cmtm/sensitivity",
        title="The weights of the terms and the rate of masking",
        source=_PAPER,
        rows=SENSITIVITY_ROWS,
        columns=(TUNED,),
        claims=(
            Claim(
                "At every setting, MT-CMTM is above the same encoder from scratch",
                tuple(difference(row, SCRATCH, TUNED) for row in (MT_CMTM, *SETTINGS)),
                ours=True,
            ),
        ),
        reference="mt_cmtm",
        task=None,
    ),
    PaperTable(
        name="mt_cmtm/explain",
        title="The columns that the table encoder uses",
        source=_PAPER,
        rows=EXPLAIN_ROWS,
        columns=USED,
        claims=(
            Claim(
                "Trained for the label, MT-CMTM uses columns of noise less, beside other columns, than from scratch",
                (difference(MT_CMTM, SCRATCH, USED[1]),),
                ours=True,
            ),
            Claim(
                "Frozen, contrast with images makes the encoder use noise less than masked modelling alone does",
                (difference(MT_CMTM, MASK, USED[0]), difference(CONTRAST, MASK, USED[0])),
                ours=True,
            ),
        ),
        reference="mt_cmtm",
        needs_tag="noise",
        task=None,
        beside=("columns",),
    ),
)
