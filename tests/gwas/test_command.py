"""The command on drawn genotypes: planted regions, PLINK's numbers, pages, and bad input."""

import gzip
import importlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.cli.main import main
from mmcl_jax.genotypes import MISSING_CALL, Variants, write_bed
from mmcl_jax.genotypes.variants import texts
from tests.gwas.drawn import CAUSAL, PEOPLE, PLINK2, Drawn, draw, needs_plink2, write_people
from tests.pages import HOSTILE, Skeleton, is_closed


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return draw(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def tables(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with phenotypes, one of which lacks people, covariates, and associations of others."""
    folder, random = tmp_path_factory.mktemp("tables"), np.random.default_rng(1)
    sex, age = random.integers(0, 2, PEOPLE), random.integers(40, 70, PEOPLE)
    partial = drawn.trait + 0.5 * sex
    partial[::7] = np.nan
    noise = random.normal(size=PEOPLE)
    write_people(folder / "traits.txt", drawn.people, trait=drawn.trait + 0.02 * age, noise=noise, partial=partial)
    write_people(folder / "whole.txt", drawn.people, trait=drawn.trait + 0.02 * age, noise=noise)
    write_people(folder / "covariates.txt", [*drawn.people[3:], "x1"], sex=[*sex[3:], 1], age=[*age[3:], 50])
    rows = [
        f"1\t{10_000 + 5_000 * (CAUSAL[0] + 1)}\tGlaucoma\trs999",
        "1\t1400000\tHeight\trs998",
        f"\t\tMyopia\trs{CAUSAL[1]}",
        f"2;2\t1;{10_000 + 5_000 * (CAUSAL[1] - 300)}\tMyopia\trs1; rs{CAUSAL[1]}-A",
    ]
    (folder / "catalog.tsv").write_text("\n".join(["CHR_ID\tCHR_POS\tDISEASE/TRAIT\tSNPS", *rows]) + "\n")
    return folder


def read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", schema_overrides={"chromosome": pl.String}, infer_schema_length=None)


@pytest.fixture(scope="module")
def study(drawn: Drawn, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of these files, by the command."""
    out = tmp_path_factory.mktemp("study") / "study"
    arguments = ["--pheno", tables / "whole.txt", "--covariates", tables / "covariates.txt", "--out", out]
    arguments += ["--genetic-components", 3, "--catalog", tables / "catalog.tsv", "--components", 2]
    assert main(["gwas", "--genotypes", *map(str, drawn.files), *map(str, arguments)]) == 0
    return out


@pytest.mark.core
def test_the_planted_regions_are_found(study: Path, tables: Path) -> None:
    about = json.loads((study / "gwas.json").read_text())
    assert about["people"] == PEOPLE - 3
    assert about["left_out"][f"not in {tables / 'covariates.txt'}"] == 3
    assert about["covariates"] == ["sex", "age", "GPC1", "GPC2", "GPC3"]
    assert sum(about["variance"]) == pytest.approx(1)
    regions = read(study / "regions.tsv").fill_null("").to_dicts()
    assert len(regions) == about["regions"] >= 2
    members = [{row["variant"], *row["members"].split(",")} for row in regions]
    found = [next((at for at, names in enumerate(members) if f"rs{causal}" in names), None) for causal in CAUSAL]
    assert None not in found, members
    assert 0.7 < about["inflation_of_permuted"] < 1.3
    assert [regions[at]["catalog"] for at in found if at is not None] == ["Glaucoma (1)", "Myopia (1)"]


def test_the_summary_statistics_are_in_the_format_of_the_catalog(study: Path, drawn: Drawn) -> None:
    (path,) = (study / "summary").glob("01-*.tsv.gz")
    table = read(path)
    assert table.columns[:8] == [
        "chromosome", "base_pair_location", "effect_allele", "other_allele", "beta", "standard_error",
        "effect_allele_frequency", "neg_log_10_p_value",
    ]  # fmt: skip
    about = json.loads((study / "gwas.json").read_text())
    assert len(table) == about["variants"] == drawn.calls.shape[1] - sum(about["untested"].values())
    combined = read(study / "combined.tsv.gz")
    second = read(next((study / "summary").glob("02-*")))
    smallest = np.maximum(table["neg_log_10_p_value"].to_numpy(), second["neg_log_10_p_value"].to_numpy())
    assert combined["neg_log_10_p_value"].to_numpy() == pytest.approx(np.maximum(smallest - np.log10(2), 0))
    kept = drawn.calls[3:]
    called = kept != MISSING_CALL
    at = [int(name[2:]) for name in table["variant"]]
    assert table["n"].to_list() == called.sum(axis=0)[at].tolist()
    frequency = np.where(called, kept, 0).sum(axis=0) / called.sum(axis=0) / 2
    assert table["effect_allele_frequency"].to_numpy() == pytest.approx(frequency[at])
    assert table["effect_allele"].to_list() == ["AT"[one % 2] for one in at]


def test_the_page_is_closed_and_shows_hostile_names_as_text(drawn: Drawn, tmp_path: Path) -> None:
    names = [one for one in HOSTILE if not set(one) & set(" \t\n\x00\ud800\u2028,")][:8]
    calls = np.ascontiguousarray(drawn.calls[:, 100 : 100 + len(names)])
    alleles = texts(["<b>"] * len(names))
    chromosome = texts(["1"] * len(names))
    variants = Variants(chromosome, np.arange(1, len(names) + 1), texts(names), alleles, texts(["</td>"] * len(names)))
    write_bed(tmp_path / "bad.bed", calls, people=drawn.people, variants=variants)
    header = "\t".join(["FID", "IID", *names])
    rows = np.random.default_rng(0).normal(size=(PEOPLE, len(names)))
    lines = ["\t".join([one, one, *map(str, row)]) for one, row in zip(drawn.people, rows, strict=True)]
    (tmp_path / "bad.txt").write_text("\n".join([header, *lines]) + "\n")
    (tmp_path / "c.tsv").write_text(f"CHR_ID\tCHR_POS\tDISEASE/TRAIT\tSNPS\n1\t3\t{HOSTILE[1]}\trs1\n")
    made = mj.gwas(
        pheno=tmp_path / "bad.txt", genotypes=tmp_path / "bad.bed", out=tmp_path / "out", components=0,
        genetic_components=0, p1=0.5, p2=0.9, catalog=tmp_path / "c.tsv",
    )  # fmt: skip
    page = made.page.read_text()
    is_closed(page)
    assert made.about["regions"] > 0
    assert "&lt;script&gt;" in page
    plain = Skeleton(page).elements
    assert ("circle", "cx", "cy", "r", "class") in plain
    assert "No genetic components" in page
    assert "sandbox" in made._repr_html_()
    assert "independent region" in repr(made)


def test_the_same_command_writes_the_same_bytes_and_a_failure_leaves_none(
    study: Path, drawn: Drawn, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call: dict[str, Any] = {
        "pheno": tables / "whole.txt", "covariates": tables / "covariates.txt", "genotypes": drawn.files,
        "genetic_components": 3, "catalog": tables / "catalog.tsv", "components": 2,
    }  # fmt: skip
    (tmp_path / ".study.partial" / "summary").mkdir(parents=True)  # which a killed process left
    mj.gwas(**call, out=tmp_path / "study")
    for path in sorted(study.rglob("*")):
        if path.is_file() and path.name not in ("gwas.json", "gwas.html", "checksums.json"):  # which name the folder
            assert path.read_bytes() == (tmp_path / "study" / path.relative_to(study)).read_bytes(), path
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["study"]
    before = (tmp_path / "study" / "gwas.json").read_bytes()

    def fail(*given: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(importlib.import_module("mmcl_jax.gwas.make"), "render_page", fail)
    with pytest.raises(OSError, match="No space"):
        mj.gwas(**call, out=tmp_path / "study")
    assert (tmp_path / "study" / "gwas.json").read_bytes() == before
    assert not list(tmp_path.glob("*partial*"))


@needs_plink2
def test_plink2_prints_the_same_numbers(drawn: Drawn, tables: Path, tmp_path: Path) -> None:
    """By the command that the study wrote, on phenotypes of which one lacks people, with missing calls."""
    mj.gwas(
        pheno=tables / "traits.txt", covariates=tables / "covariates.txt", genotypes=drawn.files[0], out=tmp_path / "s",
        components=0, transform="none", genetic_components=2, min_frequency=0,
    )  # fmt: skip
    fam = drawn.files[0].with_suffix(".fam")  # gets a phenotype that plink2 refuses to test: all are controls
    fam.write_text("".join(" ".join([*line.split()[:5], "1"]) + "\n" for line in fam.read_text().splitlines()))
    subprocess.run(["sh", "run.sh"], cwd=tmp_path / "s" / "plink2", check=True, capture_output=True)
    assert sorted(path.name for path in (tmp_path / "s" / "plink2").glob("*.linear")) == [
        f"linear-1.{name}.glm.linear" for name in ("noise", "partial", "trait")
    ]
    for index, name in enumerate(("trait", "noise", "partial")):
        ours = read(tmp_path / "s" / "summary" / f"{index + 1:02d}-{name}.tsv.gz")
        path = tmp_path / "s" / "plink2" / f"linear-1.{name}.glm.linear"
        theirs = pl.read_csv(path, separator="\t", null_values="NA").filter(pl.col("BETA").is_not_null())
        both = ours.join(theirs, left_on="variant", right_on="ID")
        assert len(both) == len(theirs) == len(ours) > 290
        sign = np.where(both["effect_allele"].to_numpy() == both["A1"].to_numpy(), 1, -1)
        for mine, other in ((both["beta"].to_numpy() * sign, "BETA"), (both["standard_error"].to_numpy(), "SE")):
            printed = both[other].to_numpy().astype(float)
            unit = 10.0 ** (np.floor(np.log10(np.abs(printed))) - 5)  # of the sixth digit
            assert (np.abs(mine - printed) / unit).max() < 0.501
        log = -np.log10(both["P"].to_numpy().astype(float))
        assert both["neg_log_10_p_value"].to_numpy() == pytest.approx(log, abs=4e-6)
        assert both["n"].to_list() == both["OBS_CT"].to_list()


def test_phenotypes_alone_are_handed_over(drawn: Drawn, tables: Path, tmp_path: Path) -> None:
    made = mj.gwas(pheno=tables / "whole.txt", covariates=tables / "covariates.txt", out=tmp_path / "s", components=1)
    assert made.about["people"] == PEOPLE - 3
    assert "variants" not in made.about
    lines = (tmp_path / "s" / "regenie" / "phenotypes.txt").read_text().splitlines()
    assert (lines[0], len(lines)) == ("FID\tIID\tPC1", PEOPLE - 2)
    scores = np.array([float(line.split("\t")[2]) for line in lines[1:]])
    assert np.sort(scores) == pytest.approx(-np.sort(scores)[::-1], abs=1e-9)
    assert scores.std() == pytest.approx(1, abs=0.02)
    sexes = {
        program: {
            line.split("\t")[2] for line in (tmp_path / "s" / program / "covariates.txt").read_text().splitlines()
        }
        for program in ("plink2", "regenie")
    }
    assert sexes == {"plink2": {"sex", "1.0", "2.0"}, "regenie": {"sex", "0.0", "1.0"}}
    assert "GENOTYPES" in (tmp_path / "s" / "plink2" / "run.sh").read_text()
    assert "REGENIE" in made.page.read_text()


Change = Callable[[Path, Drawn], dict[str, Any]]


def _few(folder: Path, drawn: Drawn) -> dict[str, Any]:
    random = np.random.default_rng(0)
    columns = {f"c{index}": random.normal(size=9) for index in range(7)}
    return {
        "covariates": write_people(folder / "few.txt", drawn.people[:9], **columns), "genetic_components": 0,
    }  # fmt: skip


def _short_bed(folder: Path, drawn: Drawn) -> dict[str, Any]:
    for suffix in (".bed", ".bim", ".fam"):
        shutil.copy(drawn.files[0].with_suffix(suffix), folder / f"cut{suffix}")
    (folder / "cut.bed").write_bytes((folder / "cut.bed").read_bytes()[:-1])
    return {"genotypes": folder / "cut.bed"}


def _written(name: str, **columns: Any) -> Change:
    return lambda folder, drawn: {name: write_people(folder / "t.txt", drawn.people, **columns)}


BAD: list[tuple[str, Change, str]] = [
    ("nothing to test", lambda folder, drawn: {"pheno": None}, "Give either --run or --pheno"),
    ("split without run", lambda folder, drawn: {"split": "val"}, "--split: it tells what --run embeds"),
    ("p1 above p2", lambda folder, drawn: {"p1": 1e-3}, "--p1 not above --p2"),
    ("no such file", lambda folder, drawn: {"pheno": folder / "no.txt"}, "does not exist"),
    ("cut genotypes", _short_bed, "is cut off, or the three do not belong together"),
    ("constant covariate", _written("covariates", a=np.ones(PEOPLE)), "the covariate 'a' of .* is constant"),
    (
        "collinear covariates",
        _written("covariates", a=np.arange(PEOPLE), b=2.0 * np.arange(PEOPLE)),
        "the covariate 'b' of .* is a linear combination",
    ),
    ("constant phenotype", _written("pheno", a=np.ones(PEOPLE)), "the phenotype 'PC1' of .* is constant"),
    (
        "nobody in common",
        lambda folder, drawn: {"covariates": write_people(folder / "t.txt", ["q1", "q2"], a=[1, 2])},
        "have no person in common; compare the IIDs",
    ),
    (
        "nobody genotyped",
        lambda folder, drawn: {"pheno": write_people(folder / "t.txt", ["q1", "q2"], a=[1, 2])},
        "--genotypes: .* have no person in common",
    ),
    (
        "components of a missing value",
        _written("pheno", a=[*range(PEOPLE - 1), np.nan], b=np.random.default_rng(0).random(PEOPLE)),
        "lacks values of 'a', and principal components need all; add --components 0",
    ),
    ("too few people", _few, "9 people have phenotypes, covariates and genotypes; 7 covariates need at least 10"),
    ("no catalog", lambda folder, drawn: {"catalog": drawn.files[0]}, "--catalog: .*"),
]


@pytest.mark.parametrize(("change", "sentence"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_one_sentence_and_status_2(
    change: Change, sentence: str, drawn: Drawn, tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {"pheno": tables / "whole.txt", "genotypes": drawn.files[0], "out": tmp_path / "out"}
    given |= {"genetic_components": 2, **change(tmp_path, drawn)}
    before = sorted(tmp_path.iterdir())
    words = [
        word
        for name, value in given.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    assert main(["gwas", *words]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mmcl gwas: ")]
    assert len(error) == 1
    assert pl.Series(error).str.contains(sentence).all(), error
    assert [path for path in sorted(tmp_path.iterdir()) if not path.name.endswith(".lock")] == before


def test_a_folder_of_something_else_is_not_replaced(tables: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(mj.UserError, match="is not empty and holds no study"):
        mj.gwas(pheno=tables / "whole.txt", out=tmp_path / "mine")
    made = mj.gwas(pheno=tables / "whole.txt", out=tmp_path / "study")
    (made.directory / "notes.md").write_text("mine")
    with pytest.raises(mj.UserError, match=r"holds a study and notes\.md, which is not part of it"):
        mj.gwas(pheno=tables / "whole.txt", out=tmp_path / "study")


def test_json_names_the_result(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gwas", "--pheno", str(tables / "whole.txt"), "--out", str(tmp_path / "s"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["people"], told["page"]) == (0, PEOPLE, str(tmp_path / "s" / "gwas.html"))


def test_the_compressed_tables_hold_no_time(study: Path) -> None:
    for path in study.rglob("*.gz"):
        assert path.read_bytes()[4:8] == bytes(4)
        with gzip.open(path) as file:
            assert file.readline().startswith(b"chromosome")
    assert PLINK2 is None or Path(PLINK2).is_file()
