"""What gives answers away, found; what does not, left alone."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from mmcl_jax.data.schema import Column
from mmcl_jax.prepare.forest import forest_score
from mmcl_jax.prepare.images.decode import thumbnails
from mmcl_jax.prepare.leaks import leaky_columns, near_duplicates, same_order, same_pixels

HALVES = {"train": np.arange(0, 40), "test": np.arange(40, 80)}


def told(labels: np.ndarray, *columns: np.ndarray) -> set[int]:
    return set(leaky_columns(np.column_stack(columns).astype(float), labels, train=np.arange(len(labels))))


def test_columns_that_say_the_label() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 600)
    noisy = np.where(rng.random(600) < 0.1, rng.integers(0, 5, 600), labels)
    scattered = np.array([30, 10, 50, 20, 40])[labels]
    columns = (
        labels,
        1e17 + 64.0 * labels,
        scattered + 0.3 * rng.random(600),
        noisy,
        rng.normal(size=600),
        np.ones(600),
    )
    assert told(labels, *columns) == {0, 1, 2}
    absent = np.where(labels == 3, np.nan, labels)  # that it is missing says the class
    assert told(labels, absent, np.where(rng.random(600) < 0.1, np.nan, labels)) == {0}
    assert told(labels, np.full(600, np.nan), np.where(labels == 0, 1e300, 1.0) * labels) == {1}
    labels[::3] = -1
    assert told(labels, labels, noisy) == {0}


def test_many_classes_of_few_rows() -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(286), rng.integers(1, 12, 286)))
    noise = rng.normal(size=len(labels))
    assert told(labels, labels, noise, labels // 3, 7 * labels + 1000) == {0, 3}


def test_rare_classes() -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(20_000) % 1000 == 0).astype(int)
    assert told(labels, labels, np.zeros(20_000), rng.normal(size=20_000), labels * rng.random(20_000)) == {0, 3}
    few = (np.arange(2000) % 1000 == 0).astype(int)  # two rows say nothing, whatever a column holds
    assert told(few, few, *rng.normal(size=(50, 2000))) == set()
    assert told(np.zeros(100, int), rng.normal(size=100)) == set()
    assert told(np.full(100, -1), rng.normal(size=100)) == set()
    assert told(np.arange(100), np.arange(100)) == set()


LABELS = {
    "balanced": [0.5, 0.5],
    "90/10": [0.9, 0.1],
    "2 % rare": [0.98, 0.02],
    "three, one rare": [0.5, 0.48, 0.02],
    "ten classes": [0.1] * 10,
}


def drawn(balance: str, rows: int, seed: int) -> np.ndarray:
    """Labels with exactly these shares."""
    shares = np.array(LABELS[balance])
    counts = np.round(shares * rows).astype(int)
    counts[0] += rows - counts.sum()
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(shares)), counts))


def copied(labels: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """The labels, in a share of the rows another one's."""
    rng = np.random.default_rng(seed)
    classes = labels.max() + 1
    wrong = rng.permutation(len(labels))[: round(noise * len(labels))]
    copy = labels.copy()
    copy[wrong] = (copy[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return copy


@pytest.mark.parametrize("balance", LABELS)
@pytest.mark.parametrize("noise", [0, 0.01, 0.025])
def test_near_copies_of_a_label(balance: str, noise: float) -> None:
    for rows, seed in ((600, 1), (1000, 2), (4000, 3)):
        rng = np.random.default_rng(seed)
        labels = drawn(balance, rows, seed)
        copy = copied(labels, noise, seed)
        columns = (
            copy,
            rng.permutation(10)[copy],  # other codes
            copy * 7 + rng.integers(0, 7, rows),  # merged with another category: value and category together
            rng.permutation(100)[copy * 5 + rng.integers(0, 5, rows)],
            100.0 * rng.permutation(10)[copy] + rng.random(rows),  # numbers near one another
            np.where(rng.random(rows) < 0.02, np.nan, -copy),
        )
        assert told(labels, *columns) == set(range(len(columns))), (rows, seed)


@pytest.mark.parametrize("balance", LABELS)
def test_honest_columns_are_no_copies(balance: str) -> None:
    for rows, seed in ((300, 1), (600, 2), (1000, 3), (4000, 4)):
        rng = np.random.default_rng(seed)
        labels = drawn(balance, rows, seed)
        strong = copied(labels, 0.1, seed)
        columns = (
            strong,
            strong + 0.1 * rng.random(rows),
            3.0 * labels + rng.normal(0, 1.17, rows),  # 0.9 of two classes are on the right side
            np.zeros(rows),
            np.arange(rows),
            rng.permutation(rows),
            rng.integers(0, rows // 2, rows),
            labels * (rng.random(rows) < 0.6),  # says only that a class is there
            *rng.normal(size=(20, rows)),
            *rng.integers(0, 5, (20, rows)),
        )
        assert told(labels, *columns) == set(), (rows, seed)


def test_a_column_of_one_value_is_no_copy_of_a_label_that_is_nearly_always_the_same() -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(3000) % 300 == 0).astype(int)  # 99.7 %
    assert (
        told(labels, np.zeros(3000), rng.integers(0, 2, 3000), rng.normal(size=3000), rng.integers(0, 900, 3000))
        == set()
    )
    assert told(labels, np.where(labels, 5, rng.integers(0, 4, 3000))) == {0}


def test_few_rows_of_a_class_that_a_copy_has_right() -> None:
    """Six rows of a class; the column differs in seven of 300 rows, of the others or of these."""
    rng = np.random.default_rng(5)
    labels = np.where(np.arange(300) < 6, 3, rng.integers(0, 3, 300))
    for wrong in (range(10, 291, 40), (0, 1, *range(10, 201, 40)), range(0, 6)):
        copy = labels.copy()
        copy[list(wrong)] = (copy[list(wrong)] + 1) % 3
        assert told(labels, copy) == {0}


def test_a_class_merged_with_another() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 2000)
    assert told(labels, np.maximum(labels, 1), labels // 2, copied(np.maximum(labels, 1), 0.01, 0)) == {0, 2}


def test_near_copies_of_a_number() -> None:
    rng = np.random.default_rng(0)
    price = rng.lognormal(size=800)
    some = rng.permutation(800) < 20
    columns = (
        np.where(some, rng.lognormal(size=800), price),
        -np.where(some, 1e6, np.log(price)),
        np.log(price) + 0.2 * rng.normal(size=800),
        rng.normal(size=800),
        np.where(rng.random(800) < 0.1, 0, price),
    )
    assert set(same_order(np.stack(columns, axis=1), price, train=np.arange(800))) == {0, 1}


def test_many_columns_in_bounded_time() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 286, 3000)
    table = rng.normal(size=(3000, 2000))
    begun = time.process_time()
    assert leaky_columns(table, labels, train=np.arange(3000)) == {}
    assert time.process_time() - begun < 10


def test_same_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), np.uint8)
    images[5], images[7], images[6] = images[2], images[2], images[1]
    sums = np.arange(8)
    sums[[5, 7, 6, 4]] = sums[[2, 2, 1, 2]]  # row 4 has a sum that is another's by chance
    assert same_pixels(sums, images, range(8)) == {5: 2, 7: 2, 6: 1}
    assert same_pixels(sums, images, [7, 5, 2, 6]) == {5: 7, 2: 7}


def scene(seed: int, side: int = 96) -> np.ndarray:
    """A picture of some ellipses on a plain ground, as of a studio."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    picture = np.full((side, side, 3), 245.0)
    for _ in range(4):
        cx, cy, a, b = *rng.uniform(0.25, 0.75, 2), *rng.uniform(0.05, 0.25, 2)
        picture[((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1] = rng.integers(0, 220, 3)
    return picture.astype(np.uint8)


def recompressed(picture: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def test_copies_in_other_splits_are_found_and_similar_pictures_are_not() -> None:
    originals = [scene(seed) for seed in range(40)]
    copies = [scene(seed) for seed in range(100, 140)]
    for place in range(10):
        copies[place] = recompressed(originals[place], 40)
        small = Image.fromarray(originals[10 + place]).resize((64, 64), Image.Resampling.BILINEAR)
        copies[10 + place] = np.asarray(small.resize((96, 96), Image.Resampling.BICUBIC))
        copies[20 + place] = np.clip(originals[20 + place].astype(int) - 1, 0, 255).astype(np.uint8)
    originals[35] = recompressed(originals[34], 40)  # within a split, a copy is no leak
    pairs = near_duplicates(thumbnails(np.stack([*originals, *copies])), HALVES)
    assert {(one, other) for one, other, _ in pairs} == {(place, 40 + place) for place in range(30)}
    assert [difference for *_, difference in pairs] == sorted(difference for *_, difference in pairs)
    assert len(near_duplicates(thumbnails(np.stack([*originals, *copies])), HALVES, most=4)) == 4


def test_dim_pictures_are_compared_by_their_contrast() -> None:
    rng = np.random.default_rng(0)
    dim = rng.integers(20, 25, (80, 16, 16)).astype(np.uint8)  # all differ by less than two grey levels
    dim[41] = dim[1]
    assert near_duplicates(dim, HALVES) == [(1, 41, 0.0)]


@pytest.mark.parametrize("kind", ["blank", "noise", "rows"])
def test_twenty_thousand_pictures_alike_take_bounded_time(kind: str) -> None:
    rng = np.random.default_rng(0)
    thumbs = np.zeros((20_000, 16, 16), np.uint8)
    if kind == "noise":
        thumbs = rng.integers(0, 3, thumbs.shape, np.uint8)
    if kind == "rows":
        thumbs[:] = np.linspace(0, 255, 16, dtype=np.uint8)
    begun = time.process_time()
    pairs = near_duplicates(thumbs, {"train": np.arange(0, 20_000, 2), "test": np.arange(1, 20_000, 2)})
    assert time.process_time() - begun < 10
    assert len(pairs) <= 1000
    assert bool(pairs) == (kind != "noise")


def test_near_twins_of_nothing() -> None:
    empty = {"train": np.array([], int), "test": np.array([], int)}
    assert near_duplicates(np.zeros((0, 16, 16), np.uint8), empty) == []
    assert near_duplicates(np.zeros((1, 16, 16), np.uint8), {**empty, "train": np.array([0])}) == []
    assert near_duplicates(np.zeros((2, 16, 16), np.uint8), {"train": np.array([0]), "test": np.array([1])}) == [
        (0, 1, 0.0)
    ]


def test_forest() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(300, 4))
    rule = (table[:, 0] > 0).astype(float)
    table[rng.random(table.shape) < 0.1] = np.nan
    table[:, 3] = np.nan
    table[0, 2] = 1e300
    parts = {"train": np.arange(200), "test": np.arange(200, 300)}
    names = ["a", "b", "c", "d"]
    two = Column(name="y", kind="categorical", categories=("no", "yes"))
    score = forest_score(table, rule, two, names, **parts)
    assert score is not None
    assert (score["metric"], score["chance"], score["train_rows"], score["test_rows"]) == ("AUROC", 0.5, 200, 100)
    assert score["value"] > 0.85
    assert score["importance"][0][0] == "a"
    assert sum(share for _, share in score["importance"]) == pytest.approx(1, abs=1e-3)

    three = Column(name="y", kind="categorical", categories=("a", "b", "c"))
    classes = rule + (np.arange(300) % 2 == 0) * rule
    classes[:3] = np.nan
    score = forest_score(table, classes, three, names, **parts)
    assert score is not None
    assert score["metric"] == "top-1"
    assert score["train_rows"] == 197
    assert score["value"] > score["chance"]
    classes[200:] = 2  # a class that train has little of, and no other to be tried on
    assert forest_score(table, classes, three, names, **parts) is not None

    number = Column(name="y", kind="continuous")
    score = forest_score(table, np.nan_to_num(table[:, 0]) * 5, number, names, **parts)
    assert score is not None
    assert (score["metric"], score["chance"]) == ("R2", 0.0)
    assert score["value"] > 0.8
    assert forest_score(table, np.zeros(300), two, names, **parts) is None
    assert forest_score(table, np.full(300, np.nan), two, names, **parts) is None
    assert forest_score(table, rule, number, names, train=parts["train"], test=np.array([5])) is None


def test_columns_in_the_order_of_a_number_are_found() -> None:
    rng = np.random.default_rng(0)
    price = rng.normal(size=300)
    table = np.stack([np.exp(price), -price, price + 0.2 * rng.normal(size=300), np.ones(300)], axis=1)
    table[::5, 0] = np.nan
    price[::7] = np.nan
    found = same_order(table, price, train=np.arange(250))
    assert {column: round(told.value) for column, told in found.items()} == {0: 1, 1: -1}
