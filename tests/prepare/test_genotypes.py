"""Genotypes, scores, burdens and lists of people in requests: what is chosen, stored, told and refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.genotypes import MISSING_CALL, write_bed
from mmcl_jax.genotypes.variants import Variants, texts
from mmcl_jax.prepare.entries.variants import aligned, read_variants, variants_file
from mmcl_jax.prepare.join.people import read_people, relatives
from mmcl_jax.prepare.make import prepare, preview
from mmcl_jax.prepare.request import Request
from tests.docs.blocks import ROOT
from tests.genotypes import drawn

IDS = [str(1000 + number) for number in range(40)]
FIRST, SECOND = drawn.calls(40, 10), drawn.calls(40, 7, seed=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drawn.bed(tmp_path / "chr1.bed", FIRST, names=IDS)
    drawn.bed(tmp_path / "chr2.bed", SECOND, names=IDS[::-1], chromosome="2")
    (tmp_path / "scores").mkdir()
    for number, name in enumerate(("PGS2", "PGS1")):
        lines = [f"{person}\t10\t{row + number / 4}\n" for row, person in enumerate(IDS[:30])]
        (tmp_path / "scores" / f"{name}.sscore").write_text("#IID\tALLELE_CT\tSCORE1_AVG\n" + "".join(lines))
    genes = {f"gene{gene}": [int(row < carriers) for row in range(40)] for gene, carriers in enumerate((0, 1, 4, 20))}
    pl.DataFrame({"IID": IDS, **genes}).write_csv(tmp_path / "burdens.tsv", separator="\t")
    eyes = [(f"{person}{eye}", person, row + 0.5) for row, person in enumerate([*IDS[:30], "9999"]) for eye in "LR"]
    pl.DataFrame(eyes, schema=["eye", "person", "x"], orient="row").write_csv(tmp_path / "eyes.csv")
    return tmp_path


def raw(folder: Path, **more: Any) -> dict[str, Any]:
    entries = {
        "snp": {"kind": "genotypes", "file": str(folder / "chr{1..2}.bed"), "by": "person"},
        "pgs": {"kind": "scores", "folder": str(folder / "scores"), "by": "person"},
        "burden": {"kind": "burdens", "file": str(folder / "burdens.tsv"), "key": "IID", "by": "person"},
    }
    table = {"table": str(folder / "eyes.csv"), "key_column": "eye", "group_column": "person"}
    return {**table, "entries": entries, **more}


def made(folder: Path, out: str = "store", **more: Any) -> Store:
    return prepare(Request.from_json(raw(folder, **more)), folder / out)


def stored(store: Store, name: str) -> dict[str, list[float]]:
    """The row of an entry by key, of the rows that have it."""
    keys = json.loads((store.directory / "keys.json").read_text())
    at = np.load(store.directory / "flat" / f"{name}.at.npy")
    values = np.load(store.directory / "flat" / f"{name}.npy")
    return {key: values[row].tolist() for key, row in zip(keys, at, strict=True) if row >= 0}


def warnings(store: Store) -> str:
    return "\n".join(json.loads((store.directory / "findings.json").read_text())["warnings"])


def test_every_eye_has_the_row_of_its_person(folder: Path) -> None:
    store = made(folder)
    rows = stored(store, "snp")
    assert len(rows) == 60
    both = np.concatenate([FIRST, SECOND[::-1]], axis=1)
    for number, person in enumerate(IDS[:30]):
        assert rows[f"{person}L"] == rows[f"{person}R"] == both[number].tolist()
    assert np.load(store.directory / "flat" / "snp.npy").shape == (30, 17)  # two eyes share a row
    assert store.schema.entries["snp"].dtype == "int8"
    assert stored(store, "pgs")["1003R"] == [3.25, 3.0]  # the scores in the order of their names
    assert store.names("pgs") == ("PGS1", "PGS2")
    assert "10 keys of 'snp' are of no row, and not used" in warnings(store)
    found = json.loads((store.directory / "findings.json").read_text())["entries"]
    facts = next(entry["genotypes"] for entry in found if entry["name"] == "snp")
    assert (facts["variants"], facts["people"], facts["files"]) == (17, 40, 2)
    missing = float((np.concatenate([FIRST, SECOND], axis=1) == MISSING_CALL).mean())
    assert facts["missing"] == pytest.approx(missing)
    assert "17 variants of 17 in 2 files" in (store.directory / "card.html").read_text()


def chosen(folder: Path, **more: Any) -> tuple[str, ...]:
    asked = raw(folder)
    asked["entries"]["snp"].update(more)
    return prepare(Request.from_json(asked), folder / "chosen").names("snp")


def test_every_nth_variant_of_each_chromosome(folder: Path) -> None:
    assert chosen(folder, every=4) == ("rs1_0", "rs1_4", "rs1_8", "rs2_0", "rs2_4")


def test_a_list_of_variants(folder: Path) -> None:
    (folder / "list.txt").write_text("rs2_3\nrs1_7\nrs9\n")
    assert chosen(folder, variants=str(folder / "list.txt")) == ("rs1_7", "rs2_3")
    assert "1 listed variant are in no file: 'rs9'" in warnings(Store.open(folder / "chosen"))


def test_frequency_and_missingness(folder: Path) -> None:
    both = np.concatenate([FIRST, SECOND[::-1]], axis=1).astype(float)
    both[both == MISSING_CALL] = np.nan
    frequency = np.nanmean(both, axis=0) / 2
    missing = np.isnan(both).mean(axis=0)
    kept = (np.minimum(frequency, 1 - frequency) >= 0.25) & (missing <= 0.1)
    names = [*drawn.variants(10).id, *drawn.variants(7, chromosome="2").id]
    assert 0 < kept.sum() < 17
    assert chosen(folder, min_frequency=0.25, max_missing=0.1) == tuple(np.array(names)[kept])


@pytest.mark.parametrize(("least", "genes"), [(1, 3), (2, 2), (0.25, 1), (0, 4)])
def test_genes_need_carriers(folder: Path, least: float, genes: int) -> None:
    asked = raw(folder)
    asked["entries"]["burden"]["min_carriers"] = least
    store = prepare(Request.from_json(asked), folder / "store")
    assert len(store.names("burden")) == genes
    assert ("are left out" in warnings(store)) == (genes < 4)


def test_dosages_are_float16(folder: Path) -> None:
    dosages = np.random.default_rng(0).uniform(0, 2, (40, 5)).astype(np.float32)
    dosages[1, 1] = np.nan
    drawn.pgen(folder / "d.pgen", dosages, names=IDS)
    asked = raw(folder)
    asked["entries"] = {"snp": {"kind": "genotypes", "file": [str(folder / "d.pgen")], "by": "person"}}
    store = prepare(Request.from_json(asked), folder / "store")
    assert store.schema.entries["snp"].dtype == "float16"
    np.testing.assert_allclose(stored(store, "snp")["1001L"], dosages[1], atol=2e-3)
    asked["entries"]["snp"]["dtype"] = "int8"
    with pytest.raises(UserError, match="the files hold dosages, which int8 does not"):
        prepare(Request.from_json(asked), folder / "calls")


def swapped(folder: Path, change: Callable[[Variants], Variants]) -> Path:
    """Write the genotypes of both chromosomes with changed variants, in one file, for other people."""
    found = Variants.joined([drawn.variants(10), drawn.variants(7, chromosome="2")])
    calls = np.concatenate([FIRST, SECOND[::-1]], axis=1)
    write_bed(folder / "new.bed", calls, people=IDS, variants=change(found))
    return folder / "new.bed"


def later(folder: Path, path: Path) -> Store:
    asked = raw(folder, like=str(folder / "store"))
    asked["entries"]["snp"]["file"] = str(path)
    return prepare(Request.from_json(asked), folder / "later")


def replaced(variants: Variants, **columns: np.ndarray) -> Variants:
    return Variants(**{**vars(variants), **columns})


def test_swapped_alleles_of_a_later_file_are_flipped_and_counted(folder: Path) -> None:
    store = made(folder)

    def swap(variants: Variants) -> Variants:
        counts, others = variants.counted.copy(), variants.other.copy()
        counts[:3], others[:3] = variants.other[:3], variants.counted[:3]
        return replaced(variants, counted=counts, other=others, position=variants.position + 5)

    again = later(folder, swapped(folder, swap))
    before, after = (np.array(stored(of, "snp")["1002L"]) for of in (store, again))
    there = before != MISSING_CALL
    flipped = np.arange(17) < 3
    assert (after[there & flipped] == 2 - before[there & flipped]).all()
    assert (after[~there] == MISSING_CALL).all()
    assert (after[~flipped] == before[~flipped]).all()
    assert "3 variants count the other allele" in warnings(again)
    assert "17 variants have another position" in warnings(again)
    assert read_variants(again.directory / variants_file("snp"), "").counted[0] == "A"


def test_other_alleles_and_missing_variants_are_refused(folder: Path) -> None:
    made(folder)
    other = swapped(
        folder, lambda found: replaced(found, other=texts(["T" if a == "A" else "A" for a in found.counted]))
    )
    with pytest.raises(UserError, match=r"'rs1_0' has the alleles A and T, but A and G in"):
        later(folder, other)
    gone = swapped(folder, lambda found: replaced(found, id=texts(["x", *found.id[1:]])))
    with pytest.raises(UserError, match=r"the files lack 1 variant that .* has: 'rs1_0'"):
        later(folder, gone)
    twice = swapped(folder, lambda found: replaced(found, id=texts(["rs1_1", "rs1_1", *found.id[2:]])))
    with pytest.raises(UserError, match="lack 1 variant"):
        later(folder, twice)


def test_the_allele_that_nobody_has_fits_any() -> None:
    def variants(counts: list[str], others: list[str]) -> Variants:
        return Variants(texts(["1", "1"]), np.array([1, 2]), texts(["a", "b"]), texts(counts), texts(others))

    store = variants(["A", "C"], ["G", "T"])
    found = aligned(variants(["0", "0"], ["G", "C"]), store, "snp", Path("store"))
    assert found.flipped.tolist() == [False, True]


def test_withdrawn_people_leave_and_are_listed(folder: Path) -> None:
    (folder / "out.txt").write_text("1005\n1006\n77777\n")
    store = made(folder, withdrawn=[str(folder / "out.txt")])
    assert not any(key.startswith(("1005", "1006")) for key in json.loads((store.directory / "keys.json").read_text()))
    assert "2 people who withdrew are left out: '1005', '1006'; 1 of the list are in no row" in warnings(store)
    listed = (store.directory / "quarantine.jsonl").read_text()
    assert listed.count("withdrew") == 4
    # A store is the request of a later one.
    (folder / "more.txt").write_text("#IID\n1007\n")
    over = {"withdrawn": (folder / "out.txt", folder / "more.txt")}
    smaller = prepare(Request.read(store.directory / "store.json", over), folder / "smaller")
    assert sum(smaller.sizes.values()) == sum(store.sizes.values()) - 2
    assert np.load(smaller.directory / "flat" / "snp.npy").shape[0] == 27


def test_people_to_keep_and_ancestry(folder: Path) -> None:
    (folder / "keep.txt").write_text("#FID IID\n" + "".join(f"0 {person}\n" for person in IDS[:20]))
    (folder / "ancestry.tsv").write_text(
        "IID\tEUR\tAFR\n" + "".join(f"{person}\t{0.995 if row % 2 else 0.5}\t0\n" for row, person in enumerate(IDS))
    )
    ancestry = {"file": str(folder / "ancestry.tsv"), "column": "EUR", "minimum": 0.99}
    store = made(folder, keep=str(folder / "keep.txt"), ancestry=ancestry)
    keys = json.loads((store.directory / "keys.json").read_text())
    assert sorted({key[:-1] for key in keys}) == IDS[1:20:2]
    again = Request.read(store.directory / "store.json", {})
    assert again.ancestry is not None
    assert again.ancestry.minimum == 0.99
    with pytest.raises(UserError, match=r"--ancestry: .* has no column 'EU'"):
        preview(Request.from_json(raw(folder, ancestry={**ancestry, "column": "EU"})))


def test_relatives_are_in_one_split(folder: Path) -> None:
    pairs = [(IDS[row], IDS[row + 1]) for row in range(0, 29, 3)] + [
        (IDS[row], IDS[row + 1]) for row in range(1, 29, 3)
    ]
    lines = [f"0\t{one}\t0\t{other}\t0.25\n" for one, other in pairs]
    lines.append(f"0\t{IDS[0]}\t0\t{IDS[29]}\t0.01\n")  # no relatives
    (folder / "kin.kin0").write_text("#FID1\tIID1\tFID2\tIID2\tKINSHIP\n" + "".join(lines))
    store = made(folder, relatives=str(folder / "kin.kin0"), split=(0.6, 0.2, 0.2))
    keys = json.loads((store.directory / "keys.json").read_text())
    split = {keys[row][:-1]: name for name, rows in store.layout.lists.splits.items() for row in rows}
    for start in range(0, 30, 3):
        assert len({split[person] for person in IDS[start : start + 3]}) == 1
    assert len(set(split.values())) == 3
    families, among = relatives(folder / "kin.kin0", 0.0442, IDS[:30])
    assert len(set(families.tolist())) == 10
    assert among == 20
    assert len(set(relatives(folder / "kin.kin0", 0.0, IDS[:30])[0].tolist())) == 9


def test_a_constant_covariate_is_told(folder: Path) -> None:
    pl.DataFrame({"IID": IDS, "age": range(40), "sex": [1] * 40}).write_csv(folder / "covariates.csv")
    asked = raw(folder)
    covariates = {"kind": "vector", "file": str(folder / "covariates.csv"), "key": "IID", "by": "person"}
    asked["entries"] = {"covariates": covariates}
    told = warnings(prepare(Request.from_json(asked), folder / "store"))
    assert "1 feature of 'covariates' has a single value in all training rows: 'sex'" in told


REFUSED: dict[str, tuple[Callable[[Path, dict[str, Any]], Any], str]] = {
    "a score without its column": (
        lambda f, r: (f / "scores" / "PGS3.sscore").write_text("#IID\tOTHER\n1000\t1\n"),
        "There is no column 'SCORE1_AVG' in .*PGS3.sscore",
    ),
    "a score that is no number": (
        lambda f, r: (f / "scores" / "PGS3.sscore").write_text("#IID\tSCORE1_AVG\n1000\tx\n"),
        "row 1 of .*PGS3.sscore: column 'SCORE1_AVG' holds 'x', not a number",
    ),
    "a person twice in a score": (
        lambda f, r: (f / "scores" / "PGS3.sscore").write_text("#IID\tSCORE1_AVG\n1000\t1\n1000\t2\n"),
        "has a person twice",
    ),
    "no score": (lambda f, r: r["entries"]["pgs"].update(folder=str(f)), "no file in .* ends in .sscore"),
    "no person in common": (
        lambda f, r: (f / "chr1.fam").write_text("".join(f"0 q{row} 0 0 0 -9\n" for row in range(40))),
        "entries.snp: no person .IID. is in all of the 2 files",
    ),
    "no row of a person": (
        lambda f, r: [
            (f / f"chr{n}.fam").write_text("".join(f"0 q{row} 0 0 0 -9\n" for row in range(40))) for n in (1, 2)
        ],
        "none of its 40 keys .* is in the column 'person'",
    ),
    "an unknown column": (lambda f, r: r["entries"]["snp"].update(by="persn"), "did you mean 'person'"),
    "a bed that does not fit": (
        lambda f, r: (f / "chr1.bed").write_bytes((f / "chr1.bed").read_bytes()[:-1]),
        "do not belong together",
    ),
    "no variant is left": (
        lambda f, r: r["entries"]["snp"].update(max_missing=0.0),
        "none of 17 variants has a frequency",
    ),
    "variants of one name": (
        lambda f, r: (f / "chr2.bim").write_text((f / "chr2.bim").read_text().replace("rs2_1", "rs1_1")),
        "'rs1_1' name more than one variant each; .* --set-all-var-ids",
    ),
    "nobody on the list": (
        lambda f, r: (f / "l.txt").write_text("\n") and r.update(keep=str(f / "l.txt")),
        "names nobody",
    ),
    "no list": (lambda f, r: r.update(withdrawn=[str(f / "no.txt")]), "--withdrawn: the file .*no.txt does not exist"),
    "a list of many columns": (
        lambda f, r: (f / "l.txt").write_text("1 2 3\n") and r.update(keep=str(f / "l.txt")),
        "line 1 of .* has 3 columns",
    ),
    "no pairs": (
        lambda f, r: (f / "k").write_text("A B\n1 2\n") and r.update(relatives=str(f / "k")),
        "has no columns ID1 and ID2",
    ),
    "a frequency above 1": (lambda f, r: r["entries"]["snp"].update(min_frequency=2), "min_frequency"),
    "an empty range": (lambda f, r: r["entries"]["snp"].update(file="chr{3..1}.bed"), "ends before it begins"),
    "too few carriers": (
        lambda f, r: r["entries"]["burden"].update(min_carriers=30),
        "none of 4 genes has 30 carriers",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_sentence(folder: Path, name: str) -> None:
    spoil, sentence = REFUSED[name]
    asked = raw(folder)
    spoil(folder, asked)
    with pytest.raises(UserError, match=sentence) as caught:
        prepare(Request.from_json(asked), folder / "store")
    assert "\n" not in str(caught.value)
    assert not (folder / "store").exists()
    assert not (folder / ".store.partial").exists()


def test_lists_of_people(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("eid\n1\n2.0\n")
    assert read_people(path, "--keep") == ["1", "2"]
    path.write_text("1,1\n2,2\n\n")
    assert read_people(path, "--keep") == ["1", "2"]


def _raw_folder(folder: Path) -> None:
    """Draw the files that docs/genetics.md names."""
    raw = folder / "raw"
    for name in ("eyes", "scores"):
        (raw / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    people = IDS[:24]
    eyes = []
    for person in people:
        for side in ("left", "right"):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(raw / "eyes" / f"{person}_{side}.png")
            eyes.append((f"{person}_{side}", person, f"{person}_{side}.png", float(rng.normal())))
    pl.DataFrame(eyes, schema=["eye", "person", "file", "age"], orient="row").write_csv(raw / "eyes.csv")
    for chromosome in range(1, 23):
        drawn.bed(raw / f"ukb_chr{chromosome}_v2.bed", drawn.calls(24, 101, seed=chromosome), names=people,
                  chromosome=str(chromosome))  # fmt: skip
    for score in ("PGS000001", "PGS000002"):
        lines = "".join(f"0\t{person}\t{rng.normal()}\n" for person in people)
        (raw / "scores" / f"{score}.sscore").write_text("#FID\tIID\tSCORE1_AVG\n" + lines)
    with h5py.File(raw / "combined_burdens.h5", "w") as file:
        file["G"] = np.concatenate([rng.integers(0, 2, (24, 4)), np.zeros((24, 1), int)], axis=1)
    (raw / "combined_burdens_iid.txt").write_text("\n".join(people))
    (raw / "combined_burdens_colnames.txt").write_text("\n".join(f"gene{gene}" for gene in range(5)))
    pl.DataFrame({"IID": people, "age": rng.normal(size=24)}).write_csv(raw / "covariates.csv")
    (raw / "ukb_rel.dat").write_text(f"ID1 ID2 HetHet IBS0 Kinship\n{people[3]} {people[4]} 0.1 0.0 0.25\n")
    (raw / "ancestry.tsv").write_text("IID\tEUR\n" + "".join(f"{person}\t0.999\n" for person in people[:-1]))
    (raw / "withdrawn_2026.txt").write_text(f"{people[0]}\n")
    (raw / "withdrawn_2027.txt").write_text(f"{people[1]}\n")


def test_the_request_and_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "genetics.md").read_text()
    _raw_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("request.json").write_text(page.partition("```json\n")[2].partition("```")[0])
    assert main(["prepare", "--request", "request.json", "--out", "stores/eyes", "--workers", "1"]) == 0
    store = Store.open(Path("stores/eyes"))
    assert sum(store.sizes.values()) == 44  # one person withdrew, and one is of another ancestry
    assert store.schema.entries["snp"].shape == (44,)  # the first and the 101st of 22 chromosomes
    assert store.names("burden") == ("gene0", "gene1", "gene2", "gene3")
    assert store.names("pgs") == ("PGS000001", "PGS000002")
    command = page.partition("```bash\n")[2].partition("```")[0].split()
    assert command[:2] == ["mmcl", "prepare"]
    assert main([*command[1:], "--workers", "1"]) == 0
    assert sum(Store.open(Path("stores/eyes_2027")).sizes.values()) == 42


def test_a_wrong_list_is_status_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "request.json").write_text(json.dumps(raw(folder)))
    command = ["prepare", "--request", str(folder / "request.json"), "--withdrawn", str(folder / "no.txt")]
    assert main([*command, "--out", str(folder / "store")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no.txt does not exist" in said
