"""The tables of ContIG (Taleb et al., CVPR 2022): what genetics of people teach an encoder of their eyes.

Fine-tuning and its settings are those of the released code, but for the length on the people themselves: five epochs
of some 100,000 images are 8,000 steps, and of drawn eyes they would be 150. Every method has the same settings, rates
and seeds; nothing is chosen for one method alone.
"""

import dataclasses

from mmcl_jax.evaluation.protocols.tuning import Tuning
from mmcl_jax.reproduce import published
from mmcl_jax.reproduce.spec import Claim, Contrast, PaperTable, TableColumn, TableRow, difference
from mmcl_jax.reproduce.tables import mmcl

_PAPER = "Taleb et al., CVPR 2022"
_NUMBERS, _BINARY = "age+bmi+sbp+dbp", "sex+smoking"
_TUNING = Tuning(batch_size=64, weight_decay=1e-5, patience=0, select="loss", augment="flip")
_MASKS = Tuning(batch_size=64, weight_decay=1e-5, patience=0, select="loss", frozen_epochs=10)


def _tuned(
    key: str, heading: str, label: str, *, epochs: int = 50, rate: float = 1e-3, metric: str = ""
) -> TableColumn:
    """Return a column of fine-tuning, by the settings of ContIG."""
    return TableColumn(
        key=key,
        heading=heading,
        protocol="finetune",
        metric=metric,
        options={"tuning": _TUNING},
        label=label,
        learning_rates=(rate,),
        max_epochs=epochs,
    )


TRAITS = (
    _tuned("numbers", "Age, BMI, pressures (summed MSE)", _NUMBERS, epochs=30, metric="standardised_mse_sum"),
    _tuned("binary", "Sex, smoking (AUROC, %)", _BINARY, epochs=30),
)
APTOS = dataclasses.replace(_tuned("aptos", "APTOS (kappa, %)", "diagnosis"), store="aptos")
RFMID = dataclasses.replace(_tuned("rfmid", "RFMiD (AUROC, %)", "findings"), store="rfmid")
PALM = dataclasses.replace(
    _tuned("palm", "PALM (soft Dice, %)", "disc+atrophy", rate=1e-4), store="palm", options={"tuning": _MASKS}
)
LINEAR = (
    TableColumn(
        key="numbers-frozen",
        heading="Age, BMI, pressures, frozen (summed MSE)",
        protocol="probe",
        metric="standardised_mse_sum",
        label=_NUMBERS,
    ),
    TableColumn(key="binary-frozen", heading="Sex, smoking, frozen (AUROC, %)", protocol="probe", label=_BINARY),
)

# From scratch, the image encoder of the reference row is fine-tuned like all others.
SCRATCH = TableRow(key="scratch", label="From scratch", baseline="random", protocols=("finetune",), kind="labels")


def _image(name: str, label: str) -> TableRow:
    key = f"contig_{name}"  # MMCL's tables have a row `name` with other settings
    return TableRow(key=key, label=label, config=f"contig/{name}", overrides=(f"name={key}",), kind="image")


def _genetic(key: str, label: str) -> TableRow:
    return TableRow(key=key, label=f"ContIG, {label}", config=f"contig/{key}", kind="multimodal")


IMAGES = (
    _image("simclr", "SimCLR"),
    _image("simsiam", "SimSiam"),
    _image("byol", "BYOL"),
    _image("barlow_twins", "Barlow Twins"),
    _image("nnclr", "NNCLR"),
)
SNP, PGS = _genetic("snp", "raw variants"), _genetic("pgs", "scores")
BURDEN = _genetic("burden", "burdens")
INNER, OUTER = _genetic("inner", "all three (inner)"), _genetic("outer", "any of three (outer)")
GENETIC = (SNP, PGS, BURDEN, INNER, OUTER)


def _layers(row: TableRow, layers: int, name: str) -> TableRow:
    """Return a row with another genetics encoder: 0 layers are ContIG's `None`, 2 are `H12`."""
    key = f"{row.key}_{name.lower()}"
    overrides = (f"encoders.{row.key}.layers={layers}", f"name={key}")
    return dataclasses.replace(row, key=key, label=f"{row.label}, {name}", overrides=overrides)


ENCODERS = tuple(
    one
    for row in (SNP, PGS, BURDEN)
    for one in (_layers(row, 0, "None"), dataclasses.replace(row, label=f"{row.label}, H1"), _layers(row, 2, "H12"))
)


def _with_published(rows: tuple[TableRow, ...], columns: tuple[TableColumn, ...]) -> tuple[TableRow, ...]:
    """Return the rows with the numbers that the paper has for these columns."""
    keys = {column.key for column in columns}
    return tuple(
        dataclasses.replace(
            row,
            published={
                target: {key: number for key, number in numbers.items() if key in keys}
                for target, numbers in published.CONTIG_TABLE1.get(row.key, {}).items()
            },
        )
        for row in rows
    )


def _mean_above(row: TableRow, column: TableColumn) -> Contrast:
    """Return the mean of the five pretrainings with genetics minus a row."""
    weights = tuple((one.key, column.key, 1 / len(GENETIC)) for one in GENETIC)
    return Contrast(f"mean of ContIG − {row.label}", (*weights, (row.key, column.key, -1.0)))


def _published(contrast: Contrast) -> Contrast:
    """Return a contrast with what it is in the paper's table 1: in points or, of the summed error, in percent of it."""
    numbers = {key: row["CONTIG"] for key, row in published.CONTIG_TABLE1.items()}
    parts = [(numbers.get(row, {}).get(column), weight) for row, column, weight in contrast.weights]
    known = [(number.mean, weight) for number, weight in parts if number is not None and number.mean is not None]
    if len(known) < len(parts):
        return contrast
    total, whole = sum(mean * weight for mean, weight in known), -sum(mean * min(weight, 0) for mean, weight in known)
    error = contrast.weights[0][1] == TRAITS[0].key
    return dataclasses.replace(contrast, published={"CONTIG": -100 * total / whole if error else total})


def _claim(text: str, *contrasts: Contrast) -> Claim:
    """Return a claim, which is the paper's if its published numbers have it."""
    whole = tuple(map(_published, contrasts))
    return Claim(text, whole, ours=not all(one.published.get("CONTIG", 0) > 0 for one in whole))


def _claims(columns: tuple[TableColumn, ...]) -> tuple[Claim, ...]:
    """Return the claims on table 1 for each column, frozen or trainable."""
    claims = []
    for column in columns:
        of = column.short
        start = SCRATCH if SCRATCH.has(column) else mmcl.RANDOM
        words = "from scratch" if start is SCRATCH else "an encoder that was never trained"
        every = [difference(row, start, column) for row in GENETIC]
        means = [_mean_above(row, column) for row in IMAGES]
        claims += [
            _claim(f"{of}: every pretraining with genetics is better than {words}", *every),
            _claim(f"{of}: pretraining with genetics is on average better than every one on images alone", *means),
            _claim(f"{of}: scores are better than raw variants", difference(PGS, SNP, column)),
            _claim(
                f"{of}: people who lack a vector are of use (outer is better than inner)",
                difference(OUTER, INNER, column),
            ),
        ]
    return tuple(claims)


_TUNED_NOTE = (
    "Trainable: encoder and linear head are trained by Adam at the paper's rate of 0.001, with its weight decay of "
    "1e-5 and batches of 64, mirrored at random; the epoch with the least loss on validation is tested."
)
_FROZEN_NOTE = "Frozen: a linear head on frozen features, whose rate is chosen by R² or AUROC on validation."
_METRICS_NOTE = (
    "The summed mean squared error is of standardised numbers: predicting the means gives 4. The AUROC of two traits "
    "is their mean. Intervals are for other people, each with both eyes."
)
_DOWNSTREAM_NOTE = (
    "The published kappa and AUROC are means over batches of 16 test images, the AUROC over all findings as one "
    "problem (micro); ours are of the whole test split, and our AUROC is the mean over findings with both classes "
    "(macro), since only this has an interval over test images: below are ours in the published form. A kappa of 16 "
    "images is no estimate of the kappa of the split. Masks are trained at 0.0001, after ten epochs in which a "
    "pretrained encoder is held."
)
_THEIRS = "Theirs: single runs."


def _table(name: str, title: str, **parts: object) -> PaperTable:
    common = {
        "reference": PGS.key,
        "task": None,
        "variants": ("fundus", "ukb"),
        "target": "CONTIG",
        "theirs": _THEIRS,
    }
    return PaperTable(name=f"contig/{name}", title=title, **{**common, **parts})  # type: ignore[arg-type]


_TABLE1 = (APTOS, RFMID, PALM, *TRAITS)
_ENCODER_COLUMNS = (*LINEAR, *TRAITS)

TABLES = (
    _table(
        "table1",
        "Eyes: fine-tuned for other data and for traits",
        source=f"{_PAPER}, table 1",
        rows=_with_published((SCRATCH, *IMAGES, *GENETIC), _TABLE1),
        columns=_TABLE1,
        claims=_claims(_TABLE1),
        beside=("metrics", "labels"),
        notes=f"{_TUNED_NOTE} {_METRICS_NOTE} {_DOWNSTREAM_NOTE}",
    ),
    _table(
        "traits",
        "Eyes: fine-tuned for traits of their people",
        source=f"{_PAPER}, table 1, the last two columns",
        rows=_with_published((SCRATCH, *IMAGES, *GENETIC), TRAITS),
        columns=TRAITS,
        claims=_claims(TRAITS),
        beside=("metrics", "labels"),
        notes=f"{_TUNED_NOTE} {_METRICS_NOTE}",
    ),
    _table(
        "linear",
        "Eyes: frozen features for traits of their people",
        source=f"{_PAPER}, appendix; its numbers are not available to us",
        rows=(*IMAGES, *GENETIC, mmcl.RANDOM, mmcl.PIXELS),
        columns=LINEAR,
        claims=_claims(LINEAR),
        beside=("metrics", "labels"),
        notes=f"{_FROZEN_NOTE} {_METRICS_NOTE}",
    ),
    _table(
        "encoders",
        "Eyes: encoders of genetics with no, one and two layers",
        source=f"{_PAPER}, appendix; its numbers are not available to us",
        rows=ENCODERS,
        columns=_ENCODER_COLUMNS,
        claims=tuple(
            Claim(
                f"{column.short}: one layer is better than none and two",
                tuple(
                    difference(one, other, column)
                    for none, one, two in (ENCODERS[:3], ENCODERS[3:6], ENCODERS[6:])
                    for other in (none, two)
                ),
                ours=True,
            )
            for column in _ENCODER_COLUMNS
        ),
        beside=("metrics", "labels"),
        notes=f"{_FROZEN_NOTE} {_TUNED_NOTE} {_METRICS_NOTE}",
    ),
)
