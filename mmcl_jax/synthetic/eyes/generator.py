"""Generating eyes with planted genetics, in the file formats that ContIG reads from UK Biobank."""

from pathlib import Path

import numpy as np
from PIL import Image

from mmcl_jax.errors import check
from mmcl_jax.synthetic.eyes.anatomy import TRAITS, Camera, of_traits
from mmcl_jax.synthetic.eyes.downstream import write_aptos, write_palm, write_rfmid
from mmcl_jax.synthetic.eyes.draw import photograph
from mmcl_jax.synthetic.eyes.files import write_genetics, write_table
from mmcl_jax.synthetic.eyes.genome import BLOCK
from mmcl_jax.synthetic.eyes.people import PER_TRAIT, People, draw_cohort, draw_people

EYES = {"left": 21015, "right": 21016}  # the fields of UK Biobank with the photographs
ONE_EYED, AGAIN, NO_PHOTOGRAPH = 0.04, 0.02, 0.02  # shares of people
FIRST_COHORT = 1500  # people
TREES = {"aptos": 360, "rfmid": 400, "palm": 120}  # photographs beside the first cohort
_STREAMS = 1000  # above all numbers of streams of the first cohort
FAULTS = {"dark": 0.003, "bright": 0.003, "no circle": 0.002}  # shares of photographs of each eye, at least one


def generate_fundus(
    root: Path,
    *,
    people: int = 1500,
    variants: int = 2000,
    chromosomes: int = 4,
    scores: int = 40,
    genes: int = 200,
    image_size: int = 128,
    heritability: float = 0.5,
    missing: float = 0.15,
    aptos: int | None = None,
    rfmid: int | None = None,
    palm: int | None = None,
    seed: int = 0,
    cohort: int = 0,
    first_people: int | None = None,
) -> tuple[str, ...]:
    """Write photographs of the left and right eyes of people, their genetics, and `truth/`.

    Six traits are visible in the photographs: the size of the cup of the optic disc, the calibre and the tortuosity of
    vessels, pigment, drusen, and leakage (haemorrhages and exudates). Each depends on two variants, one score and two
    genes, on covariates, and on chance; pigment also depends on where a person's ancestors lived, which genetic
    components show. Age changes the lens, blood pressure the arteries, body mass index the veins, and sex and smoking
    the size and the colour of the disc. Other variants, scores and genes mean nothing, but variants lie in blocks of
    linkage.

    `truth/causes.csv` has the planted effects, `truth/linkage.csv` the variants with r2 of .05 or more with a causal
    one, `truth/people.csv` the traits of people, `truth/relatives.csv` pairs of relatives, and `truth/images.csv` the
    photographs with their planted faults. The quality lists `qc_paths_left.txt` and `qc_paths_right.txt` leave the
    faulty ones out. `downstream/` has trees in the layouts of APTOS, RFMiD and PALM, without genetics.

    A later `cohort` has other people with the same causes: the same variants with their frequencies and linkage, the
    same scores and genes with effects of the same size, in standard deviations among its own people. A study of it is
    one of people whom no encoder has seen.

    Args:
      root: the folder to write to.
      people: number of people.
      variants: number of variants, in blocks of ten.
      chromosomes: number of chromosomes, with a triple of PLINK 1 files each.
      scores: number of polygenic scores, six of which have effects.
      genes: number of genes, twelve of which have effects.
      image_size: height of a photograph in pixels.
      heritability: share of the variance of every trait that the planted features explain.
      missing: share of people without genotypes, without scores, and without burdens, each drawn for itself.
      aptos: number of photographs in the layout of APTOS; 0 for no such tree. By default 360, or 0 with a later cohort.
      rfmid: number in the layout of RFMiD; by default 400, or 0.
      palm: number in the layout of PALM; by default 120, or 0.
      seed: the seed of all random numbers.
      cohort: 0 is the first cohort, with which causes are drawn; other numbers are later ones, of other people.
      first_people: with a later cohort, the number of people that the first cohort was drawn with, on which its causes
        depend, as on the other options: 1,500 by default.

    Returns:
      Options of `mmcl prepare` that suit the drawn data: all variants, and the size of the photographs.

    Raises:
      UserError: an option is out of range, or h5py is not installed.
    """
    check(
        cohort != 0 or first_people is None,
        f"--dataset.first_people={first_people}: it tells later cohorts of the first; leave it out, or add "
        "--dataset.cohort=1.",
    )
    trees = {
        name: (0 if cohort else TREES[name]) if given is None else given
        for name, given in (("aptos", aptos), ("rfmid", rfmid), ("palm", palm))
    }
    for name, images in trees.items():
        check(
            not (cohort and images),
            f"--dataset.{name}={images}: such trees have no people of a cohort; draw them without --dataset.cohort.",
        )
    first = FIRST_COHORT if first_people is None else first_people
    ranges = {
        "people": (people, 50, 1_000_000),
        "cohort": (cohort, 0, 1_000),
        "first_people": (first, 50, 1_000_000),
        "chromosomes": (chromosomes, 1, 22),
        "scores": (scores, len(TRAITS) * PER_TRAIT["pgs"], 100_000),
        "genes": (genes, 3 * len(TRAITS) * PER_TRAIT["burden"], 100_000),
        "variants": (variants, 3 * BLOCK * len(TRAITS) * PER_TRAIT["snp"], 1_000_000),
        "image_size": (image_size, 32, 4096),
        "heritability": (heritability, 0, 0.6),
        "missing": (missing, 0, 0.8),
        "seed": (seed, 0, 2**32 - 1),
        **{name: (images, 0, 100_000) for name, images in trees.items()},
    }
    for name, (value, low, high) in ranges.items():
        check(low <= value <= high, f"--dataset.{name}={value} is not between {low:,} and {high:,}.")
    drawn = draw_people(
        people=first if cohort else people, variants=variants, chromosomes=chromosomes,
        scores=scores, genes=genes, heritability=heritability, missing=missing, seed=seed,
    )  # fmt: skip
    stream = (seed, _STREAMS + cohort) if cohort else (seed,)
    if cohort:
        random = np.random.default_rng((*stream, 0))
        drawn = draw_cohort(drawn, people=people, missing=missing, cohort=cohort, random=random)
    root.mkdir(parents=True, exist_ok=True)
    write_genetics(root, drawn, np.random.default_rng((*stream, 1)))
    _write_photographs(root, drawn, image_size, stream)
    for name, write in (("aptos", write_aptos), ("rfmid", write_rfmid), ("palm", write_palm)):
        if trees[name]:
            write(root / "downstream" / name, trees[name], image_size, seed)
    return "--dataset.every=1", f"--image-size {image_size}"


def _write_photographs(root: Path, people: People, height: int, stream: tuple[int, ...]) -> None:
    """Write `left/photographs/`, `right/photographs/` and the lists of good photographs."""
    random = np.random.default_rng((*stream, 2))
    iids = people.population.iids
    luck, visits = random.random(len(iids)), random.random(len(iids)) < AGAIN
    camera, truth = Camera(), []
    for number, (side, field) in enumerate(EYES.items()):
        folder = root / side / "photographs"
        folder.mkdir(parents=True)
        lacking = (luck < NO_PHOTOGRAPH) | (
            (luck > 1 - ONE_EYED / 2) if side == "left" else (luck > 1 - ONE_EYED) & (luck <= 1 - ONE_EYED / 2)
        )
        shown = [(index, visit) for index in np.flatnonzero(~lacking).tolist() for visit in range(1 + visits[index])]
        order, faults = random.permutation(len(shown)).tolist(), dict[int, str]()
        for fault, share in FAULTS.items():
            for _ in range(max(1, round(share * len(shown)))):
                faults[order.pop()] = fault
        good = []
        for place, (index, visit) in enumerate(shown):
            own = np.random.default_rng((*stream, 10 + number, index, visit))
            covariates = people.covariates
            eye = of_traits(
                dict(zip(TRAITS, people.traits[index].tolist(), strict=True)),
                np.random.default_rng((*stream, 12 + number, index)),
                left=side == "left",
                age=float(covariates["age"][index]),
                sbp=float(covariates["sbp"][index]),
                bmi=float(covariates["bmi"][index]),
                male=bool(covariates["sex"][index]),
                smoker=bool(covariates["smoking"][index]),
            )
            pixels, fault = photograph(eye, camera, height, own).pixels, faults.get(place, "")
            name = f"{iids[index]}_{field}_{visit}_0.jpg"
            Image.fromarray(_faulty(pixels, fault, own)).save(folder / name, quality=92)
            truth.append({"file": name, "eye": side, "IID": iids[index], "fault": fault})
            good += [] if fault else [name]
        (root / side / f"qc_paths_{side}.txt").write_text("".join(f"{name}\n" for name in good))
    write_table(root / "truth" / "images.csv", truth)


def _faulty(pixels: np.ndarray, fault: str, random: np.random.Generator) -> np.ndarray:
    """Return a photograph with a fault."""
    if fault == "dark":
        return (0.4 * pixels).astype(np.uint8)
    if fault == "bright":
        return np.where(pixels > 24, np.clip(160 + 0.9 * pixels.astype(np.float32), 0, 255), pixels).astype(np.uint8)
    if fault == "no circle":  # the lid is closed
        return np.clip(random.normal(90, 4, pixels.shape), 0, 255).astype(np.uint8)
    return pixels
