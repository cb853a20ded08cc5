"""The section of predictions of heads that `mmcl evaluate --keep` saved: confusions, calibration, boxes, masks."""

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax
from sklearn.metrics import confusion_matrix

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.kept import ABOUT, KeptHead, heads_of, load_head, read_about
from mmcl_jax.evaluation.results.summary import NAMES
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.page.html import Child, Html, element, fragment, name, section, table
from mmcl_jax.page.wording import clipped, count, counted, number
from mmcl_jax.report.sections.dense import chosen, found_boxes, found_masks
from mmcl_jax.report.subject import Group, Subject, how_to_evaluate, paragraph
from mmcl_jax.tasks import Class, Detection, Masks, Number, Ordinal, OrdinalLogits, Segmentation

_HEADS = 3  # of a run
_CELLS = 16  # classes up to which the whole matrix is shown
_PAIRS = 15  # confusions that are listed of a larger matrix
_BINS = 10
_POINTS = 1000  # of a scatter plot


def predictions(groups: Sequence[Group]) -> Html:
    """Return the section, with the heads of the first run of every experiment."""
    parts: list[Child] = []
    for group in groups:
        if len(groups) > 1:
            parts.append(element("h3", name(group.name), f", {group.first.name}", class_="of"))
        parts += _of_run(group, "h4" if len(groups) > 1 else "h3")
    return section("predictions", "Predictions", *parts)


def _of_run(group: Group, level: str) -> list[Html]:
    subject = group.first
    kept, faults = kept_heads(subject)
    parts = [paragraph(fault) for fault in faults]
    if not kept and not faults:
        words = "No head of this run is kept, so its predictions are unknown."
        parts.append(paragraph(words, *how_to_evaluate(group)))
    for head in kept[:_HEADS]:
        try:
            parts.append(_of_head(subject, head, level))
        except UserError as error:
            parts.append(paragraph(str(error)))
    if len(kept) > _HEADS:
        parts.append(
            paragraph(
                f"{counted(len(kept) - _HEADS, 'further kind')} of kept heads of this run are not shown.", kind="calm"
            )
        )
    return parts


def kept_heads(subject: Subject) -> tuple[list[KeptHead], list[str]]:
    """Return the heads of a run that were trained on its present weights, and sentences on folders that are damaged.

    Of heads that differ only by their labels or draw, the first draw with the most labels is returned.
    """
    try:
        state = subject.source.of()["state"]
    except UserError as error:
        return [], [str(error)]
    best: dict[tuple[str, ...], tuple[tuple[float, int], KeptHead]] = {}
    faults = []
    for folder in sorted(path.parent for path in heads_of(subject.run).glob(f"*/{ABOUT}")):
        try:
            of = read_about(folder)["of"]
            if of.get("source") != "run" or of.get("state") != state:
                continue
            head = load_head(folder, subject.run)
        except UserError as error:
            faults.append(f"The head {folder.name} cannot be shown: {error}")
            continue
        key = (head.score.protocol, head.score.input, head.score.label, head.score.task)
        rank = (_labels(head), -head.score.draw)
        if key not in best or rank > best[key][0]:
            best[key] = (rank, head)
    return [head for _, head in best.values()], faults


def _labels(head: KeptHead) -> float:
    """Return a number that grows with the labels of a budget's text."""
    text = head.score.budget
    if text == "all":
        return float("inf")
    try:
        return float(text.removeprefix("first ").split()[0])
    except ValueError:
        return -1.0


def _of_head(subject: Subject, head: KeptHead, level: str) -> Html:
    score, task, fold = head.score, head.trained.task, subject.run.inputs.fold
    title = f"{score.label}, {score.protocol.replace('_', ' ')} on {score.input}, {score.budget} labels"
    title += ", decoded as by ContIG" if isinstance(task, OrdinalLogits) else ""
    heading = element(level, clipped(title, 120))
    dense = isinstance(task, Detection | Masks | Segmentation)
    if not dense and not isinstance(task, Class | Ordinal | Number):
        words = f"Predictions of the task {task.name!r} are not drawn; their metrics are under Results."
        return fragment(heading, paragraph(words, kind="calm"))
    labelled = LabelledStore.of(subject.store, score.label, task.name, fold=fold)
    rows, targets = labelled.rows[subject.split], labelled.targets[subject.split]
    having = np.isin(rows, subject.rows(head.trained.reads))
    rows, targets = rows[having], targets[having]
    if not len(rows):
        return fragment(heading, paragraph(f"No {subject.split} row has the label and the input.", kind="calm"))
    inputs = {
        modality: subject.source.inputs(subject.store, subject.split, modality)[rows]
        for modality in subject.source.inputs_of(head.trained.reads)
    }
    if dense:
        return fragment(heading, _overlays(head, next(iter(inputs.values())), targets))
    outputs = np.asarray(head.outputs(inputs), np.float64)
    lead = element(
        "p", f"On {counted(len(rows), f'{subject.split} row')} with the label, draw {score.draw}.", class_="calm"
    )
    if isinstance(task, Number):
        return fragment(heading, lead, _scatter(score.label, targets, outputs[:, 0]))
    texts = head.labels[score.label]
    guesses = task.grades(outputs) if isinstance(task, Ordinal) else outputs.argmax(axis=1)
    matrix = confusion_matrix(targets, guesses, labels=range(len(texts)))
    calibration = None if isinstance(task, Ordinal) else _reliability(softmax(outputs, axis=1), targets)
    shown = _matrix(texts, matrix) if len(texts) <= _CELLS else _confused(texts, matrix)
    if below := int((guesses < 0).sum()):  # of `OrdinalLogits`
        words = f"The table leaves out {counted(below, 'row')} with the grade -1, which is no grade."
        lead = fragment(lead, paragraph(words, kind="calm"))
    return fragment(heading, lead, element("div", shown, calibration, class_="pair"))


def _overlays(head: KeptHead, images: np.ndarray, targets: np.ndarray) -> Html:
    """Return some of the images `[N, H, W, C]` with the boxes or masks that they have, and what the head finds."""
    task, modality = head.trained.task, head.trained.reads[0]
    if isinstance(task, Detection):
        few = chosen(~np.isnan(targets[:, 0, 0]))
        some = np.asarray(images[few])
        return found_boxes(some, targets[few], task.found(head.outputs({modality: some})))
    true = np.asarray((targets == 1).any(axis=-1) if isinstance(task, Masks) else targets > 0)
    few = chosen(np.asarray(true.any(axis=(1, 2))))
    some = np.asarray(images[few])
    outputs = np.asarray(head.outputs({modality: some}))
    found = np.asarray((outputs > 0).any(axis=-1) if isinstance(task, Masks) else outputs.argmax(axis=-1) > 0)
    return found_masks(some, true[few], found)


def _matrix(texts: Sequence[str], matrix: np.ndarray) -> Html:
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    rows = [
        [
            name(text, 20),
            *(
                element("span", count(int(cell)), style=f"--v:{share:.3f}", class_="heat zero" if not cell else "heat")
                for cell, share in zip(cells, part, strict=True)
            ),
        ]
        for text, cells, part in zip(texts, matrix, shares, strict=True)
    ]
    head = ["true \\ predicted", *(clipped(text, 12) for text in texts)]
    shown = table("Confusion matrix", head, rows, numeric=set(range(1, len(head))), captioned=True, narrow=True)
    note = "Rows are the true classes; a darker cell has a larger share of its row."
    return element("div", shown, element("p", note, class_="calm"), class_="confusion")


def _confused(texts: Sequence[str], matrix: np.ndarray) -> Html:
    """List the most frequent confusions of a matrix that is too large to read."""
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off.ravel(), kind="stable")[:_PAIRS]
    rows = []
    for true, guess in zip(*np.unravel_index(order, off.shape), strict=True):
        if off[true, guess]:
            total = int(matrix[true].sum())
            rows.append([name(texts[true], 30), name(texts[guess], 30), f"{off[true, guess]} of {total}"])
    if not rows:
        return paragraph("No test row is confused with another class.", kind="calm")
    caption = f"The most frequent confusions of {len(texts)} classes"
    return element("div", table(caption, ["True", "Predicted", "Rows"], rows, numeric={2}, captioned=True))


def reliability(shares: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return the calibration of probabilities by bins of the confidence, and the expected calibration error.

    The confidence of a row is the probability of its predicted class; bins are equally wide (Guo et al., ICML 2017).
    The expected calibration error is the mean of |accuracy - confidence| over bins, weighted by their rows.

    Args:
      shares: probabilities `[n, classes]`.
      targets: class codes `[n]`.

    Returns:
      Confidences, accuracies and counts `[bins]`, NaN in empty bins, and the error.

    Example:
      >>> confidence, accuracy, rows, error = reliability(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]))
      >>> float(accuracy[8]), int(rows[8]), round(error, 3)
      (0.5, 2, 0.4)
    """
    confidences, hits = shares.max(axis=1), shares.argmax(axis=1) == targets
    bins = np.clip(np.ceil(np.round(confidences * _BINS, 9)).astype(int) - 1, 0, _BINS - 1)
    rows = np.bincount(bins, minlength=_BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bins, confidences, _BINS) / rows
        accuracy = np.bincount(bins, hits, _BINS) / rows
    gaps = np.abs(accuracy - confidence)
    return confidence, accuracy, rows, float(np.nansum(gaps * rows) / rows.sum())


def _reliability(shares: np.ndarray, targets: np.ndarray) -> Html:
    confidence, accuracy, rows, error = reliability(shares, targets)
    at = [(float(c), float(a), int(n)) for c, a, n in zip(confidence, accuracy, rows, strict=True) if n]
    drawn: list[Child] = [element("line", x1=30, y1=210, x2=230, y2=10, class_="ideal")]
    for mark in (0.0, 0.5, 1.0):
        drawn.append(element("text", f"{mark:g}", x=25, y=214 - 200 * mark, text_anchor="end"))
        drawn.append(element("text", f"{mark:g}", x=30 + 200 * mark, y=226, text_anchor="middle"))
        drawn.append(element("line", x1=30, x2=230, y1=210 - 200 * mark, y2=210 - 200 * mark, class_="rule"))
    path = " ".join(f"{30 + 200 * c:.1f},{210 - 200 * a:.1f}" for c, a, _ in at)
    drawn.append(element("polyline", points=path, class_="line l0"))
    for c, a, n in at:
        tip = element("title", f"confidence {c:.2f}: {a:.2f} right, of {counted(n, 'row')}")
        radius = 3 + 6 * (n / len(targets)) ** 0.5
        drawn.append(element("circle", tip, cx=30 + 200 * c, cy=210 - 200 * a, r=radius, class_="s0 dot"))
    title = f"Reliability: share right over confidence; expected calibration error {error:.3f}"
    svg = element("svg", element("title", title), drawn, class_="chart square", viewBox="0 0 240 232", role="img")
    words = (
        f"Share of right predictions (up) over the confidence (across), in bins; the dashed line is perfect, larger "
        f"discs have more rows. Expected calibration error: {error:.3f}."
    )
    return element("figure", element("b", "Reliability"), svg, element("figcaption", words, class_="calm"))


def _scatter(label: str, targets: np.ndarray, outputs: np.ndarray) -> Html:
    chosen = np.sort(np.random.default_rng(0).permutation(len(targets))[:_POINTS])
    true, guess = targets[chosen], outputs[chosen]
    low, high = float(min(true.min(), guess.min())), float(max(true.max(), guess.max()))
    span = (high - low) or 1.0
    drawn: list[Child] = [element("line", x1=10, y1=210, x2=210, y2=10, class_="ideal")]
    drawn += [
        element("circle", cx=10 + 200 * (t - low) / span, cy=210 - 200 * (g - low) / span, r=2.5, class_="dot s0")
        for t, g in zip(true, guess, strict=True)
    ]
    title = f"Predicted over true {clipped(label)}, from {number(low)} to {number(high)}"
    svg = element("svg", element("title", title), drawn, class_="chart square", viewBox="0 0 220 220", role="img")
    error, off = NAMES["mae"], float(np.abs(true - guess).mean())
    words = f"{title} on both axes; on the dashed line they agree. The {error} is {number(off)}."
    return element("figure", svg, element("figcaption", words, class_="calm"))
