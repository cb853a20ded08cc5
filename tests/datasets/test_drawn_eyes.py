"""Drawn eyes: their files, what was planted in them, and what the photographs show of it."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax.errors import UserError
from mmcl_jax.genotypes import MISSING_CALL, open_genotypes
from mmcl_jax.synthetic.eyes.anatomy import TRAITS, Camera, Eye, haemorrhages, of_traits
from mmcl_jax.synthetic.eyes.draw import photograph
from mmcl_jax.synthetic.eyes.findings import FINDINGS
from mmcl_jax.synthetic.eyes.generator import generate_fundus
from mmcl_jax.synthetic.eyes.genome import BLOCK
from mmcl_jax.synthetic.eyes.people import PER_TRAIT, People, draw_cohort, draw_people

SMALL = {"people": 60, "variants": 360, "chromosomes": 3, "scores": 9, "genes": 40, "image_size": 32, "missing": 0.2}
TREES = {"aptos": 8, "rfmid": 10, "palm": 24}
CAMERA = Camera(width=1.0)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("eyes") / "raw"
    generate_fundus(root, **SMALL, **TREES, seed=3)
    return root


@pytest.fixture(scope="module")
def people() -> People:
    return draw_people(
        people=1500, variants=720, chromosomes=2, scores=12, genes=60, heritability=0.5, missing=0.15, seed=1
    )


def digest(root: Path) -> str:
    """A checksum of the names and bytes of all files."""
    total = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        total.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(raw: Path, tmp_path: Path) -> None:
    generate_fundus(tmp_path / "again", **SMALL, **TREES, seed=3)
    assert digest(tmp_path / "again") == digest(raw)
    options = {**SMALL, "heritability": 0.5}
    del options["image_size"]
    one, other = (draw_people(**options, seed=seed) for seed in (3, 4))
    assert not np.array_equal(one.genome.calls, other.genome.calls)
    assert not np.array_equal(one.traits, other.traits)


def test_a_later_cohort_has_other_people_and_the_same_causes(raw: Path, tmp_path: Path) -> None:
    other, again = tmp_path / "other", tmp_path / "again"
    small = {**SMALL, "people": 70, "seed": 3, "cohort": 1, "first_people": SMALL["people"]}
    generate_fundus(other, **small)
    assert (other / "truth" / "causes.csv").read_bytes() == (raw / "truth" / "causes.csv").read_bytes()
    assert not (other / "downstream").exists()
    mine, theirs = (pl.read_csv(root / "truth" / "people.csv")["IID"].to_list() for root in (raw, other))
    assert (len(mine), len(theirs)) == (60, 70)
    assert not set(mine) & set(theirs)
    for chromosome in (1, 2, 3):
        name = f"genotypes/ukb_chr{chromosome}_v2.bim"
        assert (other / name).read_bytes() == (raw / name).read_bytes()
    first, second = (sorted((root / "left" / "photographs").iterdir())[0] for root in (raw, other))
    assert not np.array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))
    generate_fundus(again, **small | {"cohort": 2})
    calls = [open_genotypes([root / "genotypes" / "ukb_chr1_v2.bed"], where="x").read() for root in (other, again)]
    assert calls[0].shape != calls[1].shape or not np.array_equal(*calls)


def test_a_later_cohort_has_the_frequencies_linkage_and_effects_of_the_first(people: People) -> None:
    options = {"people": 3000, "missing": 0.1, "cohort": 1}
    other = draw_cohort(people, **options, random=np.random.default_rng(0))
    assert other.causes == people.causes
    assert np.corrcoef(other.genome.frequency, people.genome.frequency)[0, 1] > 0.99
    assert np.abs((other.burdens > 0).mean(axis=0) - (people.burdens > 0).mean(axis=0)).max() < 0.03
    variant = next(cause.feature for cause in people.causes if cause.modality == "snp")
    assert np.abs(other.genome.linkage(variant) - people.genome.linkage(variant)).max() < 0.15
    features = {"snp": other.genome.calls, "pgs": other.scores, "burden": other.burdens}
    for cause in other.causes:
        values = features[cause.modality][:, cause.feature]
        found = np.corrcoef(values, other.traits[:, TRAITS.index(cause.trait)])[0, 1]
        assert abs(found - cause.effect) < 0.15, cause


def test_options_of_cohorts_are_refused_where_they_mean_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--dataset\.first_people=60: it tells later cohorts of the first; leave it"):
        generate_fundus(tmp_path / "no", **SMALL, first_people=60)
    with pytest.raises(UserError, match=r"--dataset\.aptos=8: such trees have no people of a cohort; draw them"):
        generate_fundus(tmp_path / "no", **SMALL, cohort=1, aptos=8)
    assert not (tmp_path / "no").exists()


def test_a_setting_out_of_range_is_named(tmp_path: Path) -> None:
    for option in ({"people": 3}, {"scores": 5}, {"missing": 0.9}, {"image_size": 8}, {"heritability": -0.1}):
        (name, value) = next(iter(option.items()))
        with pytest.raises(UserError, match=rf"--dataset\.{name}={value} is not between"):
            generate_fundus(tmp_path / "no", **option)
    assert not (tmp_path / "no").exists()


def test_genotypes_are_those_of_the_truth(raw: Path) -> None:
    files = [raw / "genotypes" / f"ukb_chr{number}_v2.bed" for number in (1, 2, 3)]
    genotypes = open_genotypes(files, where="--genotypes")
    calls = genotypes.read()
    truth = pl.read_csv(raw / "truth" / "people.csv", infer_schema=False)
    assert list(genotypes.people) == truth.filter(pl.col("has_snp") == "1")["IID"].to_list()
    assert calls.shape == (len(genotypes.people), SMALL["variants"])
    called = calls[calls != MISSING_CALL]
    assert set(np.unique(called)) == {0, 1, 2}
    assert 0.005 < 1 - called.size / calls.size < 0.02
    assert set(genotypes.variants.chromosome) == {"1", "2", "3"}
    assert called.mean() < 1  # the rarer allele is counted
    causes = pl.read_csv(raw / "truth" / "causes.csv").filter(pl.col("modality") == "snp")
    assert set(causes["feature"]) <= set(genotypes.variants.id)


def test_scores_burdens_and_tables_hold_the_people_who_have_them(raw: Path) -> None:
    h5py = pytest.importorskip("h5py")
    truth = pl.read_csv(raw / "truth" / "people.csv", infer_schema=False)
    scored = truth.filter(pl.col("has_pgs") == "1")["IID"].to_list()
    names = sorted(path.stem for path in (raw / "scores").iterdir())
    assert names == [f"PGS{number:06d}" for number in range(1, 10)]
    for name in names:
        table = pl.read_csv(raw / "scores" / f"{name}.sscore", separator="\t", schema_overrides={"IID": pl.String})
        assert table["IID"].to_list() == scored
        assert table["SCORE1_AVG"].std() > 0
    with h5py.File(raw / "burdens" / "combined_burdens.h5") as file:
        burdens = file["G"][:]
    ids = (raw / "burdens" / "combined_burdens_iid.txt").read_text().split()
    genes = (raw / "burdens" / "combined_burdens_colnames.txt").read_text().split()
    assert burdens.shape == (len(ids), len(genes)) == (len(ids), SMALL["genes"])
    assert ids == truth.filter(pl.col("has_burden") == "1")["IID"].to_list()
    covariates = pl.read_csv(raw / "covariates.csv")
    assert covariates.columns[:7] == ["IID", "sex", "age", "dbp", "sbp", "smoking", "bmi"]
    assert covariates["sex"].null_count() == 0 < sum(covariates[name].null_count() for name in ("sbp", "dbp", "bmi"))
    ancestry = pl.read_csv(raw / "ancestry.tsv", separator="\t")
    assert ancestry.columns[:2] == ["IID", "EUR"]
    assert ((ancestry["EUR"] >= 0.99) == (truth["european"].cast(pl.Float64) > 0)).all()


def test_quality_lists_leave_out_the_faulty_photographs(raw: Path) -> None:
    images = pl.read_csv(raw / "truth" / "images.csv")
    for side in ("left", "right"):
        listed = (raw / side / f"qc_paths_{side}.txt").read_text().split()
        of_side = images.filter(pl.col("eye") == side)
        assert listed == of_side.filter(pl.col("fault").is_null())["file"].to_list()
        assert set(of_side["fault"].drop_nulls()) == {"dark", "bright", "no circle"}
        assert {path.name for path in (raw / side / "photographs").iterdir()} == set(of_side["file"])
    eyes = images.group_by("IID").len()["len"]
    assert eyes.min() >= 1
    assert (eyes > 1).mean() > 0.8


def test_planted_features_explain_the_traits_and_others_do_not(people: People) -> None:
    features = {"snp": people.genome.calls, "pgs": people.scores, "burden": people.burdens}
    causal: dict[str, set[int]] = {name: set() for name in PER_TRAIT}
    for cause in people.causes:
        causal[cause.modality].add(cause.feature)
        found = np.corrcoef(features[cause.modality][:, cause.feature], people.traits[:, TRAITS.index(cause.trait)])
        assert abs(found[0, 1] - cause.effect) < 0.18, cause
    assert {name: len(chosen) for name, chosen in causal.items()} == {
        name: count * len(TRAITS) for name, count in PER_TRAIT.items()
    }
    # Noise scores: no larger than chance, except for pigment, which differs between places as scores do.
    noise = sorted(set(range(people.scores.shape[1])) - causal["pgs"])
    others = np.array([index for index, trait in enumerate(TRAITS) if trait != "pigment"])
    chance = np.abs(np.corrcoef(people.scores[:, noise].T, people.traits[:, others].T)[: len(noise), len(noise) :])
    assert chance.max() < 4 / np.sqrt(1500)


def test_variants_are_linked_within_blocks_alone(people: People) -> None:
    genome = people.genome
    european = people.population.of_person(people.population.european) == 1
    calls = genome.calls[european].astype(float)
    r2 = np.corrcoef(calls.T) ** 2
    same = genome.block[:, None] == genome.block[None]
    neighbours = [r2[index, index + 1] for index in range(len(r2) - 1) if same[index, index + 1]]
    assert np.mean(neighbours) > 0.15
    assert np.quantile(r2[~same], 0.999) < 0.03
    assert (np.bincount(genome.block) == BLOCK).all()
    within = np.diff(genome.position)[same[np.arange(len(r2) - 1), np.arange(1, len(r2))]]
    assert within.min() > 0
    assert within.max() < 10_000


def test_relatives_share_what_they_should(raw: Path, people: People) -> None:
    kinds = {"twins": [], "siblings": [], "parent and child": []}
    calls = people.genome.calls.astype(int)
    for one, other, kind in people.population.relatives:
        kinds[kind].append((np.abs(calls[one] - calls[other]) == 2).mean())
    assert max(kinds["twins"]) == 0 == max(kinds["parent and child"]) < np.mean(kinds["siblings"]) < 0.1
    table = pl.read_csv(raw / "relatives.kin0", separator="\t")
    truth = pl.read_csv(raw / "truth" / "relatives.csv")
    assert table.columns == ["FID1", "ID1", "FID2", "ID2", "N_SNP", "HetHet", "IBS0", "Kinship"]
    assert table["ID1"].to_list() == truth["one"].to_list()
    assert len(table) >= 2
    assert table["Kinship"].min() > 0.05


def test_genetic_components_show_ancestry(people: People) -> None:
    european = people.population.of_person(people.population.european)
    shown = [abs(np.corrcoef(people.components[:, number], european)[0, 1]) for number in range(3)]
    assert max(shown) > 0.6, shown


def shown(eye: Eye, seed: int = 0) -> np.ndarray:
    return photograph(eye, CAMERA, 96, np.random.default_rng(seed)).pixels.astype(float)


def test_a_photograph_shows_the_anatomy() -> None:
    plain = shown(Eye(left=False))
    rows, columns = np.mgrid[:96, :96] - 47.5
    assert plain[np.hypot(rows, columns) > 50].mean() < 6 < 60 < plain[np.hypot(rows, columns) < 40].mean()
    assert plain[..., 1].argmax() % 96 > 55  # the disc of a right eye is on the right
    assert shown(Eye(left=True))[..., 1].argmax() % 96 < 40
    assert shown(Eye(left=False, cup=0.8)).sum() > plain.sum() > shown(Eye(left=False, pigment=2.0)).sum()
    wide, thin = (shown(Eye(left=False, artery=0.03 * size, vein=0.04 * size)).sum() for size in (1.6, 0.6))
    assert wide < plain.sum() < thin
    bled = shown(Eye(left=False, marks=(haemorrhages(30),)))
    assert bled[..., 0].sum() < plain[..., 0].sum()
    yellow = shown(Eye(left=False, yellowing=0.9))
    assert yellow[..., 2].sum() / yellow.sum() < plain[..., 2].sum() / plain.sum()


def test_every_finding_changes_the_photograph() -> None:
    plain = shown(Eye(left=False), seed=4)
    for name, finding in FINDINGS.items():
        changed = shown(finding.change(Eye(left=False)), seed=4)
        assert np.abs(changed - plain).mean() > 0.02, name


def test_traits_reach_the_eye() -> None:
    def made(**more: float) -> Eye:
        traits = {**dict.fromkeys(TRAITS, 0.0), **{name: value for name, value in more.items() if name in TRAITS}}
        body = {"age": 57.0, "sbp": 138.0, "bmi": 27.0, **{n: v for n, v in more.items() if n not in TRAITS}}
        return of_traits(traits, np.random.default_rng(0), left=True, male=True, **body)

    def pallor(smoker: bool) -> float:
        body = {"age": 57.0, "sbp": 138.0, "bmi": 27.0}
        traits = dict.fromkeys(TRAITS, 0.0)
        return of_traits(traits, np.random.default_rng(0), left=True, male=True, smoker=smoker, **body).pallor

    assert pallor(smoker=True) > pallor(smoker=False)

    usual = made()
    assert made(cup=2).cup > usual.cup
    assert made(calibre=2).artery > usual.artery
    assert made(tortuosity=2).tortuosity > usual.tortuosity
    assert made(pigment=2).pigment > usual.pigment
    assert made(drusen=2).marks[0].count > usual.marks[0].count
    assert made(leakage=3).marks[1].count > usual.marks[1].count
    assert made(age=70).yellowing > usual.yellowing
    assert made(sbp=170).artery < usual.artery
    assert made(bmi=36).vein > usual.vein


def test_the_trees_have_the_layouts_of_their_data_sets(raw: Path) -> None:
    root = raw / "downstream"
    grades = pl.read_csv(root / "aptos" / "train.csv", schema_overrides={"id_code": pl.String})
    assert grades.columns == ["id_code", "diagnosis"]
    assert len(grades) == TREES["aptos"]
    assert {path.stem for path in (root / "aptos" / "train_images").glob("*.png")} == set(grades["id_code"])
    for folder, images, word, rows in (
        ("Training", "Training", "Training", 6), ("Evaluation", "Validation", "Validation", 2),
        ("Test", "Test", "Testing", 2),
    ):  # fmt: skip
        base = root / "rfmid" / f"{folder}_Set" / f"{folder}_Set"
        labels = pl.read_csv(base / f"RFMiD_{word}_Labels.csv")
        assert labels.columns == ["ID", "Disease_Risk", *FINDINGS]
        assert len(labels) == rows
        assert (labels["Disease_Risk"] == (labels.select(list(FINDINGS)).sum_horizontal() > 0).cast(int)).all()
        assert sorted(int(path.stem) for path in (base / images).glob("*.png")) == labels["ID"].to_list()
    palm = root / "palm"
    names = {path.stem for path in (palm / "PALM-Training400").glob("*.jpg")}
    assert len(names) == TREES["palm"]
    assert {name[0] for name in names} == {"H", "N", "P"}
    assert {path.stem for path in (palm / "Disc_Masks").glob("*.bmp")} == names
    atrophies = {path.stem for path in (palm / "Lesion_Masks" / "Atrophy").glob("*.bmp")}
    assert atrophies == {name for name in names if name[0] != "N"}
    for name in sorted(atrophies)[:3]:
        disc, atrophy = (
            np.asarray(Image.open(palm / folder / f"{name}.bmp")) for folder in ("Disc_Masks", "Lesion_Masks/Atrophy")
        )
        assert set(np.unique(disc)) == set(np.unique(atrophy)) == {0, 255}  # black is the structure
        assert not ((disc == 0) & (atrophy == 0)).any()
