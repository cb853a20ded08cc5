"""Detection: the loss, the boxes that outputs stand for, and the metrics, against references that are written out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.tasks import CocoDetection, Detection, FrocDetection
from mmcl_jax.tasks.detection import average_precision as ap
from mmcl_jax.tasks.detection.anchors import Scales, scales_of
from mmcl_jax.tasks.detection.decoding import decoded, pixel_iou, suppressed
from mmcl_jax.tasks.detection.froc import RATES, froc
from mmcl_jax.tasks.detection.losses import detection_loss

pytestmark = pytest.mark.core

WHOLE = (0.0, 0.0, 32.0, 24.0)
SCALES = scales_of(WHOLE, [(2, 2), (3, 4), (6, 8)])
LOSS = jax.jit(jax.value_and_grad(detection_loss), static_argnums=2)


def boxes_of(seed: int, *, classes: int = 2, most: int = 5) -> np.ndarray:
    """Boxes of an image of 32 x 24 pixels, two in one cell and one over everything, padded with NaN."""
    rng = np.random.default_rng(seed)
    boxes = np.full((most + 1, 5), np.nan)
    for row in range(most):
        left, top = rng.uniform(0, 28), rng.uniform(0, 20)
        boxes[row] = [left, top, rng.uniform(left + 1, 32), rng.uniform(top + 1, 24), rng.integers(classes)]
    boxes[1] = [*boxes[0, :4] + [0.1, 0, 0.1, 0], (boxes[0, 4] + 1) % classes]
    boxes[2] = [0, 0, 32, 24, 0]
    return boxes


def outputs_of(seed: int, *, classes: int = 2, rows: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, SCALES.cells, 3 * (5 + classes))).astype(np.float32)


def written_out(outputs: np.ndarray, boxes: np.ndarray, scales: Scales, classes: int) -> float:
    """The loss of one image in float64, cell by cell, as the released code of LoVT fills its targets."""
    left, top, width, height = scales.frame
    total, start = 0.0, 0
    for (rows, columns), anchors in zip(scales.grids, scales.anchors, strict=True):
        shape = (rows, columns, 3)
        part = outputs[start : start + rows * columns].astype(np.float64).reshape(*shape, 5 + classes)
        start += rows * columns
        owned, background = np.zeros(shape), np.ones(shape)
        wanted, named = np.zeros((*shape, 4)), np.zeros((*shape, classes))
        sizes = np.array(anchors) * [columns / width, rows / height]
        for x0, y0, x1, y1, code in boxes[~np.isnan(boxes[:, 0])]:
            x, y = ((x0 + x1) / 2 - left) * columns / width, ((y0 + y1) / 2 - top) * rows / height
            w, h = (x1 - x0) * columns / width, (y1 - y0) * rows / height
            i, j = min(int(x), columns - 1), min(int(y), rows - 1)
            inner = (np.minimum(w, sizes[:, 0]) + 1) * (np.minimum(h, sizes[:, 1]) + 1)
            ious = inner / ((w + 1) * (h + 1) + (sizes + 1).prod(axis=1) - inner)
            background[j, i, ious > 0.5] = 0
            best = int(ious.argmax())
            owned[j, i, best] = 1
            wanted[j, i, best] = [x - i, y - j, np.log(w / sizes[best, 0]), np.log(h / sizes[best, 1])]
            named[j, i, best, int(code)] = 1

        def bce(logits: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
            said = 1 / (1 + np.exp(-logits))
            return float((-(target * np.log(said) + (1 - target) * np.log(1 - said)) * mask).mean())

        total += 2.5 * (bce(part[..., 0], wanted[..., 0], owned) + bce(part[..., 1], wanted[..., 1], owned))
        total += 2.5 * sum(float((np.square(part[..., 2 + a] - wanted[..., 2 + a]) * owned).mean()) for a in (0, 1))
        total += bce(part[..., 4], np.ones(shape), owned) + 0.5 * bce(part[..., 4], np.zeros(shape), background)
        if classes > 1:
            total += bce(part[..., 5:], named, owned[..., None])
    return total


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("frame", [WHOLE, (-4.0, 2.0, 40.0, 22.0)], ids=["whole", "window"])
def test_the_loss_is_that_of_targets_filled_cell_by_cell(
    classes: int, frame: tuple[float, float, float, float]
) -> None:
    scales = scales_of(frame, SCALES.grids, "corrected")
    for seed in range(4):
        boxes, outputs = boxes_of(seed, classes=classes), outputs_of(seed, classes=classes)[0]
        value, slope = LOSS(jnp.asarray(outputs), jnp.asarray(boxes, jnp.float32), scales)
        assert float(value) == pytest.approx(written_out(outputs, boxes, scales, classes), rel=2e-6)
        assert np.isfinite(slope).all()
        assert not np.asarray(slope).reshape(-1, 3, 5 + classes)[..., 5:].any() or classes > 1


def test_copies_do_not_count_and_images_without_boxes_are_background() -> None:
    task = Detection(label="lesions", names=("a", "b"), scales=SCALES)
    outputs = outputs_of(0, rows=4)
    boxes = np.stack([boxes_of(0), np.full((6, 5), np.nan), boxes_of(1), boxes_of(2)]).astype(np.float32)
    weights = np.array([1, 1, 0, 0], np.float32)
    value = task.mean_loss(jnp.asarray(outputs), jnp.asarray(boxes), jnp.asarray(weights))
    each = [written_out(outputs[row], boxes[row], SCALES, 2) for row in range(2)]
    assert float(value) == pytest.approx(np.mean(each), rel=1e-5)
    logits = outputs[1].reshape(-1, 3, 7)[..., 4]
    absent, start = 0.0, 0
    for rows, columns in SCALES.grids:
        absent += 0.5 * np.logaddexp(0, logits[start : start + rows * columns]).mean()
        start += rows * columns
    assert each[1] == pytest.approx(absent)


def test_anchors_follow_the_image() -> None:
    released, corrected = (
        scales_of((0, 0, 224, 224), [(7, 7)] * 3),
        scales_of((0, 0, 224, 224), [(7, 7)] * 3, "corrected"),
    )
    assert released.anchors[0] == ((64.64, 48.6), (84.24, 106.92), (201.42, 176.04))
    assert released.anchors[1:] == corrected.anchors[1:]
    assert corrected.anchors[0][0] == (62.64, 48.6)
    assert scales_of((5, 9, 112, 56), [(7, 7)] * 3).anchors[2][0] == pytest.approx((2.7, 1.755))


def test_boxes_are_decoded_and_suppress_others_of_their_class() -> None:
    task = Detection(label="lesions", names=("a", "b"), scales=SCALES)
    outputs = np.full((2, SCALES.cells, 21), -9.0)
    anchor = SCALES.anchors[1][1]
    # The cell in row 1 and column 2 of the second grid, whose cells are 8 x 8 pixels; its second anchor.
    for cell, score, classes in ((4 + 6, 2.0, (1, 3)), (4 + 7, 1.0, (1, 3)), (4 + 11, 0.0, (3, 1))):
        outputs[0, cell, 7:14] = [0, 0, 0.5, 0.5, score, *classes]
    (found, none), sigmoid = task.found(outputs), 1 / (1 + np.exp(-np.array([2.0, 1.0, 0.0])))
    assert none.shape == (0, 6)
    assert found[:, 4].tolist() == [0, 1, 1]
    np.testing.assert_allclose(found[:, 5], sigmoid[[2, 0, 1]])
    size = np.exp(0.5) * np.array(anchor)
    np.testing.assert_allclose(found[1, :2] + found[1, 2:4], [2 * 20, 2 * 12])
    np.testing.assert_allclose(found[1, 2:4] - found[1, :2], size)
    outputs[0, 4 + 7, 7] = -9  # the second box moves to the edge of its cell, so much nearer to the first
    outputs[0, 4 + 7, 9:11] = [1.6, 1.6]
    outputs[0, 4 + 6, 9:11] = [1.6, 1.6]
    assert task.found(outputs)[0][:, 4].tolist() == [0, 1]
    outputs[0, :, 4::7] -= 2
    assert len(task.found(outputs)[0]) == 1  # scores below 0.2


def scenes(seed: int, *, images: int = 12, classes: int = 3) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Detections and boxes: near ones, doubled ones, and some of nothing; images without either."""
    rng = np.random.default_rng(seed)
    found, boxes = [], []
    for _ in range(images):
        count = int(rng.integers(0, 4))
        corner = rng.uniform(0, 80, (count, 2))
        true = np.column_stack([corner, corner + rng.uniform(8, 40, (count, 2)), rng.integers(0, classes, count)])
        near = np.repeat(true, 2, axis=0)
        near[:, :4] += rng.normal(0, 3, near[:, :4].shape)
        far = np.column_stack([np.full((2, 2), 5.0), rng.uniform(10, 60, (2, 2)), rng.integers(0, classes, 2)])
        said = np.concatenate([near, far]) if rng.random() < 0.8 else near[:0]
        boxes.append(true)
        found.append(np.column_stack([said, rng.random(len(said))]))
    return found, boxes


def soft(found: list[np.ndarray], boxes: list[np.ndarray], code: int, threshold: float) -> float:
    """The average precision of a class, detection by detection."""
    rows = [(one[5], image, one) for image, of_image in enumerate(found) for one in of_image if one[4] == code]
    taken: dict[int, set[int]] = {}
    true, wrong, curve = 0, 0, []
    for _, image, one in sorted(rows, key=lambda row: -row[0]):
        targets = [box for box in boxes[image] if box[4] == code]
        ious = []
        for box in targets:
            width = max(min(one[2], box[2]) - max(one[0], box[0]) + 1, 0)
            height = max(min(one[3], box[3]) - max(one[1], box[1]) + 1, 0)
            areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (one, box)]
            ious.append(width * height / (sum(areas) - width * height))
        for index in sorted(range(len(ious)), key=lambda i: -ious[i]):
            if ious[index] > threshold and index not in taken.setdefault(image, set()):
                taken[image].add(index)
                true += 1
                break
        else:
            wrong += 1
        curve.append((true, true / (true + wrong)))
    count = sum(int((one[:, 4] == code).sum()) for one in boxes)
    best = [max((p for hits, p in curve if hits / max(count, 1) >= t), default=0.0) for t in np.arange(0, 1.01, 0.01)]
    return float(np.mean(best))


def test_the_released_precision_pairs_boxes_softly() -> None:
    for seed in range(3):
        found, boxes = scenes(seed)
        each = ap.released(found, boxes, classes=4)  # the fourth class never occurs
        for code in range(3):
            assert each[code] == pytest.approx(np.mean([soft(found, boxes, code, t) for t in ap.THRESHOLDS]), abs=1e-12)
        assert each[3] == 0
    nothing = [np.zeros((0, 6))]
    assert ap.released(nothing, [np.array([[0, 0, 5, 5, 0.0]])], classes=1).tolist() == [0]


@pytest.mark.foreign
def test_the_precision_of_coco_is_that_of_pycocotools(capsys: pytest.CaptureFixture[str]) -> None:
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    for seed in range(5):
        found, boxes = scenes(seed, images=30)
        truth = coco.COCO()
        rows = [(image, box) for image, of_image in enumerate(boxes) for box in of_image.tolist()]
        truth.dataset = {
            "images": [{"id": image} for image in range(len(boxes))],
            "categories": [{"id": code} for code in range(3)],
            "annotations": [
                {
                    "id": number + 1, "image_id": image, "category_id": int(code), "iscrowd": 0,
                    "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top),
                }
                for number, (image, (left, top, right, bottom, code)) in enumerate(rows)
            ],
        }  # fmt: skip
        truth.createIndex()
        said = [
            {"image_id": image, "category_id": int(x[4]), "bbox": [x[0], x[1], x[2] - x[0], x[3] - x[1]], "score": x[5]}
            for image, of_image in enumerate(found)
            for x in of_image.tolist()
        ]
        measure = cocoeval.COCOeval(truth, truth.loadRes(said), "bbox")
        measure.evaluate()
        measure.accumulate()
        measure.summarize()
        assert np.nanmean(ap.coco(found, boxes, classes=3)) == pytest.approx(measure.stats[0], abs=1e-6)
    capsys.readouterr()


def test_the_precision_of_coco_knows_perfect_and_silent_detectors() -> None:
    _, boxes = scenes(0)
    perfect = [np.column_stack([one, np.ones(len(one))]) for one in boxes]
    np.testing.assert_allclose(ap.coco(perfect, boxes, classes=3), 1)
    assert ap.coco([one[:0] for one in perfect], boxes, classes=3).tolist() == [0, 0, 0]
    assert np.isnan(ap.coco(perfect, [one[:0] for one in boxes], classes=3)).all()


def test_froc_fills_its_tail_and_counts_centres() -> None:
    boxes = [np.array([[0.0, 0, 10, 10, 0], [8.0, 8, 20, 20, 0]]), np.zeros((0, 5))]
    both = [0.0, 0, 18, 18, 0, 0.9]  # its centre, 9 and 9, lies in both boxes
    assert froc([np.array([both]), np.zeros((0, 6))], boxes) == 1  # no rate is reached
    wrong = np.array([[40.0, 40, 50, 50, 0, score] for score in (0.95, 0.8)])
    # After the first there is half a false positive per image, which is at least .125, with nothing found; then the hit
    # notes .25, and the second false positive .5; no more rates are noted.
    found = [np.array([both]), wrong]
    assert froc(found, boxes) == pytest.approx((0 + 1 + 1 + 1 + 1 + 1 + 1) / len(RATES))
    assert np.isnan(froc(found, [one[:0] for one in boxes]))
    many = [np.tile(wrong[:1], (20, 1)), np.array([both])]
    assert froc(many, [boxes[1], boxes[0]]) == 0  # all seven rates are reached before


def test_a_task_chooses_by_its_metric_and_reports_all() -> None:
    boxes = np.stack([boxes_of(seed) for seed in range(3)])
    outputs = outputs_of(0, rows=3) * 3
    for kind in (Detection, CocoDetection, FrocDetection):
        task = kind(label="lesions", names=("a", "b"), scales=SCALES)
        metrics = task.metrics(outputs, boxes)
        assert task.score_on_host(outputs, boxes) == metrics[task.primary]
        assert metrics["map_released"] == pytest.approx((metrics["map_released/a"] + metrics["map_released/b"]) / 2)
        assert {*task.shown, *task.details.metrics} == {"map_released", "map_coco", "froc"}
        assert all(np.isnan(x) for x in task.metrics(np.full_like(outputs, np.nan), boxes).values())
        with pytest.raises(UserError, match="--protocol knn: the label 'lesions' is boxes"):
            task.vote(np.ones((1, 1)), boxes)
    assert dataclasses.replace(task, label="other") == task


def test_decoding_does_not_overflow_into_the_metrics() -> None:
    outputs = np.full((1, SCALES.cells, 18), 900.0)
    assert np.isfinite(decoded(np.full((1, SCALES.cells, 18), 5.0), SCALES)[0]).all()
    assert len(decoded(outputs, SCALES)[0]) > 0


def test_blocks_suppress_as_one_box_after_the_other_does() -> None:
    """An untrained head finds thousands of boxes in an image, and every epoch measures all images."""
    rng = np.random.default_rng(0)
    centre, half = rng.random((1500, 2)) * 56, np.exp(rng.normal(0, 0.6, (1500, 2))) * 4
    boxes = np.column_stack([centre - half, centre + half, rng.integers(0, 2, 1500), rng.random(1500).round(2)])
    kept = list[np.ndarray]()
    for box in sorted(boxes, key=lambda box: (box[4], -box[5])):  # stable: among equal scores, in their order
        if all(one[4] != box[4] or pixel_iou(one[None], box[None])[0, 0] < 0.4 for one in kept):
            kept.append(box)
    assert 100 < len(kept) < 1000
    np.testing.assert_array_equal(suppressed(boxes), np.stack(kept))
