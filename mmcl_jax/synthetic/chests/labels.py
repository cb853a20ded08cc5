"""The labels that CheXpert's labeller would read from a report, in the columns of MIMIC-CXR-JPG."""

from mmcl_jax.synthetic.chests.words import Report, Sentence

COLUMNS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
_COLUMN_OF = {
    "cardiomegaly": "Cardiomegaly",
    "edema": "Edema",
    "consolidation": "Consolidation",
    "atelectasis": "Atelectasis",
    "pleural_effusion": "Pleural Effusion",
    "pneumothorax": "Pneumothorax",
}
_VALUES = {"present": 1.0, "uncertain": -1.0, "absent": 0.0}
_RANK = (1.0, -1.0, 0.0)  # a positive mention outranks an uncertain one, which outranks a negation


def labels_of(report: Report) -> dict[str, float]:
    """Return the label of every column that the report mentions: 1 present, 0 absent, -1 uncertain."""
    labels = dict[str, float]()
    for sentence in report.sentences:
        for column, value in _said(sentence):
            known = labels.get(column)
            labels[column] = value if known is None else min(known, value, key=_RANK.index)
    found = [column for column, value in labels.items() if value != 0.0 and column != "Support Devices"]
    if not found:
        labels["No Finding"] = 1.0
    return labels


def _said(sentence: Sentence) -> list[tuple[str, float]]:
    """Return the columns of a sentence with their values; an opacity is no consolidation for the labeller."""
    said = list(sentence.labels)
    if sentence.state in _VALUES:
        for kind, _ in sentence.names:
            opaque = kind == "consolidation" and "consolidation" not in sentence.text.lower()
            if kind in _COLUMN_OF and not opaque:
                said.append((_COLUMN_OF[kind], _VALUES[sentence.state]))
    return said
