"""The table of TIP (Du et al., ECCV 2024) as data: tables with holes, by strategy and share of what is missing.

All models are pretrained on complete rows, and fine-tuned and tested with the same cells hidden. The supervised rivals
have TIP's own encoders under another fusion; MMCL has its own, on both inputs side by side. The published numbers could
not be read, so the table has none.
"""

from mmcl_jax.reproduce.spec import Claim, Contrast, PaperTable, TableColumn, TableRow, difference

RATES = (0.3, 0.5, 0.7, 0.9)
STRATEGIES = {
    "cells": "random cells",
    "columns": "random columns",
    "most_important": "most important first",
    "least_important": "least important first",
}
WHOLE = TableColumn(key="whole", heading="Nothing hidden", protocol="finetune", input="fusion")
HIDDEN = {
    (by, rate): TableColumn(
        key=f"{by}-{100 * rate:g}",
        heading=f"{words.capitalize()}, {100 * rate:g} %",
        protocol="finetune",
        input="fusion",
        options={"missing": (rate,), "missing_by": (by,)},
    )
    for by, words in STRATEGIES.items()
    for rate in RATES
}

TIP = TableRow(key="tip", label="TIP", config="tip/tip", inputs=("fusion",), kind="multimodal")
SCRATCH = TableRow(
    key="tip_scratch",
    label="TIP from scratch",
    baseline="random",  # the encoders of the reference row before pretraining
    protocols=("finetune",),
    inputs=("fusion",),
    kind="labels",
)


def _mmcl(key: str, missing: str, words: str) -> TableRow:
    return TableRow(
        key=key,
        label=f"MMCL, {words}",
        config="mmcl/mmcl",
        overrides=(f"inputs.table.missing={missing}", f"name={key}"),
        inputs=("both", "fusion"),
        reads="both",
        kind="multimodal",
    )


MEAN, TOKEN = _mmcl("mmcl_mean", "mean", "mean imputed"), _mmcl("mmcl_token", "token", "missing token")


def _supervised(key: str, label: str, fusion: str, parts: tuple[str, str] = ("image", "table")) -> TableRow:
    """Return a fusion that is trained on labels alone; its run is the untrained encoders."""
    return TableRow(
        key=key,
        label=label,
        config="tip/scratch",
        overrides=(f"encoders.fusion.name={fusion}", f"views.fused.of={parts}", f"name={key}"),
        baseline="random",
        protocols=("finetune",),
        inputs=("fusion",),
        kind="labels",
    )


SUPERVISED = (
    _supervised("concat", "CONCAT, supervised", "concat_mlp"),
    _supervised("max", "MAX, supervised", "max"),
    _supervised("mul", "MUL, supervised", "mul"),
    _supervised("daft", "DAFT, supervised", "daft", ("image.local", "table")),
)
BOOSTING = TableRow(
    key="boosting",
    label="Gradient boosting, columns",
    rival="boosting",
    protocols=("finetune",),
    inputs=("fusion",),
    kind="labels",
)

ROWS = (TIP, MEAN, TOKEN, SCRATCH, *SUPERVISED, BOOSTING)
COLUMNS = (WHOLE, *HIDDEN.values())


def _above(rows: tuple[TableRow, ...], by: str) -> tuple[Contrast, ...]:
    """Return TIP minus each row at every rate of a strategy."""
    return tuple(difference(TIP, row, HIDDEN[by, rate]) for row in rows for rate in RATES)


def _loses_less(by: str) -> Contrast:
    """Return how much less TIP loses than MMCL, from nothing hidden to the largest rate."""
    last = HIDDEN[by, RATES[-1]].key
    weights = ((TIP.key, last, 1.0), (TIP.key, WHOLE.key, -1.0), (MEAN.key, last, -1.0), (MEAN.key, WHOLE.key, 1.0))
    return Contrast(f"loss of {MEAN.label} − loss of {TIP.label}, {STRATEGIES[by]}", weights)


def _order(row: TableRow, rate: float) -> Contrast:
    """Return how much more a row loses without the most important columns than without the least important."""
    least, most = (HIDDEN[f"{by}_important", rate].key for by in ("least", "most"))
    label = f"{row.label}, {100 * rate:g} %: least − most important hidden"
    return Contrast(label, ((row.key, least, 1.0), (row.key, most, -1.0)))


_ORDERED = (0.3, 0.5, 0.7)  # at 0.9 few columns are left, and both strategies hide most of the same
CLAIMS = (
    Claim("With nothing hidden, TIP is above MMCL", (difference(TIP, MEAN, WHOLE),)),
    *(
        Claim(f"At every rate of {words} hidden, TIP is above MMCL", _above((MEAN,), by))
        for by, words in STRATEGIES.items()
    ),
    Claim(
        "TIP is above TIP from scratch and the supervised fusions at every rate of random cells",
        _above((SCRATCH, *SUPERVISED), "cells"),
    ),
    Claim("TIP loses less than MMCL when most is hidden", tuple(_loses_less(by) for by in STRATEGIES)),
    Claim(
        "Hiding the most important columns first costs more than hiding the least important first",
        tuple(_order(row, rate) for row in (TIP, MEAN, BOOSTING) for rate in _ORDERED),
    ),
    Claim(
        "MMCL with a missing token is above MMCL with imputed means at every rate of random cells",
        tuple(difference(TOKEN, MEAN, HIDDEN["cells", rate]) for rate in RATES),
        ours=True,
    ),
)

TABLES = (
    PaperTable(
        name="tip/missing",
        title="Tables with holes",
        source="Du et al., ECCV 2024; its numbers are not available to us",
        rows=ROWS,
        columns=COLUMNS,
        claims=CLAIMS,
        reference="tip",
        curves=True,
    ),
)
