"""Dividing rows: groups, strata, identifiers, columns, and small nested subsets."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.splits.draw import random_splits, read_ids, splits_from_column, splits_from_ids
from mmcl_jax.prepare.splits.subsets import balanced, nested, standard_subsets

SHARES = (0.6, 0.15, 0.25)


def distributions() -> Iterator[tuple[int, np.ndarray]]:
    """Labels of many kinds: even, uneven, with classes of one row, and with none."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rows, classes = int(rng.integers(12, 400)), int(rng.integers(1, 40))
        shares = rng.dirichlet(np.full(classes, rng.choice([0.1, 1.0, 10.0])))
        labels = rng.choice(classes, rows, p=shares)
        labels[rng.random(rows) < rng.choice([0, 0.1])] = -1
        yield seed, labels


def whole(splits: dict, rows: int) -> None:
    assert tuple(splits) == SPLITS
    np.testing.assert_array_equal(np.sort(np.concatenate(list(splits.values()))), np.arange(rows))
    for members in splits.values():
        assert (np.diff(members) > 0).all()


@pytest.mark.core
def test_every_row_once_with_exact_sizes_and_strata() -> None:
    for seed, labels in distributions():
        rows = len(labels)
        splits = random_splits(rows, SHARES, seed=seed, label=labels)
        whole(splits, rows)
        smallest = min(len(members) for members in splits.values())
        classes, counts = np.unique(labels, return_counts=True)
        asked = [round(share * rows) for share in SHARES[1:]]
        if (counts[classes >= 0] >= 3).sum() <= min(asked):  # else splits grow, as each of these classes is in all
            assert [len(splits[name]) for name in SPLITS[1:]] == asked
        if (counts < 3).sum() == 0 and len(classes) <= smallest:  # else some are drawn together
            for name, share in zip(SPLITS, SHARES, strict=True):
                for code, count in zip(classes, counts, strict=True):
                    assert abs((labels[splits[name]] == code).sum() - share * count) <= 2


def test_one_row_of_a_class_does_not_end_the_stratification_of_others() -> None:
    for rare in ([2], [2, 3], [2, 2], [2, 3, 3, 4]):
        labels = np.array([0] * 900 + [1] * 100 + rare)
        splits = random_splits(len(labels), SHARES, seed=1, label=labels)
        for name, share in zip(SPLITS, SHARES, strict=True):
            assert abs((labels[splits[name]] == 1).sum() - 100 * share) <= 1


def test_more_classes_than_rows_of_a_split() -> None:
    labels = np.repeat(np.arange(60), [200] + [4] * 59)
    splits = random_splits(len(labels), (0.9, 0.05, 0.05), seed=0, label=labels)
    whole(splits, len(labels))
    for name, share in zip(SPLITS, (0.9, 0.05, 0.05), strict=True):
        assert abs((labels[splits[name]] == 0).sum() - 200 * share) <= 1


def test_seeds() -> None:
    labels = np.arange(100) % 4
    one, same, other = (random_splits(100, SHARES, seed=seed, label=labels)["train"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert set(one) != set(other)


@pytest.mark.core
def test_groups_are_never_divided() -> None:
    for seed, labels in distributions():
        groups = np.random.default_rng(seed).integers(0, 10 + len(labels) // 3, len(labels)) * 7
        for label in (None, labels):
            splits = random_splits(len(labels), SHARES, seed=seed, label=label, group=groups)
            whole(splits, len(labels))
            found = [set(groups[members]) for members in splits.values()]
            assert sum(map(len, found)) == len(set(groups))


def lacking(splits: dict, labels: np.ndarray, units: np.ndarray) -> list[tuple[str, int]]:
    """The splits and classes of three units or more that are not in them."""
    codes = np.unique(labels[labels >= 0])
    many = [code for code in codes if len(np.unique(units[labels == code])) >= 3]
    return [(name, int(code)) for name, rows in splits.items() for code in set(many) - set(labels[rows])]


@pytest.mark.core
@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (0.98, 0.01, 0.01), (0.2, 0.4, 0.4)])
def test_every_class_of_three_rows_is_in_every_split(shares: tuple) -> None:
    for seed, labels in distributions():
        if round(min(shares) * len(labels)) > 0:
            splits = random_splits(len(labels), shares, seed=seed, label=labels)
            whole(splits, len(labels))
            assert not lacking(splits, labels, np.arange(len(labels)))
    splits = random_splits(180, shares, seed=0, label=np.repeat(np.arange(60), 3))
    assert [len(rows) for rows in splits.values()] == [60, 60, 60]


def test_a_drawing_without_groups_that_has_every_class_is_scikit_learns() -> None:
    labels = np.arange(1000) % 7
    splits = random_splits(1000, SHARES, seed=5, label=labels)
    rest, test = train_test_split(np.arange(1000), test_size=250, random_state=5, stratify=labels)
    train, val = train_test_split(rest, test_size=150, random_state=5, stratify=labels[rest])
    for name, rows in {"train": train, "val": val, "test": test}.items():
        np.testing.assert_array_equal(splits[name], np.sort(rows))


def groupings() -> Iterator[tuple[int, str, np.ndarray, np.ndarray]]:
    """Sizes and classes of many kinds: (seed, kind, groups, labels)."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        sizes = {
            "even": np.full(200, 5),
            "one large": np.array([148, *rng.integers(1, 8, 840)]),
            "long tail": np.minimum(rng.zipf(1.5, 600), 60),
            "single rows": np.ones(500, int),
        }
        for kind, rows in sizes.items():
            groups = np.repeat(rng.permutation(len(rows)), rows)
            mixed = rng.choice(5, len(groups), p=[0.4, 0.3, 0.15, 0.1, 0.05])
            mixed[groups == groups[0]] = 0  # the first, which is the large one, is of one class
            yield seed, kind, groups, mixed
            yield seed, f"{kind}, pure", groups, mixed[np.unique(groups, return_index=True)[1]][groups]


@pytest.mark.core
@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (0.5, 0.2, 0.3), (0.34, 0.33, 0.33)])
def test_groups_fill_splits_by_rows_and_by_classes(shares: tuple) -> None:
    for seed, kind, groups, labels in groupings():
        splits = random_splits(len(groups), shares, seed=seed, label=labels, group=groups)
        whole(splits, len(groups))
        assert not lacking(splits, labels, groups)
        for name, share in zip(SPLITS, shares, strict=True):
            assert abs(len(splits[name]) / len(groups) / share - 1) < 0.05, (seed, kind, name)
            for code, count in zip(*np.unique(labels, return_counts=True), strict=True):
                off = abs((labels[splits[name]] == code).sum() - share * count)
                assert off <= max(0.1 * share * count, np.sort(np.bincount(groups))[-2])
        if kind.startswith("one large") and 0.2 * min(shares) * len(groups) < 148:
            assert groups[0] in groups[splits["train"]]


def test_a_group_larger_than_a_split_is_in_train_and_every_split_has_rows() -> None:
    for shares in ((0.7, 0.1, 0.2), (0.98, 0.01, 0.01)):
        groups = np.where(np.arange(1000) < 900, 0, np.arange(1000))
        splits = random_splits(1000, shares, seed=0, label=np.arange(1000) % 4, group=groups)
        assert set(range(900)) <= set(splits["train"])
        assert not lacking(splits, np.arange(1000) % 4, groups)
    splits = random_splits(90, SHARES, seed=0, label=np.arange(90) % 4, group=np.arange(90) % 3)
    assert [len(rows) for rows in splits.values()] == [30, 30, 30]
    with pytest.raises(UserError, match="2 groups are too few"):
        random_splits(90, SHARES, seed=0, group=np.arange(90) % 2)


def test_groups_do_not_depend_on_the_order_of_rows() -> None:
    _, _, groups, labels = next(iter(groupings()))
    order = np.random.default_rng(1).permutation(len(groups))
    one = random_splits(len(groups), SHARES, seed=3, label=labels, group=groups)
    other = random_splits(len(groups), SHARES, seed=3, label=labels[order], group=groups[order])
    for name in SPLITS:
        np.testing.assert_array_equal(one[name], np.sort(order[other[name]]))
    assert set(one["val"]) != set(random_splits(len(groups), SHARES, seed=4, label=labels, group=groups)["val"])


@pytest.mark.parametrize("grouped", [False, True])
def test_every_class_of_several_labels(grouped: bool) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = rng.choice(6, (300, 3), p=[0.5, 0.3, 0.1, 0.06, 0.02, 0.02])
        labels[rng.random(300) < 0.2, 1] = -1
        groups = rng.integers(0, 120, 300) if grouped else None
        splits = random_splits(300, SHARES, seed=seed, label=labels, group=groups)
        for one in labels.T:
            assert not lacking(splits, one, np.arange(300) if groups is None else groups)


def test_a_hundred_thousand_groups_take_seconds() -> None:
    rng = np.random.default_rng(0)
    groups, labels = rng.integers(0, 100_000, 500_000), rng.integers(0, 100, 500_000)
    begun = time.process_time()
    splits = random_splits(500_000, SHARES, seed=0, label=labels, group=groups)
    assert time.process_time() - begun < 20
    assert not lacking(splits, labels, groups)
    assert [round(len(rows) / 500_000, 3) for rows in splits.values()] == list(SHARES)


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5), (0.8, 0.1, 0.0)]
)
def test_fractions_that_are_refused(shares: tuple) -> None:
    with pytest.raises(UserError, match="--split takes three positive fractions"):
        random_splits(100, shares, seed=0)


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_too_few_rows(rows: int) -> None:
    with pytest.raises(UserError, match=f"^{rows} rows are too few"):
        random_splits(rows, SHARES, seed=0, label=np.zeros(rows, int))


def test_a_column() -> None:
    splits = splits_from_column(["train", "test", "val", "train"], "part")
    assert {name: rows.tolist() for name, rows in splits.items()} == {"train": [0, 3], "val": [2], "test": [1]}
    for values, words in {
        ("train", "validation", "test", "validation"): "'part' holds 'validation' in 2 rows",
        ("train", None, "val", "test"): "holds no value in 1 rows",
        ("Train", "val", "test"): "holds 'Train'",
        ("train", "val"): "no row into the split 'test'",
    }.items():
        with pytest.raises(UserError, match=words):
            splits_from_column(values, "part")


@pytest.mark.core
def test_identifiers(tmp_path: Path) -> None:
    for name, text in {"a": "\ufeff1, 2\n2\r\n\n", "b": "3,9", "c": " 4 "}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    lists = read_ids([tmp_path / name for name in "abc"])
    assert lists == {"train": ["1", "2", "2"], "val": ["3", "9"], "test": ["4"]}
    splits, absent = splits_from_ids(["4", "3", "2", "1", "5"], lists)
    assert {name: rows.tolist() for name, rows in splits.items()} == {"train": [2, 3], "val": [1], "test": [0]}
    assert absent == {"train": 0, "val": 1, "test": 0}
    with pytest.raises(UserError, match="'3' is in both train and val"):
        splits_from_ids(["3"], {"train": ["3"], "val": ["3"], "test": []})
    with pytest.raises(UserError, match="no row into the split 'test'"):
        splits_from_ids(["1", "3"], lists)
    (tmp_path / "b").write_bytes(b"\xff\xfe3")
    with pytest.raises(UserError, match="not a text file"):
        read_ids([tmp_path / name for name in "abc"])
    with pytest.raises(UserError, match="none does not exist"):
        read_ids([tmp_path / "a", tmp_path / "none", tmp_path / "c"])


@pytest.mark.core
def test_subsets_lie_within_each_other_and_have_every_class() -> None:
    shares = (0.01, 0.1, 0.11, 0.12, 0.35, 0.5)
    for seed, labels in distributions():
        rows = np.flatnonzero(np.random.default_rng(seed).random(len(labels)) < 0.8)
        if len(rows) == 0:
            continue
        parts = nested(labels, shares, rows=rows, seed=seed)
        classes, counts = np.unique(labels[rows][labels[rows] >= 0], return_counts=True)
        smaller: set[int] = set()
        for share, part in zip(shares, parts, strict=True):
            assert len(set(part)) == len(part) == max(len(classes), round(share * len(rows)))
            assert smaller <= set(part) <= set(rows)
            smaller = set(part)
            assert set(classes) <= set(labels[part])
            if share * len(rows) > 4 * len(classes):
                for code, count in zip(classes, counts, strict=True):
                    assert (labels[part] == code).sum() <= max(1, share * count + 1.5)
        again = nested(labels, shares[::-1], rows=rows, seed=seed)[::-1]
        for part, same in zip(parts, again, strict=True):
            np.testing.assert_array_equal(part, same)
    assert [len(part) for part in nested(None, (0.1, 0.5), rows=np.arange(50, 150), seed=0)] == [10, 50]


def test_subsets_of_rare_binary_labels() -> None:
    labels = np.zeros(1000, int)
    labels[::17] = 1
    splits = random_splits(1000, SHARES, seed=0, label=labels)
    subsets = standard_subsets(splits, labels, 2, (0.1, 0.01), seed=0)
    assert set(subsets) == {
        "train_10", "train_1", "train_balanced", "train_balanced_10", "train_balanced_1", "val_balanced",
    }  # fmt: skip
    for name, split in {"train_balanced": "train", "val_balanced": "val"}.items():
        assert set(subsets[name]) <= set(splits[split])
        assert np.bincount(labels[subsets[name]]).tolist() == [(labels[splits[split]] == 1).sum()] * 2
    assert set(subsets["train_balanced_1"]) <= set(subsets["train_balanced_10"]) <= set(subsets["train_balanced"])
    np.testing.assert_array_equal(
        balanced(labels, rows=splits["train"], seed=0), balanced(labels, rows=splits["train"], seed=0)
    )
    labels[splits["val"]] = 0  # nothing to balance there
    assert "val_balanced" not in standard_subsets(splits, labels, 2, (0.1,), seed=0)
    assert set(standard_subsets(splits, np.arange(1000) % 2, 2, (0.1,), seed=0)) == {"train_10"}
    assert set(standard_subsets(splits, None, 0, (0.1,), seed=0)) == {"train_10"}
