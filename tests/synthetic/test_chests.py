"""Drawn chests: what their images show, and what their reports say of it."""

import csv
import gzip
import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmcl_jax.api.commands.generate import generate
from mmcl_jax.datasets.chest.mimic import mimic_cxr
from mmcl_jax.datasets.chest.ms_cxr import ms_cxr
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.reports.sections import sections
from mmcl_jax.prepare.reports.sentences import split_sentences
from mmcl_jax.synthetic.chests.anatomy import SIDES, Chest, Pose, chest_of, pose_of
from mmcl_jax.synthetic.chests.devices import DEVICES, Device
from mmcl_jax.synthetic.chests.draw import radiograph
from mmcl_jax.synthetic.chests.findings import KINDS, Finding, box_of, single
from mmcl_jax.synthetic.chests.generator import generate_chest
from mmcl_jax.synthetic.chests.people import Person, person_of
from mmcl_jax.synthetic.chests.words import Report, report_of

STUDIES, SIZE = 90, 48
COLUMN = {"pleural_effusion": "Pleural Effusion", "nodule": "Lung Lesion"}
WORDS = {  # at least one is in a sentence that names the kind
    "cardiomegaly": ("cardiomegaly", "heart", "cardiac"),
    "edema": ("edema",),
    "consolidation": ("consolidation", "airspace opacity"),
    "atelectasis": ("atelectasis",),
    "pleural_effusion": ("effusion",),
    "pneumothorax": ("pneumothora",),
    "nodule": ("nodul",),
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chests") / "raw"
    generate_chest(root, count=STUDIES, size=SIZE, missing=0.1, seed=3)
    return root


@pytest.fixture(scope="module")
def people() -> list[tuple[Person, list[Report]]]:
    """Persons with two studies each, and the reports."""
    drawn = [person_of(np.random.default_rng((5, number)), 2) for number in range(700)]
    told = []
    for number, person in enumerate(drawn):
        randoms = [np.random.default_rng((6, number, turn)) for turn in range(2)]
        told.append((person, [report_of(study, own) for study, own in zip(person.studies, randoms, strict=True)]))
    return told


def digests(root: Path) -> dict[str, str]:
    """The checksum of every file by name."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows_of(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return list(csv.DictReader(file))


def table(raw: Path, name: str) -> list[dict[str, str]]:
    return rows_of(raw / f"mimic/mimic-cxr-jpg_2-0-0/mimic-cxr-2.0.0-{name}.csv.gz")


def by_study(rows: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    grouped: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        grouped.setdefault(row["study_id"], []).append(row)
    return grouped


def test_bits_depend_on_the_seed_and_not_on_processes_or_the_number_of_studies(tmp_path: Path) -> None:
    few: dict[str, Any] = {"count": 24, "size": 32, "rsna": 2, "siim": 2, "covid_rural": 2}
    one = tmp_path / "one"
    generate_chest(one, **few, seed=1)
    generate_chest(tmp_path / "two", **few, seed=1, workers=2)
    assert digests(one) == digests(tmp_path / "two")
    generate_chest(tmp_path / "other", **few, seed=2)
    assert not set(digests(one / "mimic").values()) & set(digests(tmp_path / "other" / "mimic").values())
    generate_chest(tmp_path / "more", count=30, size=32, seed=1)
    images, more = digests(one / "mimic"), digests(tmp_path / "more" / "mimic")
    images = {name: own for name, own in images.items() if name.endswith(".jpg")}
    common = set(images) & set(more)
    assert len(common) >= len(images) - 8 > 15  # the last person of 24 studies has fewer than that of 30
    assert all(images[name] == more[name] for name in common)


def test_the_layout_is_that_of_mimic(raw: Path) -> None:
    base = raw / "mimic" / "mimic-cxr-jpg_2-0-0"
    metadata, split, labels = (table(raw, name) for name in ("metadata", "split", "chexpert"))
    for row in metadata:
        subject, study = row["subject_id"], row["study_id"]
        assert re.fullmatch("1[0-9]{7}", subject)
        assert re.fullmatch("5[0-9]{7}", study)
        path = base / f"files/p{subject[:2]}/p{subject}/s{study}/{row['dicom_id']}.jpg"
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (SIZE, SIZE))
    assert len(metadata) == len(list(base.rglob("*.jpg"))) == len({row["dicom_id"] for row in metadata})
    assert [row["dicom_id"] for row in split] == [row["dicom_id"] for row in metadata]
    assert len(by_study(metadata)) == STUDIES
    assert {row["ViewPosition"] for row in metadata} == {"AP", "PA", "LATERAL"}
    for subject in {row["subject_id"] for row in split}:
        assert len({row["split"] for row in split if row["subject_id"] == subject}) == 1
    assert {row["split"] for row in split} == {"train", "validate", "test"}
    frontal = [sum(row["ViewPosition"] != "LATERAL" for row in rows) for rows in by_study(metadata).values()]
    assert set(frontal) == {1, 2}
    cells = [value for row in labels for name, value in row.items() if not name.endswith("_id")]
    assert set(cells) == {"", "0.0", "1.0", "-1.0"}
    assert len(next(iter(labels))) == 16
    with zipfile.ZipFile(raw / "mimic" / "mimic-cxr-reports.zip") as archive:
        assert len(archive.namelist()) == STUDIES


def test_the_recipe_of_mimic_reads_it(raw: Path) -> None:
    recipe = mimic_cxr(root=raw / "mimic")
    assert recipe.rows.height == STUDIES
    texts = next(iter(recipe.tables.values()))["report"].to_list()
    missing = sum(sections(text) is None for text in texts)
    assert 2 <= missing <= 20  # 9 are expected
    assert missing == STUDIES - len(table(raw, "chexpert"))
    assert recipe.rows["age"].null_count() == 0
    assert set(recipe.rows["sex"]) == {"F", "M"}


def test_phrases_are_those_of_persons_outside_of_training(raw: Path) -> None:
    recipe = ms_cxr(root=raw / "mimic")
    assert recipe.rows.height > 10
    splits = {row["dicom_id"]: row["split"] for row in table(raw, "split")}
    boxes = {
        (row["dicom_id"], row["x"], row["y"], row["width"], row["height"])
        for row in rows_of(raw / "truth" / "findings.csv")
    }
    for row in rows_of(raw / "mimic" / "MS_CXR_Local_Alignment_v1.0.0.csv"):
        assert splits[row["dicom_id"]] != "train"
        assert (row["dicom_id"], row["x"], row["y"], row["w"], row["h"]) in boxes
        kind = row["category_name"].lower().replace(" ", "_")
        assert any(word in row["label_text"].lower() for word in WORDS[kind])


def test_boxes_lie_in_the_image_and_on_their_side(raw: Path) -> None:
    present = [row for row in rows_of(raw / "truth" / "findings.csv") if row["present"] == "1"]
    assert len(present) > 60
    right_side = []
    for row in present:
        x, y, width, height = (int(row[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x < x + width <= SIZE
        assert 0 <= y < y + height <= SIZE
        if row["side"]:
            right_side.append((x + width / 2 > SIZE / 2) == (row["side"] == "left"))
    assert np.mean(right_side) > 0.97
    assert all(row["x"] == "" for row in rows_of(raw / "truth" / "findings.csv") if row["present"] == "0")


def test_sentences_are_numbered_as_a_reader_splits_them(raw: Path) -> None:
    told = by_study(rows_of(raw / "truth" / "sentences.csv"))
    subjects = {row["study_id"]: row["subject_id"] for row in table(raw, "split")}
    with zipfile.ZipFile(raw / "mimic" / "mimic-cxr-reports.zip") as archive:
        for study, subject in subjects.items():
            text = sections(archive.read(f"files/p{subject[:2]}/p{subject}/s{study}.txt").decode())
            if text is None:
                assert study not in told
                continue
            split = [re.sub(r"^[0-9]+\. ", "", sentence) for sentence in split_sentences(text, newlines="join")]
            assert split == [row["text"] for row in told[study]]
            assert [int(row["sentence"]) for row in told[study]] == list(range(len(split)))


def test_the_sentence_of_a_finding_names_it(raw: Path) -> None:
    told = by_study(rows_of(raw / "truth" / "sentences.csv"))
    mentions = set()
    for row in rows_of(raw / "truth" / "findings.csv"):
        mentions.add((row["present"], row["mention"]))
        for index in row["sentences"].split():
            text = told[row["study_id"]][int(index)]["text"].lower()
            assert any(word in text for word in WORDS[row["finding"]]), (row, text)
            sided = row["side"] and row["finding"] != "edema"
            both = any(word in text for word in ("bilateral", "bibasilar", "both", "lingula"))
            assert not sided or both or row["side"] in text, (row, text)
    assert mentions >= {("1", "present"), ("1", "uncertain"), ("1", "none"), ("0", "negated")}


def test_reports_deny_nothing_that_is_there(people: list[tuple[Person, list[Report]]]) -> None:
    uncertain = denied = 0
    for person, reports in people:
        for study, report in zip(person.studies, reports, strict=True):
            there = {(one.kind, one.side) for one in study.findings}
            kinds = {one.kind for one in study.findings}
            for sentence in report.sentences:
                assert len(sentence.text.split()) >= 2
                assert sentence.text.endswith(".")
                for kind, side in sentence.names:
                    if sentence.state == "present":
                        assert (kind, side) in there
                    elif sentence.state == "absent":
                        assert (kind, side) not in there if side else kind not in kinds
                        denied += 1
                    uncertain += sentence.state == "uncertain"
    assert denied > 2000
    assert uncertain > 100


def test_findings_have_their_shares_and_change_from_study_to_study(people: list[tuple[Person, list[Report]]]) -> None:
    studies = [study for person, _ in people for study in person.studies]
    share = {kind: np.mean([kind in {one.kind for one in study.findings} for study in studies]) for kind in KINDS}
    bounds = {
        "cardiomegaly": (0.15, 0.3), "edema": (0.08, 0.18), "consolidation": (0.13, 0.25), "atelectasis": (0.14, 0.28),
        "pleural_effusion": (0.15, 0.3), "pneumothorax": (0.03, 0.1), "nodule": (0.05, 0.13),
    }  # fmt: skip
    for kind, (low, high) in bounds.items():
        assert low < share[kind] < high, (kind, share[kind])
    assert 0.3 < np.mean([not study.findings for study in studies]) < 0.5
    old = [{one.kind for one in study.findings} for person, _ in people for study in person.studies if person.age > 70]
    young = [
        {one.kind for one in study.findings} for person, _ in people for study in person.studies if person.age < 50
    ]
    assert np.mean(["cardiomegaly" in kinds for kinds in old]) > 1.5 * np.mean(
        ["cardiomegaly" in kinds for kinds in young]
    )
    kept = [
        bool({one.kind for one in first.findings} & {one.kind for one in second.findings})
        for first, second in (person.studies for person, _ in people)
        if first.findings
    ]
    assert 0.5 < np.mean(kept) < 0.95


def test_labels_follow_the_findings(raw: Path) -> None:
    labels = {row["study_id"]: row for row in table(raw, "chexpert")}
    agree = []
    for row in rows_of(raw / "truth" / "findings.csv"):
        value = labels.get(row["study_id"], {}).get(COLUMN.get(row["finding"], row["finding"].capitalize()))
        if value is None:
            assert row["mention"] == "none"
            continue
        if row["mention"] == "uncertain":
            assert value in ("-1.0", "1.0", ""), row
        agree.append(value == "1.0" if row["present"] == "1" else value in ("0.0", "-1.0"))
    assert np.mean(agree) > 0.85


def drawn(findings: tuple[Finding, ...], devices: tuple[Device, ...] = ()) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    chest = chest_of(np.random.default_rng(0), sex="F", age=60)
    picture = radiograph(
        chest, pose_of(np.random.default_rng(1), "PA"), findings, devices, 96, np.random.default_rng(2)
    )
    return picture.pixels.astype(float), picture.masks


@pytest.mark.parametrize("kind", KINDS)
def test_a_finding_changes_the_image_in_its_mask(kind: str) -> None:
    plain, _ = drawn(())
    for seed in range(3):
        finding = single(kind, np.random.default_rng(seed))
        changed, (mask,) = drawn((finding,))
        difference = np.abs(changed - plain)
        assert difference[mask].mean() > 5 > 4 * difference[~mask].mean()
        if finding.side:
            columns = np.flatnonzero(mask.any(axis=0))
            assert (columns.mean() > 48) == (finding.side == "left")
        brighter = (changed - plain)[mask].mean() > 0
        assert brighter == (kind != "pneumothorax")


def test_devices_are_bright_and_differ(raw: Path) -> None:
    plain, _ = drawn(())
    for kind in DEVICES:
        assert (drawn((), (Device(kind=kind, seed=1),))[0] - plain).max() > 25
    seen = {name for row in rows_of(raw / "truth" / "images.csv") for name in row["devices"].split("; ") if name}
    assert seen <= set(DEVICES)
    assert len(seen) >= 3


def test_sex_age_and_view_change_the_anatomy() -> None:
    def chests(sex: str, age: float) -> list[Chest]:
        return [chest_of(np.random.default_rng(seed), sex=sex, age=age) for seed in range(200)]

    def poses(view: str) -> list[Pose]:
        return [pose_of(np.random.default_rng(seed), view) for seed in range(200)]

    assert np.mean([c.width for c in chests("M", 60)]) > np.mean([c.width for c in chests("F", 60)]) + 0.02
    assert np.mean([c.knob for c in chests("M", 80)]) > np.mean([c.knob for c in chests("M", 30)]) + 0.01
    assert max(c.ratio for c in chests("F", 80)) < 0.5
    assert np.mean([p.breath for p in poses("AP")]) < np.mean([p.breath for p in poses("PA")]) - 0.02


def test_a_box_is_the_smallest_around_a_mask() -> None:
    mask = np.zeros((6, 7), bool)
    mask[2:4, 5], mask[3, 1] = True, True
    assert box_of(mask) == (1, 2, 5, 2)


def test_the_command_names_the_recipe_that_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate("chest", out=tmp_path / "raw", options={"count": 24, "size": 32})
    printed = capsys.readouterr().out
    assert "mmcl prepare --dataset mimic_cxr --root" in printed
    assert "raw/mimic --image-size 56 --out stores/chest" in printed


@pytest.mark.parametrize(
    ("option", "value"),
    [("count", 3), ("size", 8), ("missing", 1.5), ("rsna", -1), ("seed", -1), ("workers", 0), ("covid_rural", -3)],
)
def test_an_option_out_of_range_is_named_and_nothing_is_written(tmp_path: Path, option: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^--dataset\.{option}={value} is not between .*\.$"):
        generate("chest", out=tmp_path / "raw", options={option: value})
    assert not any(tmp_path.iterdir())


def test_sides_are_those_of_the_person() -> None:
    assert SIDES == {"right": -1, "left": 1}
