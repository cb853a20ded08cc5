"""Near-duplicate images kept in one split: exactly those that the card would warn of, joined with groups."""

import dataclasses
import io
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.card.summary import show
from mmcl_jax.prepare.inspection import merge_groups
from mmcl_jax.prepare.leaks import near_duplicates, near_groups
from mmcl_jax.prepare.make import prepare, preview
from mmcl_jax.prepare.request import Request

SCENES, COPIES = 60, 4  # every scene has this many images that differ by a grey level here and there


@pytest.fixture
def album(tmp_path: Path) -> Request:
    """Images of 60 scenes; persons `g` own two scenes each, and the first two persons share a scene."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = []
    for scene in range(SCENES):
        base = rng.integers(10, 245, (16, 16))
        for copy in range(COPIES):
            name = f"{scene}_{copy}.png"
            image = base.copy()
            image[copy, copy] += 1 + copy
            Image.fromarray(image.astype(np.uint8)).save(folder / name)
            owner = scene // 2 if (scene, copy) != (0, 3) else 1
            lines.append({"file": name, "scene": scene, "g": f"p{owner}", "c": "ab"[scene % 2], "x": rng.normal()})
    pl.DataFrame(lines).write_csv(tmp_path / "album.csv")
    return Request(
        table=tmp_path / "album.csv", images=folder, image_column=("file",), label=("c",), ignore=("scene", "g")
    )


def places(store: Store) -> dict[str, set[str]]:
    """The splits in which each scene has images."""
    found: dict[str, set[str]] = {}
    for split in store.sizes:
        for key in store.keys(split):
            found.setdefault(key.split("_")[0], set()).add(split)
    return found


def test_the_warning_names_the_remedy_and_it_works(album: Request, tmp_path: Path) -> None:
    drawn = prepare(album, tmp_path / "drawn")
    (sentence,) = [one for one in Findings.of(drawn).warnings if "near-duplicate" in one]
    assert "--group-near-duplicates keeps such images in one split" in sentence
    assert any(len(splits) > 1 for splits in places(drawn).values())
    grouped = prepare(dataclasses.replace(album, group_near_duplicates=True), tmp_path / "grouped")
    findings = Findings.of(grouped)
    assert all(len(splits) == 1 for splits in places(grouped).values())
    assert findings.near_duplicates == []
    assert not any("nearly equal" in one for one in findings.warnings)
    assert findings.alike == {"groups": SCENES, "rows": SCENES * COPIES, "largest": COPIES}
    said = "60 groups of near-duplicate images (240 rows; the largest has 4 rows) are never in two splits."
    assert said in (tmp_path / "grouped" / "card.html").read_text()
    console = Console(width=200, file=io.StringIO(), record=True)
    show(findings, console)
    assert said in console.export_text()
    assert [round(size / 240, 2) for size in grouped.sizes.values()] == [0.7, 0.1, 0.2]


def test_near_duplicates_join_groups(album: Request, tmp_path: Path) -> None:
    request = dataclasses.replace(album, ignore=("scene",), group_column="g", group_near_duplicates=True)
    store = prepare(request, tmp_path / "store")
    owner = dict(pl.read_csv(album.table).select("file", "g").iter_rows())
    found: dict[str, set[str]] = {}
    for split in store.sizes:
        for key in store.keys(split):
            found.setdefault(owner[key], set()).add(split)
    assert all(len(splits) == 1 for splits in [*found.values(), *places(store).values()])
    assert found["p0"] == found["p1"]  # linked by a scene


def test_with_given_splits_it_is_refused(album: Request, tmp_path: Path) -> None:
    table = pl.read_csv(album.table).with_columns(part=pl.Series((["train"] * 6 + ["val"] * 2 + ["test"] * 2) * 24))
    table.write_csv(album.table)
    with pytest.raises(UserError, match="--group-near-duplicates is for splits that are drawn"):
        dataclasses.replace(album, split_column="part", group_near_duplicates=True)
    given = prepare(dataclasses.replace(album, split_column="part"), tmp_path / "given")
    assert any("if the splits are drawn, but these were given" in one for one in Findings.of(given).warnings)
    findings, _ = preview(dataclasses.replace(album, group_near_duplicates=True, ignore=("scene", "g", "part")))
    assert any("--check decodes no image" in one for one in findings.warnings)


def test_groups_are_what_pairs_link_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    thumbs = rng.integers(0, 256, (300, 16, 16)).astype(np.uint8)
    chain = thumbs[0].astype(int)
    for step in range(1, 12):  # each is near the one before it, and the last far from the first
        chain = np.clip(chain + np.where(rng.random((16, 16)) < 0.5, 5, -1), 0, 255)
        thumbs[20 * step] = chain
    thumbs[[7, 9, 11]] = thumbs[5]
    groups = near_groups(thumbs)
    everyone = {str(row): np.array([row]) for row in range(300)}  # each in a split of its own: all pairs
    links = near_duplicates(thumbs, everyone, most=10**6)
    assert links
    for one, other, _ in links:
        assert groups[one] == groups[other]
    linked = {row for one, other, _ in links for row in (one, other)}
    sizes = np.bincount(groups)
    assert {row for row in range(300) if sizes[groups[row]] > 1} == linked
    assert len({groups[row] for row in (5, 7, 9, 11)}) == 1
    splits = {"train": np.flatnonzero(groups % 3), "test": np.flatnonzero(groups % 3 == 0)}
    assert near_duplicates(thumbs, splits) == []


@pytest.mark.parametrize("kind", ["blank", "noise"])
def test_many_images_alike_take_bounded_time(kind: str) -> None:
    thumbs = np.zeros((20_000, 16, 16), np.uint8)
    if kind == "noise":
        thumbs = np.random.default_rng(0).integers(0, 256, thumbs.shape).astype(np.uint8)
    assert len(np.unique(near_groups(thumbs))) == (1 if kind == "blank" else 20_000)
    assert near_groups(thumbs[:1]).tolist() == [0]


def test_joined_groups() -> None:
    assert len(set(merge_groups(np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 1, 2, 3, 4])))) == 3
    one, other = np.random.default_rng(0).integers(0, 40, (2, 60))
    groups = merge_groups(one, other)
    for codes in (one, other):
        assert all(len(set(groups[codes == code])) == 1 for code in set(codes))


def test_the_search_does_not_hold_all_thumbnails_in_double_precision() -> None:
    count = 20_000
    thumbs = np.random.default_rng(0).integers(0, 256, (count, 16, 16), np.uint8)
    tracemalloc.start()
    try:
        near_duplicates(thumbs, {"train": np.arange(count // 2), "test": np.arange(count // 2, count)}, most=1)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1800 * count  # bytes; with all of them at once it is 2,344
