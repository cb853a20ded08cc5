"""Files that do not fit together, are cut off, or are of another kind end in one sentence."""

from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.genotypes import open_genotypes
from tests.genotypes import drawn


def refused(*paths: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_genotypes(list(paths), where="snp").read()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith("snp: ")
    return sentence


@pytest.fixture
def bed(tmp_path: Path) -> Path:
    return drawn.bed(tmp_path / "a.bed", drawn.calls(9, 5))


def test_another_number_of_people_or_variants(bed: Path) -> None:
    fam = bed.with_suffix(".fam")
    whole = fam.read_text()
    fam.write_text("".join(whole.splitlines(keepends=True)[:-1]))  # 8 people need 2 bytes a variant, 9 need 3
    assert "8 people and 5 variants need 13 bytes" in refused(bed)
    fam.write_text(whole)
    bim = bed.with_suffix(".bim")
    bim.write_text(bim.read_text() + "1\trs9\t0\t900\tA\tG\n")
    assert "do not belong together" in refused(bed)


def test_every_length_of_a_bed_that_is_cut_off(bed: Path) -> None:
    content = bed.read_bytes()
    for size in range(len(content)):
        bed.write_bytes(content[:size])
        refused(bed)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\x6c\x1b\x00", "a person after the other"),
        (b"PK\x03", "not a .bed file"),
        (b"\x6c\x1b\x07", "third byte is 07"),
    ],
)
def test_another_first_bytes(bed: Path, head: bytes, words: str) -> None:
    bed.write_bytes(head + bed.read_bytes()[3:])
    assert words in refused(bed)


@pytest.mark.parametrize("suffix", [".fam", ".bim"])
def test_a_missing_sibling(bed: Path, suffix: str) -> None:
    bed.with_suffix(suffix).unlink()
    assert f"needs a{suffix} beside it" in refused(bed)


def test_a_person_twice(bed: Path) -> None:
    fam = bed.with_suffix(".fam")
    fam.write_text(fam.read_text().replace("p3 p3", "p2 p2"))
    assert "names the person 'p2' twice" in refused(bed)


def test_lines_of_other_tables(bed: Path) -> None:
    bim = bed.with_suffix(".bim")
    whole = bim.read_text()
    bim.write_text(whole.replace("\t110\t", "\t11x\t"))
    assert "variant 2" in refused(bed)
    bim.write_text(whole.replace("\t110\t", "\t"))
    assert "line 2" in refused(bed)
    bim.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in refused(bed)
    bim.write_text("")
    assert "lists no variants" in refused(bed)


def test_files_that_are_not_there_or_given_twice(bed: Path) -> None:
    assert "does not exist" in refused(bed.with_name("b.bed"))
    assert "given twice" in refused(bed, bed)
    assert "must end in" in refused(bed.with_suffix(".fam"))
    other = drawn.bed(bed.with_name("c.bed"), drawn.calls(2, 2), names=["x", "y"])
    assert "no person" in refused(bed, other)


def test_every_length_of_a_pgen_that_is_cut_off(tmp_path: Path) -> None:
    path = drawn.pgen(tmp_path / "a.pgen", drawn.calls(9, 5))
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        refused(path)


def test_a_pgen_of_other_people(tmp_path: Path) -> None:
    path = drawn.pgen(tmp_path / "a.pgen", drawn.calls(9, 5))
    psam, pvar = path.with_suffix(".psam"), path.with_suffix(".pvar")
    people, variants = psam.read_text(), pvar.read_text()
    psam.write_text(people + "extra\t1\n")
    assert "9 people" in refused(path)
    psam.write_text(people.replace("#IID", "#NAME"))
    assert "no column IID" in refused(path)
    psam.write_text(people)
    pvar.write_text(variants + "1\t7\trs99\tA\tG\n")
    assert "5 variants" in refused(path)
    pvar.write_text(variants.replace("\tA\n", "\tA,T\n"))
    assert "more than two alleles" in refused(path)
    pvar.rename(tmp_path / "a.pvar.zst")
    assert "zst-decompress" in refused(path)


def test_every_length_of_a_bgen_that_is_cut_off(tmp_path: Path) -> None:
    path = drawn.bgen(tmp_path / "a.bgen", np.ones((9, 3), np.float32))
    content = path.read_bytes()
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        refused(path)


def test_a_sample_file_names_the_people(tmp_path: Path) -> None:
    path = drawn.bgen(tmp_path / "a.bgen", np.ones((2, 3), np.float32))
    sample = tmp_path / "a.sample"
    sample.write_text("ID_1 ID_2 missing sex\n0 0 0 D\nf1 q1 0 2\nf2 q2 0 1\n")
    genotypes = open_genotypes([path], where="snp")
    assert genotypes.people == ("q1", "q2")
    assert genotypes.families == ("f1", "f2")
    assert genotypes.sexes is not None
    assert genotypes.sexes.tolist() == [2, 1]
    sample.write_text("ID_1 ID_2 missing sex\n0 0 0 D\nf1 q1 0 2\n")
    assert "2 people" in refused(path)
    sample.write_text("q1\nq2\n")
    assert "header lines" in refused(path)
