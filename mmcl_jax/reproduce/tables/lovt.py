"""The tables of LoVT (Mueller et al., ECCV 2022): what reports teach an encoder of radiographs for dense tasks.

Every method has the encoder, the length and the downstream training of all others; nothing is chosen for one method
alone. The settings were fixed before any of our results was known: those of the released code where they are known.
"""

import dataclasses
from collections.abc import Mapping

from mmcl_jax.evaluation.protocols.tuning import Tuning
from mmcl_jax.reproduce.published import Numbers
from mmcl_jax.reproduce.spec import ALIGNMENT, Claim, Contrast, PaperTable, TableColumn, TableRow, difference
from mmcl_jax.reproduce.tables import lovt_published as published
from mmcl_jax.reproduce.tables.lovt_published import SHARES, TARGET

_PAPER = "Mueller et al., ECCV 2022"
_VARIANTS = ("mimic", "chest")
_EPOCHS = {1.0: 50, 0.1: 100, 0.01: 500}
_TUNED_RATES, _LINEAR_RATES = (3e-4, 1e-4), (3e-2, 1e-2, 3e-3, 1e-3)


def _tuning(head: str, *, tuned: bool, few: bool = False, warm_up: int = 0) -> Tuning:
    """Return the settings of the downstream training: Adam, and batches of 64, or of 8 for few labels.

    A linear head on frozen maps is a probe, which has no weight decay and never augments.
    """
    size = 8 if few else 64
    if head == "linear_segmentation" and not tuned:
        return Tuning(head=head, batch_size=size)
    return Tuning(
        head="yolo" if head == "yolo" else head if tuned else None, batch_size=size, weight_decay=1e-6,
        patience=20 if few else 10, augment="none", frozen_steps=warm_up,
    )  # fmt: skip


def _column(
    key: str, heading: str, store: str, label: str, head: str, *, rates: tuple[float, ...], tuned: bool = False,
    share: float = 1.0, epochs: int = 100, few: bool = False, task: str = "", warm_up: int = 100,
) -> TableColumn:  # fmt: skip
    return TableColumn(
        key=key,
        heading=heading,
        protocol="finetune" if tuned else "unet" if head == "unet" else "probe",
        share=share,
        first=share < 1,
        options={"tuning": _tuning(head, tuned=tuned, few=few, warm_up=warm_up if tuned else 0), "schedule": "plateau"},
        label=label,
        store=store,
        learning_rates=rates,
        max_epochs=epochs,
        task=task,
    )


def _of_rsna(share: float) -> tuple[TableColumn, ...]:
    """Return the columns of RSNA with a share of the labels: YOLO frozen and fine-tuned, and linear segmentation."""
    few, percent, epochs = share < 0.1, f"{100 * share:g}", _EPOCHS[share]
    frozen = {1.0: (3e-4, 1e-3), 0.1: (1e-3,), 0.01: (1e-3, 3e-4)}[share]
    tuned = (3e-4, 1e-3) if share == 0.1 else _TUNED_RATES
    linear = (*_LINEAR_RATES[:3], 1e-4) if few else _LINEAR_RATES
    common = {"store": "rsna", "share": share, "epochs": epochs, "few": few}
    return (
        _column(
            f"yolo-frozen-{percent}", f"YOLO frozen, {percent} % (mAP, %)", label="lesions", head="yolo",
            task="detection", rates=frozen, **common,  # type: ignore[arg-type]
        ),
        _column(
            f"linear-{percent}", f"Linear, {percent} % (Dice, %)", label="mask", head="linear_segmentation",
            task="dice", rates=linear, **common,  # type: ignore[arg-type]
        ),
        _column(
            f"yolo-tuned-{percent}", f"YOLO fine-tuned, {percent} % (mAP, %)", label="lesions", head="yolo",
            task="detection", rates=tuned, tuned=True, **common,  # type: ignore[arg-type]
        ),
    )  # fmt: skip


_BY_SHARE = {share: _of_rsna(share) for share in SHARES}
FROZEN, LINEAR, _ = _BY_SHARE[0.1]
RSNA_COLUMNS = tuple(sorted((one for of in _BY_SHARE.values() for one in of), key=lambda one: (one.share != 0.1,)))
_NIH = (
    "atelectasis", "cardiomegaly", "effusion", "infiltrate", "mass", "nodule", "pneumonia", "pneumothorax",
)  # fmt: skip


def _masks(
    key: str, heading: str, store: str, head: str, rates: tuple[float, ...], *, tuned: bool = False, few: bool = False,
    label: str = "mask", warm_up: int = 100, epochs: int = 50,
) -> TableColumn:  # fmt: skip
    return _column(
        key, f"{heading} (Dice, %)", store, label, head, rates=rates, tuned=tuned, few=few, task="dice",
        warm_up=warm_up, epochs=epochs,
    )  # fmt: skip


OTHER_COLUMNS = (
    _masks("covid-tuned", "COVID Rural, fine-tuned", "covid_rural", "unet", (1e-4, 3e-4), tuned=True, few=True,
           warm_up=20, epochs=100),
    _masks("covid-frozen", "COVID Rural, frozen", "covid_rural", "unet", (1e-4, 3e-4, 1e-3), few=True, epochs=100),
    _masks("covid-linear", "COVID Rural, linear", "covid_rural", "linear_segmentation", _LINEAR_RATES, few=True,
           epochs=100),
    _masks("siim-tuned", "SIIM, fine-tuned", "siim", "unet", (3e-5, 1e-5), tuned=True),
    _masks("siim-frozen", "SIIM, frozen", "siim", "unet", (3e-5, 1e-5)),
    _column("object-tuned", "Object-CXR, fine-tuned (fROC, %)", "object_cxr", "lesions", "yolo", rates=(1e-3, 3e-4),
            tuned=True, epochs=50, task="detection_froc"),
    _column("object-frozen", "Object-CXR, frozen (fROC, %)", "object_cxr", "lesions", "yolo", rates=(1e-3, 3e-3),
            epochs=50, task="detection_froc"),
    _masks("object-linear", "Object-CXR, linear", "object_cxr", "linear_segmentation", (3e-1, 1e-1, 3e-2, 1e-2)),
    _masks("nih-linear", "NIH, linear", "nih_boxes", "linear_segmentation", (1e-1, 3e-2, 1e-2),
           label="+".join(f"mask_{name}" for name in _NIH)),
)  # fmt: skip


def _row(
    key: str, label: str, config: str, *overrides: str, kind: str = "multimodal", weights: bool = False
) -> TableRow:
    return TableRow(
        key=key, label=label, config=f"lovt/{config}", overrides=(*overrides, f"name={key}"), kind=kind,
        protocols=("probe", "unet", "finetune", ALIGNMENT), inputs=("image",), needs_weights=weights,
    )  # fmt: skip


_NO_ATTENTION = ("encoders.image.pooling=none", "encoders.report.pooling=none")
LOVT = _row("lovt", "LoVT", "lovt")
CONVIRT, CLIP = _row("lovt_convirt", "ConVIRT", "convirt"), _row("lovt_clip", "CLIP", "clip")
IMAGES = (
    _row("lovt_simclr", "SimCLR", "simclr", kind="image"),
    _row("lovt_byol", "BYOL", "byol", kind="image"),
    _row("lovt_pixelpro", "PixelPro", "pixelpro", kind="image"),
)
CHEXPERT = _row("lovt_chexpert", "CheXpert, supervised", "chexpert", kind="labels")
IMAGENET = _row("lovt_imagenet", "ImageNet", "imagenet", kind="labels", weights=True)
RANDOM = TableRow(
    key="random", label="Random", baseline="random", protocols=("probe", "unet", "finetune"), kind="nothing"
)
METHODS = (LOVT, CONVIRT, CLIP, *IMAGES, CHEXPERT, IMAGENET, RANDOM)

UNWEIGHTED = _row("lovt_unweighted", "no local weighting", "lovt", "objective.1.weighting=uniform")
MEANS = _row(
    "lovt_means", "no local weighting and no attention", "lovt", "objective.1.weighting=uniform", *_NO_ATTENTION
)
LOCAL = _row("lovt_local", "no global term", "lovt", "objective.0.weight=0")
HARD = _row("lovt_hard", "hard positives", "lovt", "objective.1.positives=hard")
SENTENCES = _row("lovt_sentences", "local term of sentences alone", "lovt", "objective.1.sides=(0.0,1.0)")
REGIONS = _row("lovt_regions", "local term of regions alone", "lovt", "objective.1.sides=(1.0,0.0)")
GLOBAL = _row("lovt_global", "global term alone", "lovt", "objective.1.weight=0")
GLOBAL_MEANS = _row(
    "lovt_global_means", "global term alone, no attention", "lovt", "objective.1.weight=0", *_NO_ATTENTION
)
CYCLIC = _row("lovt_convirt_cyclic", "ConVIRT, cyclic rate", "convirt", "schedule.name=cosine_cycles")
VARIANTS_OF_LOVT = (UNWEIGHTED, MEANS, LOCAL, HARD, SENTENCES, REGIONS, GLOBAL, GLOBAL_MEANS)


def _with(rows: tuple[TableRow, ...], numbers: Mapping[str, Numbers]) -> tuple[TableRow, ...]:
    return tuple(dataclasses.replace(row, published=numbers.get(row.key, {})) for row in rows)


def _published(first: TableRow, second: TableRow, column: TableColumn, numbers: Mapping[str, Numbers]) -> Contrast:
    """Return the difference of two rows in a column, with what it is in the paper."""
    means = [numbers.get(row.key, {}).get(TARGET, {}).get(column.key) for row in (first, second)]
    known = [one.mean for one in means if one is not None and one.mean is not None]
    return difference(first, second, column, {TARGET: known[0] - known[1]} if len(known) == 2 else {})


def _above(
    text: str, first: TableRow, others: tuple[TableRow, ...], columns: tuple[TableColumn, ...],
    numbers: Mapping[str, Numbers],
) -> Claim:  # fmt: skip
    """Return the claim that a row is above others in columns: the paper's, if its numbers say so."""
    contrasts = tuple(_published(first, other, column, numbers) for column in columns for other in others)
    return Claim(text, contrasts, ours=not all(one.published.get(TARGET, 0) > 0 for one in contrasts))


def _mean_above(
    text: str, firsts: tuple[TableRow, ...], seconds: tuple[TableRow, ...], columns: tuple[TableColumn, ...],
    numbers: Mapping[str, Numbers],
) -> Claim:  # fmt: skip
    contrasts = []
    for column in columns:
        parts = [(row, 1 / len(firsts)) for row in firsts] + [(row, -1 / len(seconds)) for row in seconds]
        known = [(numbers[row.key][TARGET][column.key].mean, weight) for row, weight in parts]
        total = sum(mean * weight for mean, weight in known if mean is not None)
        weights = tuple((row.key, column.key, weight) for row, weight in parts)
        contrasts.append(Contrast(f"{column.heading}: difference of means", weights, {TARGET: total}))
    return Claim(text, tuple(contrasts), ours=not all(one.published[TARGET] > 0 for one in contrasts))


_THEIRS = (
    "Theirs: on all of MIMIC-CXR, means of five downstream runs of one pretrained model, many of which are the same to "
    "the last bit."
)
_NOTES = (
    "Frozen: the head alone is trained. Fine-tuned: the head alone for 100 batches (COVID Rural 20; none of an encoder "
    "that was never trained), and then all weights. Adam on images that are not augmented, with weight decay 1e-6 but "
    "for linear heads; the rate is halved where the loss on validation stops falling; the epoch and the rate with the "
    "best metric on validation are tested. mAP is that of the released code, over the IoU .40 to .75 with its soft "
    "policy and its arithmetic of boxes. Parts of the labels are the first rows, as in the paper."
)


def _table(name: str, title: str, **parts: object) -> PaperTable:
    common = {"reference": LOVT.key, "task": None, "variants": _VARIANTS, "target": TARGET, "theirs": _THEIRS}
    return PaperTable(name=f"lovt/{name}", title=title, **{**common, **parts})  # type: ignore[arg-type]


_BESIDE_IMAGES = (*IMAGES, CHEXPERT, IMAGENET, RANDOM)
_LINEARS = tuple(column for column in RSNA_COLUMNS if column.key.startswith("linear"))
_RSNA_CLAIMS = (
    _above(
        f"LoVT is above all others on {FROZEN.heading}", LOVT, (CONVIRT, CLIP, *_BESIDE_IMAGES), (FROZEN,),
        published.RSNA,
    ),
    _above(
        "LoVT is above all others in linear segmentation, with all shares of the labels", LOVT,
        (CONVIRT, CLIP, *_BESIDE_IMAGES), _LINEARS, published.RSNA,
    ),
    _mean_above(
        "With reports (LoVT, ConVIRT, CLIP), frozen maps are on average better than from images alone",
        (LOVT, CONVIRT, CLIP), IMAGES, (FROZEN, *_LINEARS), published.RSNA,
    ),
    _above(
        "LoVT is above an encoder that was never trained, frozen", LOVT, (RANDOM,),
        (FROZEN, *_LINEARS), published.RSNA,
    ),
)  # fmt: skip
_OTHER_CLAIMS = tuple(
    _above(f"{column.short}: LoVT is above all others", LOVT,
           (CONVIRT, CLIP, *_BESIDE_IMAGES), (column,), published.OTHER)
    for column in OTHER_COLUMNS
)  # fmt: skip


_MATTERS = (
    ("The weights of regions and sentences help", LOVT, UNWEIGHTED),
    ("Attention pooling helps", UNWEIGHTED, MEANS),
    ("The global term helps", LOVT, LOCAL),
    ("Smooth positives help", LOVT, HARD),
    ("The local term of regions helps", LOVT, SENTENCES),
    ("The local term of sentences helps", LOVT, REGIONS),
    ("The local terms help", LOVT, GLOBAL),
    ("Attention pooling helps without local terms", GLOBAL, GLOBAL_MEANS),
    ("A cyclic rate helps ConVIRT", CYCLIC, CONVIRT),
)
_ABLATION_CLAIMS = (
    *(_above(text, row, (without,), (FROZEN,), published.ABLATION) for text, row, without in _MATTERS),
    # The paper's ablation has YOLO alone.
    *(
        _above(f"{text}, in linear segmentation", row, (without,), (LINEAR,), published.ABLATION)
        for text, row, without in _MATTERS
    ),
)


def _analysed(metric: str, heading: str, *, input: str = "image", truth: bool = False) -> TableColumn:
    return TableColumn(key=metric, heading=heading, protocol=ALIGNMENT, metric=metric, input=input, truth=truth)


COLLAPSE = _analysed("collapse", "log of centroids over within")
POINTING, BY_COSINE = (
    _analysed(f"pointing_{name}", f"Pointing above chance, by {words} (%)", input=input, truth=True)
    for name, words, input in (("alignment", "the alignment", "image+report"), ("cosine", "cosines", "image"))
)
ANALYSIS_COLUMNS = (
    _analysed("std", "Std of images"),
    _analysed("std_total", "Std of regions"),
    _analysed("std_within", "Std within images"),
    _analysed("std_centroid", "Std of centroids"),
    COLLAPSE,
    _analysed("uniformity", "Uniformity"),
    _analysed("pair_distance", "Distance of pairs"),
    _analysed("recall", "Report in the nearest five (%)"),
    _analysed("rmse_image", "RMSE of regions", input="image+report"),
    _analysed("rmse_report", "RMSE of sentences", input="image+report"),
    POINTING,
    BY_COSINE,
)
_FIVE = 1.6094379124341003  # log 5


def _aligned(row: TableRow) -> TableRow:
    return dataclasses.replace(row, inputs=("image", "image+report"))


_ANALYSIS_ROWS = (
    *map(_aligned, (LOVT, UNWEIGHTED, LOCAL, HARD, SENTENCES, REGIONS)), GLOBAL, GLOBAL_MEANS, CLIP, CONVIRT,
)  # fmt: skip
_COLLAPSE_CLAIM = dataclasses.replace(
    _published(LOVT, LOCAL, COLLAPSE, published.ANALYSIS),
    label="log of LoVT's ratio − log of that without the global term − log 5",
    margin=-_FIVE,
)
_ANALYSIS_CLAIMS = (
    Claim(
        "Without the global term images collapse: the deviation of centroids over that within images is at least five "
        "times smaller",
        (dataclasses.replace(_COLLAPSE_CLAIM, published={TARGET: _COLLAPSE_CLAIM.published[TARGET] - _FIVE}),),
    ),
    Claim(
        "Sentences point at their findings more often with local terms than without, by cosines",
        tuple(difference(LOVT, row, BY_COSINE) for row in (GLOBAL, CLIP, CONVIRT)),
        ours=True,
    ),
    Claim(
        "Sentences of LoVT point at their findings more often than by chance",
        tuple(Contrast(column.heading, ((LOVT.key, column.key, 1.0),)) for column in (POINTING, BY_COSINE)),
        ours=True,
    ),
)

TABLES = (
    _table(
        "rsna",
        "Radiographs: boxes and masks of pneumonia",
        source=f"{_PAPER}, results of RSNA in the released code",
        rows=_with(METHODS, published.RSNA),
        columns=RSNA_COLUMNS,
        claims=_RSNA_CLAIMS,
        beside=("metrics",),
        notes=_NOTES,
    ),
    _table(
        "other",
        "Radiographs: masks and boxes of four other data sets",
        source=f"{_PAPER}, results of COVID Rural, SIIM, Object-CXR and NIH in the released code",
        rows=_with(METHODS, published.OTHER),
        columns=OTHER_COLUMNS,
        claims=_OTHER_CLAIMS,
        beside=("metrics",),
        notes=_NOTES,
    ),
    _table(
        "ablation",
        "Radiographs: what each part of LoVT is good for",
        source=f"{_PAPER}, ablation of the supplement",
        rows=_with((LOVT, *VARIANTS_OF_LOVT, CLIP, CYCLIC, CONVIRT), published.ABLATION),
        columns=(FROZEN, LINEAR),
        claims=_ABLATION_CLAIMS,
        beside=("metrics",),
        theirs="Theirs: on 30 % of MIMIC-CXR, five downstream runs of one pretrained model; rates chosen per variant.",
        notes=_NOTES,
    ),
    _table(
        "analysis",
        "Radiographs and reports: how embeddings spread, agree and point",
        source=f"{_PAPER}, analyses of the released code",
        rows=_with(_ANALYSIS_ROWS, published.ANALYSIS),
        columns=ANALYSIS_COLUMNS,
        claims=_ANALYSIS_CLAIMS,
        theirs="Theirs: on 30 % of MIMIC-CXR, one model each.",
        notes=(
            "Embeddings of test rows have length 1. Deviations are multiplied by the root of the width, so that 1 is "
            "an even spread. Pointing is the share of sentences whose strongest region lies in the finding that they "
            "name, minus the share of regions that lie in it, so that 0 is chance."
        ),
    ),
)
